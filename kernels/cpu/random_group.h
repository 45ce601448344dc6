// Part of vector_ops.cc, which is compiled once per instruction set: the random bytes of a group.
#pragma once

#include <string.h>

#include "kernels/cpu/lanes.h"
#include "kernels/math/philox.h"
#include "kernels/math/quantise.h"

namespace farspan::kernels {
namespace {

// Lane 2 i + h gets the number i + h × lanes / 2, because that is the order in which StoreByLane
// leaves lanes behind.
FARSPAN_INLINE Wide LaneNumbers() {
  constexpr uint32_t kWide = kLanes / 2;
  Wide numbers{};
  for (uint32_t lane = 0; lane < kWide; ++lane) numbers[lane] = lane % 2 * (kWide / 2) + lane / 2;
  return numbers;
}

// The four words of each lane together, lanes in the order of LaneNumbers.
FARSPAN_INLINE void StoreByLane(const Wide (&words)[4], void* to) {
#if defined(__AVX512F__)
  // Odd words of the result are even ones of `high`.
  const auto both = [](Wide low, Wide high) {
    return _mm512_castps_si512(_mm512_mask_moveldup_ps(__builtin_bit_cast(__m512, low), 0xaaaa,
                                                       __builtin_bit_cast(__m512, high)));
  };
#else
  const auto both = [](Wide low, Wide high) { return (low & 0xffffffff) | high << 32; };
#endif
  const auto first = both(words[0], words[1]);
  const auto second = both(words[2], words[3]);
#if defined(__AVX512F__)
  using Register = __m512i;
#define FARSPAN_UNPACK(half) _mm512_unpack##half##_epi64
#elif defined(__AVX2__)
  using Register = __m256i;
#define FARSPAN_UNPACK(half) _mm256_unpack##half##_epi64
#elif defined(__x86_64__)
  using Register = __m128i;
#define FARSPAN_UNPACK(half) _mm_unpack##half##_epi64
#endif
#ifdef FARSPAN_UNPACK
  const auto a = __builtin_bit_cast(Register, first);
  const auto b = __builtin_bit_cast(Register, second);
  const Register rows[2] = {FARSPAN_UNPACK(lo)(a, b), FARSPAN_UNPACK(hi)(a, b)};
  memcpy(to, rows, sizeof rows);
#undef FARSPAN_UNPACK
#else
  const Wide numbers = LaneNumbers();
  for (uint32_t lane = 0; lane < kLanes / 2; ++lane) {
    const uint64_t row[2] = {first[lane], second[lane]};
    memcpy(static_cast<uint8_t*>(to) + numbers[lane] * sizeof row, row, sizeof row);
  }
#endif
}

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
  friend WideSet operator^(const WideSet& a, uint32_t b) {
    return each(a, [&](Wide x, uint32_t) { return x ^ b; });
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

// A byte for each element of some groups, whose counters have one high word; one lane of the
// vectors is one counter.
template <uint32_t kGroups>
FARSPAN_INLINE void RandomOfGroups(uint64_t first_element, uint64_t seed, uint8_t* random) {
  constexpr uint32_t kWide = kLanes / 2;
  constexpr uint32_t kCount = kGroups * kGroup / kPhiloxElements / kWide;
  const uint64_t counter = first_element / kPhiloxElements;
  WideSet<kCount> counters;
  for (uint32_t i = 0; i < kCount; ++i) {
    counters.part[i] = LaneNumbers() + (static_cast<uint32_t>(counter) + i * kWide);
  }
  WideSet<kCount> words[4];
  PhiloxWide(counters, static_cast<uint32_t>(counter >> 32), seed, words);
  for (uint32_t i = 0; i < kCount; ++i) {
    const Wide of_part[4] = {words[0].part[i], words[1].part[i], words[2].part[i],
                             words[3].part[i]};
    StoreByLane(of_part, random + i * kWide * kPhiloxElements);
  }
}

// Four groups at a time, up to three too many, but where the counters' high word changes. Not
// inlined: it is long, and called from many places.
[[gnu::noinline]] void RandomOfTile(uint64_t first_element, uint64_t groups, uint64_t seed,
                                    uint8_t* random) {
  constexpr uint32_t kTogether = 4;
  constexpr uint64_t kElementsOfHighWord = uint64_t{kPhiloxElements} << 32;
  const uint64_t last = first_element + groups * kGroup - 1;
  const bool apart =
      groups == 1 || first_element / kElementsOfHighWord != last / kElementsOfHighWord;
  for (uint64_t g = 0; g < groups; g += apart ? 1 : kTogether) {
    const uint64_t element = first_element + g * kGroup;
    if (apart) {
      RandomOfGroups<1>(element, seed, random + g * kGroup);
    } else {
      RandomOfGroups<kTogether>(element, seed, random + g * kGroup);
    }
  }
}

}  // namespace
}  // namespace farspan::kernels
