// Part of vector_ops.cc, which is compiled once per instruction set: floats to codes and a scale.
#pragma once

#include <string.h>

#include "kernels/cpu/group.h"
#include "kernels/math/element.h"
#include "kernels/math/philox.h"

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
  const Wide first = (words[0] & 0xffffffff) | words[1] << 32;
  const Wide second = (words[2] & 0xffffffff) | words[3] << 32;
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

// 16 bits for each element of a group; one lane of the vectors is one counter.
FARSPAN_INLINE void RandomOfGroup(uint64_t first_element, uint64_t seed, uint16_t* random) {
  constexpr uint32_t kCounters = kGroup / kPhiloxElements;
  const uint64_t counter = first_element / kPhiloxElements;  // the lanes share its high word
  for (uint32_t c = 0; c < kCounters; c += kLanes / 2) {
    Wide words[4];
    PhiloxWide(LaneNumbers() + static_cast<uint32_t>(counter + c),
               static_cast<uint32_t>(counter >> 32), seed, words);
    StoreByLane(words, random + c * kPhiloxElements);
  }
}

template <typename Code, bool kStochastic>
FARSPAN_INLINE float QuantiseGroup(const Group& group, uint64_t first_element, uint64_t seed,
                                   uint8_t* codes) {
  U largest = Word<U>(0);
  for (const F x : group.x) largest = Larger(largest, Magnitude(BitsOf(x)));
  const GroupScale scale = ScaleOfGroup(LargestLane(largest), Code::kTop);
  if (scale.poisoned) {
    memset(codes, 0, kGroup);
  } else if constexpr (kStochastic) {
    alignas(64) uint16_t random[kGroup];
    RandomOfGroup(first_element, seed, random);
    for (uint32_t v = 0; v < kVectors; ++v) {
      const U code = Code::stochastic(group.x[v] * scale.inverse, LoadVector(random + v * kLanes));
      StoreVector(code, codes + v * kLanes);
    }
  } else {
    for (uint32_t v = 0; v < kVectors; ++v) {
      StoreVector(Code::template nearest<U>(group.x[v] * scale.inverse), codes + v * kLanes);
    }
  }
  return scale.scale;
}

}  // namespace
}  // namespace farspan::kernels
