// Part of vector_ops.cc, which is compiled once per instruction set: the random bytes of a group.
#pragma once

#include "kernels/cpu/lanes.h"
#include "kernels/math/philox.h"

namespace farspan::kernels {
namespace {

// Several vectors that go through the rounds together: one alone would wait for its products.
template <uint32_t kCount>
struct WideSet {
  Wide part[kCount];

  FARSPAN_INLINE WideSet each(const WideSet& set, const auto& change) {
    WideSet out;
    for (uint32_t i = 0; i < kCount; ++i) out.part[i] = change(set.part[i], i);
    return out;
  }
  friend WideSet operator+(const WideSet& a, uint32_t b) {
    return each(a, [&](Wide x, uint32_t) { return x + b; });
  }
  friend WideSet operator^(const WideSet& a, uint64_t b) {
    return each(a, [&](Wide x, uint32_t) { return x ^ b; });
  }
  friend WideSet operator<<(const WideSet& a, int bits) {
    return each(a, [&](Wide x, uint32_t) { return x << bits; });
  }
  friend WideSet operator^(const WideSet& a, const WideSet& b) {
    return each(a, [&](Wide x, uint32_t i) { return x ^ b.part[i]; });
  }
};

}  // namespace

template <uint32_t kCount>
struct Lanes<WideSet<kCount>> {
  using Set = WideSet<kCount>;
  FARSPAN_INLINE Set product(const Set& a, uint32_t b) {
    return Set::each(a, [&](Wide x, uint32_t) { return Lanes<Wide>::product(x, b); });
  }
  FARSPAN_INLINE Set high_half(const Set& a) {
    return Set::each(a, [](Wide x, uint32_t) { return Lanes<Wide>::high_half(x); });
  }
};

namespace {

FARSPAN_INLINE bool HighWordChanges(uint64_t first_element, uint64_t groups) {
  const uint64_t last_element = first_element + groups * kGroup - 1;
  return CounterOf(first_element) >> 32 != CounterOf(last_element) >> 32;
}

// The bytes of the elements of some groups, whose counters have one high word, in their order. One
// lane is one counter, and a group has eight.
template <uint32_t kGroups>
struct alignas(64) RandomGroups {
  static constexpr uint32_t kParts = kGroup / sizeof(Wide);
  Wide part[kGroups][kParts];

  FARSPAN_INLINE RandomGroups of(uint64_t first_element, uint64_t seed) {
    constexpr uint32_t kCount = kGroups * kParts / 2;
    const uint64_t counter = CounterOf(first_element);
    WideSet<kCount> counters;
    for (uint32_t i = 0; i < kCount; ++i) {
      for (uint32_t lane = 0; lane < kLanes / 2; ++lane) {
        counters.part[i][lane] = i * kLanes / 2 + lane;
      }
    }
    WideSet<kCount> pairs[2];
    PhiloxWide(counters + static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
               seed, pairs);
    RandomGroups bytes;
    for (uint32_t g = 0; g < kGroups; ++g) {
      for (uint32_t i = 0; i < kParts; ++i) {
        bytes.part[g][i] = pairs[i / (kParts / 2)].part[g * kParts / 2 + i % (kParts / 2)];
      }
    }
    return bytes;
  }
};

// Not inlined: it is long, and called from many places.
[[gnu::noinline]] RandomGroups<1> RandomOfGroup(uint64_t first_element, uint64_t seed) {
  return RandomGroups<1>::of(first_element, seed);
}

}  // namespace
}  // namespace farspan::kernels
