// BitRing: one bit for each of the last `capacity` numbers of an endless sequence.
//
// The caller keeps the numbers it uses within one capacity of each other and clears bits before
// their place is used again. Capacity is a power of two of at least 64, fixed at construction.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "emulator/base/check.h"
#include "transports/core/lazy_array.h"

namespace farspan::transport {

class BitRing {
 public:
  explicit BitRing(uint64_t capacity) : words_(capacity / 64), mask_(capacity - 1) {
    FARSPAN_CHECK(std::has_single_bit(capacity) && capacity >= 64);
  }

  uint64_t capacity() const { return mask_ + 1; }
  bool test(uint64_t number) const { return (word(number) >> (number % 64) & 1) != 0; }
  void set(uint64_t number) { word(number) |= uint64_t{1} << (number % 64); }
  void clear(uint64_t number) { word(number) &= ~(uint64_t{1} << (number % 64)); }

  // The first number in [from, end) whose bit is `value`; `end` if there is none.
  uint64_t next(uint64_t from, uint64_t end, bool value) const {
    while (from < end) {
      const uint64_t bits = (value ? word(from) : ~word(from)) >> (from % 64);
      if (bits != 0) {
        return std::min(end, from + static_cast<uint64_t>(std::countr_zero(bits)));
      }
      from = (from | 63) + 1;
    }
    return end;
  }

  // One past the last number in [begin, end) whose bit is `value`; `begin` if there is none.
  uint64_t last(uint64_t begin, uint64_t end, bool value) const {
    while (end > begin) {
      const uint64_t top = end - 1;
      const uint64_t bits = (value ? word(top) : ~word(top)) << (63 - top % 64);
      if (bits != 0) {
        return std::max(begin, end - static_cast<uint64_t>(std::countl_zero(bits)));
      }
      end = top & ~uint64_t{63};
    }
    return begin;
  }

 private:
  uint64_t& word(uint64_t number) { return words_[(number & mask_) / 64]; }
  const uint64_t& word(uint64_t number) const { return words_[(number & mask_) / 64]; }

  LazyArray<uint64_t> words_;
  const uint64_t mask_;
};

}  // namespace farspan::transport
