#include "emulator/roce/qp_table.h"

namespace farspan::roce {

QpTable::Place QpTable::insert(const QpKey& key, uint32_t hash) {
  Place place{.fresh = true};
  if (size_ < capacity()) {
    place.entry = size_++;
  } else {
    place.entry = victim();
    place.evicted = true;
    erase_from_index(place.entry);
  }
  entries_[place.entry] = {.key = key, .hash = hash, .used = true};
  size_t at = hash & mask_;
  while (index_[at].entry != kNone) at = (at + 1) & mask_;
  index_[at] = {hash, place.entry};
  return place;
}

uint32_t QpTable::victim() {
  for (int step = 1;; ++step) {
    const uint32_t candidate = hand_;
    hand_ = hand_ + 1 == size_ ? 0 : hand_ + 1;
    if (!entries_[candidate].used || step == kClockSteps) return candidate;
    entries_[candidate].used = false;
  }
}

// What follows in the same run moves up, where that is not before its own place.
void QpTable::erase_from_index(uint32_t entry) {
  size_t hole = entries_[entry].hash & mask_;
  while (index_[hole].entry != entry) hole = (hole + 1) & mask_;
  for (size_t at = (hole + 1) & mask_; index_[at].entry != kNone; at = (at + 1) & mask_) {
    const size_t home = index_[at].hash & mask_;
    if (((at - home) & mask_) < ((at - hole) & mask_)) continue;
    index_[hole] = index_[at];
    hole = at;
  }
  index_[hole].entry = kNone;
}

}  // namespace farspan::roce
