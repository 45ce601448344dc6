// Part of vector_ops.cc, which is compiled once per instruction set: registers of lanes, and how
// elements get into and out of them.
#pragma once

#include <stdint.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "kernels/math/portable.h"

namespace farspan::kernels {

#if defined(__AVX512F__)
constexpr uint32_t kLanes = 16;
#elif defined(__AVX2__)
constexpr uint32_t kLanes = 8;
#else
constexpr uint32_t kLanes = 4;
#endif

// One vector register.
using U = uint32_t __attribute__((vector_size(4 * kLanes)));
using I = int32_t __attribute__((vector_size(4 * kLanes)));
using F = float __attribute__((vector_size(4 * kLanes)));

using Wide = uint64_t __attribute__((vector_size(4 * kLanes)));

struct VectorLanes {
  using U = kernels::U;
  using I = kernels::I;
  using F = kernels::F;
  FARSPAN_INLINE F converted(I value) { return __builtin_convertvector(value, F); }
  FARSPAN_INLINE I larger(I a, I b) {
#if defined(__AVX512F__)
    return __builtin_bit_cast(
        I, _mm512_max_epi32(__builtin_bit_cast(__m512i, a), __builtin_bit_cast(__m512i, b)));
#else
    return a > b ? a : b;
#endif
  }
};
template <>
struct Lanes<U> : VectorLanes {};
template <>
struct Lanes<I> : VectorLanes {};
template <>
struct Lanes<F> : VectorLanes {};
template <>
struct Lanes<Wide> {
  // Of the low halves of the lanes: gcc 12 would multiply the high ones too.
  FARSPAN_INLINE Wide product(Wide a, uint32_t factor) {
    const Wide b = Wide{} + factor;
#if defined(__AVX512F__)
    return __builtin_bit_cast(
        Wide, _mm512_mul_epu32(__builtin_bit_cast(__m512i, a), __builtin_bit_cast(__m512i, b)));
#elif defined(__AVX2__)
    return __builtin_bit_cast(
        Wide, _mm256_mul_epu32(__builtin_bit_cast(__m256i, a), __builtin_bit_cast(__m256i, b)));
#elif defined(__x86_64__)
    return __builtin_bit_cast(
        Wide, _mm_mul_epu32(__builtin_bit_cast(__m128i, a), __builtin_bit_cast(__m128i, b)));
#else
    return (a & 0xffffffff) * b;
#endif
  }
  // In the low halves, by a shuffle where there is one: more units can do it than can shift.
  FARSPAN_INLINE Wide high_half(Wide a) {
#if defined(__AVX512F__)
    return __builtin_bit_cast(Wide, _mm512_movehdup_ps(__builtin_bit_cast(__m512, a)));
#elif defined(__AVX2__)
    return __builtin_bit_cast(Wide, _mm256_movehdup_ps(__builtin_bit_cast(__m256, a)));
#else
    return a >> 32;
#endif
  }
};

// Widening and narrowing by hand: gcc 12 takes __builtin_convertvector apart lane by lane.
// StoreBytes stores the low bytes of four vectors' lanes.
#if defined(__AVX512F__)
FARSPAN_INLINE U LoadVector(const uint8_t* from) {
  return __builtin_bit_cast(
      U, _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
FARSPAN_INLINE U LoadVector(const uint16_t* from) {
  return __builtin_bit_cast(
      U, _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
}
FARSPAN_INLINE void StoreBytes(const U (&lanes)[4], uint8_t* to) {
  for (uint32_t i = 0; i < 4; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to) + i,
                     _mm512_cvtepi32_epi8(__builtin_bit_cast(__m512i, lanes[i])));
  }
}
FARSPAN_INLINE void StoreVector(U lanes, uint16_t* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtepi32_epi16(__builtin_bit_cast(__m512i, lanes)));
}
#elif defined(__AVX2__)
FARSPAN_INLINE U LoadVector(const uint8_t* from) {
  return __builtin_bit_cast(
      U, _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
FARSPAN_INLINE U LoadVector(const uint16_t* from) {
  return __builtin_bit_cast(
      U, _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
FARSPAN_INLINE void StoreBytes(const U (&lanes)[4], uint8_t* to) {
  const auto two = [&](uint32_t i) {
    return _mm256_packus_epi32(__builtin_bit_cast(__m256i, lanes[i] & 0xff),
                               __builtin_bit_cast(__m256i, lanes[i + 1] & 0xff));
  };
  const __m256i packed = _mm256_packus_epi16(two(0), two(2));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permutevar8x32_epi32(packed, order));
}
FARSPAN_INLINE void StoreVector(U lanes, uint16_t* to) {
  const auto low = __builtin_bit_cast(__m256i, lanes & 0xffff);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
}
#else
template <typename Raw>
FARSPAN_INLINE U LoadVector(const Raw* from) {
  return U{from[0], from[1], from[2], from[3]};
}
template <typename Raw>
FARSPAN_INLINE void StoreVector(U lanes, Raw* to) {
  for (uint32_t lane = 0; lane < kLanes; ++lane) to[lane] = static_cast<Raw>(lanes[lane]);
}
FARSPAN_INLINE void StoreBytes(const U (&lanes)[4], uint8_t* to) {
  for (uint32_t i = 0; i < 4; ++i) StoreVector(lanes[i], to + i * kLanes);
}
#endif
#if defined(__AVX2__)
FARSPAN_INLINE U LoadVector(const uint32_t* from) {
  U lanes;
  memcpy(&lanes, from, sizeof lanes);
  return lanes;
}
FARSPAN_INLINE void StoreVector(U lanes, uint32_t* to) { memcpy(to, &lanes, sizeof lanes); }
#endif

constexpr int kToFirstCache = 3;
constexpr int kToSecondCache = 2;

template <uint64_t kBytes, int kCache = kToFirstCache>
FARSPAN_INLINE void Prefetch(const void* from) {
  for (uint64_t i = 0; i < kBytes; i += 64) {
    __builtin_prefetch(static_cast<const char*>(from) + i, 0, kCache);
  }
}

FARSPAN_INLINE uint32_t LargestLane(U magnitudes) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_epu32(__builtin_bit_cast(__m512i, magnitudes));
#elif defined(__AVX2__)
  const auto all = __builtin_bit_cast(__m256i, magnitudes);
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(four));
#else
  return Larger(Larger(magnitudes[0], magnitudes[1]), Larger(magnitudes[2], magnitudes[3]));
#endif
}

}  // namespace farspan::kernels
