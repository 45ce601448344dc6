// BitRing: which of a ring's slots are taken, and how far it is to the next one.
//
// Two levels of words, one bit per slot and one per word: a search reads a few words near by, and
// at most size / 4096 of the upper level (256 for a million slots). Single thread; nothing is
// allocated after construction.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "emulator/base/check.h"

namespace farspan::link {

class BitRing {
 public:
  explicit BitRing(size_t size)
      : mask_(size - 1), words_((size + 63) / 64), groups_((words_.size() + 63) / 64) {
    FARSPAN_CHECK(std::has_single_bit(size));
  }

  static uint64_t MemoryBytes(uint64_t size) { return size / 8 + size / 512 + 16; }

  void set(size_t slot) {
    words_[slot / 64] |= Bit(slot);
    groups_[slot / 4096] |= Bit(slot / 64);
  }
  void clear(size_t slot) {
    words_[slot / 64] &= ~Bit(slot);
    if (words_[slot / 64] == 0) groups_[slot / 4096] &= ~Bit(slot / 64);
  }

  // Slots from `from` to the next one that is set, round the ring; one must be.
  size_t distance(size_t from) const {
    const uint64_t here = words_[from / 64] >> (from % 64);
    if (here != 0) return static_cast<size_t>(std::countr_zero(here));
    size_t word = next_word(from / 64 + 1);
    if (word == words_.size()) word = next_word(0);
    const size_t slot = word * 64 + static_cast<size_t>(std::countr_zero(words_[word]));
    return (slot - from) & mask_;
  }

 private:
  static uint64_t Bit(size_t index) { return uint64_t{1} << (index % 64); }

  // The first word at or after `word` with a bit set; words_.size() if there is none.
  size_t next_word(size_t word) const {
    for (size_t group = word / 64; group < groups_.size(); ++group) {
      const uint64_t ahead = word / 64 == group ? ~uint64_t{0} << (word % 64) : ~uint64_t{0};
      if (const uint64_t found = groups_[group] & ahead; found != 0) {
        return group * 64 + static_cast<size_t>(std::countr_zero(found));
      }
    }
    return words_.size();
  }

  const size_t mask_;
  std::vector<uint64_t> words_;
  std::vector<uint64_t> groups_;
};

}  // namespace farspan::link
