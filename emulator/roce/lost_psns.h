// LostPsns: PSNs that the far host lacks, of all queue pairs of a link, in fixed memory.
//
// A set of small buckets found by hash; where a bucket is full, its oldest record is forgotten.
// Threads: one. No allocation after construction.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "emulator/base/time.h"
#include "emulator/roce/qp_table.h"
#include "emulator/roce/roce_view.h"

namespace farspan::roce {

// An arc of the circle of PSNs that holds all that were added since it was empty.
struct PsnArc {
  uint32_t from = 0;
  uint32_t length = 0;

  bool may_hold(uint32_t psn) const { return ((psn - from) & kPsnMask) < length; }
  void add(uint32_t psn) {
    if (may_hold(psn)) return;
    const uint32_t to_it = ((psn - from) & kPsnMask) + 1;
    const uint32_t from_it = length + ((from - psn) & kPsnMask);
    if (length == 0) {
      *this = {psn, 1};
    } else if (to_it <= from_it) {
      length = to_it;
    } else {
      *this = {psn, from_it};
    }
  }
};

// Whose PSN it is. `epoch` tells apart the queue pairs that had an entry one after the other.
struct PsnKey {
  uint32_t entry = 0;
  uint32_t psn = 0;
  uint16_t epoch = 0;
  bool response = false;
  friend bool operator==(const PsnKey&, const PsnKey&) = default;
};

struct LostPsn {
  PsnKey key;
  uint32_t span = 1;     // PSNs that the packet takes: more than 1 for READ requests
  bool present = false;  // the record is in use
  bool lost = false;     // known as lost in the link, at `sent`
  bool skipped = false;  // the far host has got a later one
  bool resent = false;   // retransmitted since
  TimeNs sent{};         // when the lost packet entered the link
};

class LostPsns {
 public:
  static constexpr size_t kBucket = 4;

  explicit LostPsns(uint32_t capacity) : buckets_(std::bit_ceil(size_t{capacity} / kBucket + 1)) {}

  LostPsn* find(const PsnKey& key) {
    for (LostPsn& record : bucket(key)) {
      if (record.present && record.key == key) return &record;
    }
    return nullptr;
  }

  // For a key that is not there. What it overwrites, if anything, goes to `forgotten`.
  LostPsn& insert(const PsnKey& key, LostPsn& forgotten) {
    Bucket& in = bucket(key);
    LostPsn* place = &in[0];
    for (LostPsn& record : in) {
      if (!record.present) {
        place = &record;
        break;
      }
      if (record.sent < place->sent) place = &record;
    }
    forgotten = *place;
    *place = {.key = key, .present = true};
    return *place;
  }

 private:
  using Bucket = std::array<LostPsn, kBucket>;

  Bucket& bucket(const PsnKey& key) {
    const uint64_t whose = uint64_t{key.entry} << 24 ^ uint64_t { key.epoch } << 48 ^ key.response;
    const uint64_t word = whose ^ uint64_t { key.psn } << 1;
    return buckets_[MixBits(word) & (buckets_.size() - 1)];
  }

  std::vector<Bucket> buckets_;
};

}  // namespace farspan::roce
