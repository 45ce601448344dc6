// QpTable: queue pairs by key, of a fixed capacity; a new one may take another's place.
//
// An open-addressed index (linear probing, at most half full, deletion by backward shift: Knuth,
// TAOCP 3, 6.4) over an array of entries; eviction by CLOCK (second chance), looking at no more
// than kClockSteps entries. Bounded work, and no allocation after construction.
// Threads: one.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "emulator/base/check.h"
#include "emulator/roce/ip_address.h"

namespace farspan::roce {

// Packets from `src` to the queue pair `dest_qp` of `dst`.
struct QpKey {
  IpAddress src{};
  IpAddress dst{};
  uint32_t dest_qp = 0;
  uint32_t src_qp = 0;  // of datagrams, whose QP has many senders; else 0
  uint8_t ip_version = 4;
  uint8_t direction = 0;

  friend bool operator==(const QpKey& a, const QpKey& b) {  // in words: a call of memcmp costs more
    uint64_t x[4];
    uint64_t y[4];
    std::memcpy(x, a.src.data(), 16);
    std::memcpy(x + 2, a.dst.data(), 16);
    std::memcpy(y, b.src.data(), 16);
    std::memcpy(y + 2, b.dst.data(), 16);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0 &&
           a.dest_qp == b.dest_qp && a.src_qp == b.src_qp && a.ip_version == b.ip_version &&
           a.direction == b.direction;
  }
};

// splitmix64's finaliser (Steele, Lea, Flood, OOPSLA'14).
constexpr uint64_t MixBits(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

// Of the way from one address to another.
inline uint64_t HashOfPair(const IpAddress& src, const IpAddress& dst, uint8_t ip_version) {
  uint64_t words[4] = {};
  std::memcpy(words, src.data(), 16);
  std::memcpy(words + 2, dst.data(), 16);
  uint64_t hash = (words[0] + 1) * 0x9e3779b97f4a7c15u;
  hash = (hash ^ hash >> 29 ^ words[2]) * 0xbf58476d1ce4e5b9u;
  if (ip_version == 6) {
    hash = (hash ^ hash >> 31 ^ words[1]) * 0x94d049bb133111ebu;
    hash = (hash ^ hash >> 30 ^ words[3]) * 0x9e3779b97f4a7c15u;
  }
  return hash;
}

inline uint64_t HashOf(const QpKey& key) {
  const uint64_t qps = uint64_t{key.dest_qp} << 40 | uint64_t{key.src_qp} << 8 | key.direction;
  return MixBits(HashOfPair(key.src, key.dst, key.ip_version) ^ qps);
}

class QpTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr int kClockSteps = 16;

  struct Place {
    uint32_t entry = kNone;
    bool fresh = false;    // was not there before
    bool evicted = false;  // and another was
  };

  static size_t BytesPerEntry() { return sizeof(Entry) + 2 * sizeof(Slot); }

  explicit QpTable(uint32_t capacity)
      : entries_(capacity), index_(std::bit_ceil(size_t{2} * capacity)), mask_(index_.size() - 1) {
    FARSPAN_CHECK(capacity > 0 && capacity < kNone / 4);
  }

  // kNone where it is not there. Counts as a use.
  uint32_t find(const QpKey& key) {
    const uint32_t entry = lookup(key, static_cast<uint32_t>(HashOf(key)));
    if (entry != kNone) entries_[entry].used = true;
    return entry;
  }

  // Where it is, or now will be.
  // As find(), by `is(key)`; `hash` is the key's.
  template <typename Is>
  uint32_t find(uint64_t hash, Is is) {
    const auto short_hash = static_cast<uint32_t>(hash);
    for (size_t at = hash & mask_; index_[at].entry != kNone; at = (at + 1) & mask_) {
      if (index_[at].hash != short_hash || !is(entries_[index_[at].entry].key)) continue;
      entries_[index_[at].entry].used = true;
      return index_[at].entry;
    }
    return kNone;
  }

  Place place(const QpKey& key) { return place(key, HashOf(key)); }
  Place place(const QpKey& key, uint64_t hash) {
    const uint32_t found = lookup(key, static_cast<uint32_t>(hash));
    if (found != kNone) {
      entries_[found].used = true;
      return {.entry = found};
    }
    return insert(key, static_cast<uint32_t>(hash));
  }

  // Bring in, for place() soon to come, what it will look at: the index for a key's hash, and then
  // the entry that this leads to, most likely its own. kNone where there is none.
  void prefetch_index(uint64_t hash) const { __builtin_prefetch(&index_[hash & mask_]); }
  uint32_t prefetch_entry(uint64_t hash) const {
    const uint32_t entry = index_[hash & mask_].entry;
    if (entry != kNone) __builtin_prefetch(&entries_[entry]);
    return entry;
  }

  uint32_t capacity() const { return static_cast<uint32_t>(entries_.size()); }
  uint32_t size() const { return size_; }
  bool holds(uint32_t entry) const { return entry < size_; }
  const QpKey& key(uint32_t entry) const { return entries_[entry].key; }

 private:
  struct alignas(64) Entry {  // one line of the cache
    QpKey key;
    uint32_t hash = 0;
    bool used = false;
  };
  struct Slot {
    uint32_t hash = 0;
    uint32_t entry = kNone;
  };

  uint32_t lookup(const QpKey& key, uint32_t hash) const {
    for (size_t at = hash & mask_; index_[at].entry != kNone; at = (at + 1) & mask_) {
      if (index_[at].hash == hash && entries_[index_[at].entry].key == key) {
        return index_[at].entry;
      }
    }
    return kNone;
  }
  Place insert(const QpKey& key, uint32_t hash);
  uint32_t victim();
  void erase_from_index(uint32_t entry);

  std::vector<Entry> entries_;
  std::vector<Slot> index_;
  const size_t mask_;
  uint32_t size_ = 0;  // entries are taken in order, and then only change hands
  uint32_t hand_ = 0;
};

}  // namespace farspan::roce
