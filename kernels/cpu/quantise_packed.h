// Part of vector_ops.cc, which is compiled once per instruction set: quantisation to nearest with
// AVX-512's narrow lanes, for whole groups of ordinary values. The codes and scales are those of
// QuantiseGroup bit for bit.
//
// Where a bf16 stays 16 bits wide and codes are put together four vectors at a time, half the work
// of one lane per element is spared.
#pragma once

#include <string.h>

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/output.h"
#include "kernels/math/element.h"
#include "kernels/math/quantise.h"

namespace farspan::kernels {
namespace {

constexpr uint64_t kTileGroups = 16;

#if defined(__AVX512F__)

struct PermutationOf16 {
  uint32_t to[16];
};

// 64 values as they lie in memory. As floats they are four vectors in an order of their own, and
// what is packed from four such vectors comes back to theirs by kOrder, of four bytes each.
template <typename Type>
struct Chunk;

template <>
struct Chunk<Fp32> {
  static constexpr PermutationOf16 kOrder = {
      {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15}};
  __m512i raw[4];

  FARSPAN_INLINE void load(const void* from, Chunk& to) {
    for (uint32_t i = 0; i < 4; ++i) {
      to.raw[i] = _mm512_loadu_si512(static_cast<const uint8_t*>(from) + 64 * i);
    }
  }
  FARSPAN_INLINE Chunk magnitudes(const Chunk& of) {
    const __m512i mask = _mm512_set1_epi32(0x7fffffff);
    Chunk out;
    for (uint32_t i = 0; i < 4; ++i) out.raw[i] = _mm512_and_si512(of.raw[i], mask);
    return out;
  }
  // Of magnitudes of two chunks; the lanes of the result are floats' bits.
  FARSPAN_INLINE __m512i largest(const Chunk& a, const Chunk& b) {
    __m512i all = _mm512_max_epi32(a.raw[0], b.raw[0]);
    for (uint32_t i = 1; i < 4; ++i) {
      all = _mm512_max_epi32(all, _mm512_max_epi32(a.raw[i], b.raw[i]));
    }
    return all;
  }
  FARSPAN_INLINE void floats(const Chunk& of, __m512 (&to)[4]) {
    for (uint32_t i = 0; i < 4; ++i) to[i] = _mm512_castsi512_ps(of.raw[i]);
  }
  // Bytes whose top bits are the values' signs, in the order of packed bytes.
  FARSPAN_INLINE __m512i signs(const Chunk& of) {
    return _mm512_packs_epi16(_mm512_packs_epi32(of.raw[0], of.raw[1]),
                              _mm512_packs_epi32(of.raw[2], of.raw[3]));
  }
};

template <>
struct Chunk<Bf16> {
  static constexpr PermutationOf16 kOrder = {
      {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15}};
  __m512i raw[2];

  FARSPAN_INLINE void load(const void* from, Chunk& to) {
    for (uint32_t i = 0; i < 2; ++i) {
      to.raw[i] = _mm512_loadu_si512(static_cast<const uint8_t*>(from) + 64 * i);
    }
  }
  FARSPAN_INLINE Chunk magnitudes(const Chunk& of) {
    const __m512i mask = _mm512_set1_epi16(0x7fff);
    return {{_mm512_and_si512(of.raw[0], mask), _mm512_and_si512(of.raw[1], mask)}};
  }
  FARSPAN_INLINE __m512i largest(const Chunk& a, const Chunk& b) {
    const __m512i all = _mm512_max_epi16(_mm512_max_epi16(a.raw[0], b.raw[0]),
                                         _mm512_max_epi16(a.raw[1], b.raw[1]));
    return _mm512_max_epi32(_mm512_slli_epi32(all, 16),
                            _mm512_and_si512(all, _mm512_set1_epi32(0x7fff0000)));
  }
  FARSPAN_INLINE void floats(const Chunk& of, __m512 (&to)[4]) {
    const __m512i zero = _mm512_setzero_si512();
    for (uint32_t i = 0; i < 2; ++i) {
      to[2 * i] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, of.raw[i]));
      to[2 * i + 1] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, of.raw[i]));
    }
  }
  FARSPAN_INLINE __m512i signs(const Chunk& of) { return _mm512_packs_epi16(of.raw[0], of.raw[1]); }
};

struct PermutationOf32 {
  uint16_t to[32];
};
// The low halves of two vectors' lanes, in the order of _mm512_packs_epi32.
constexpr PermutationOf32 kLowHalves = {{0,  2,  4,  6,  32, 34, 36, 38, 8,  10, 12,
                                         14, 40, 42, 44, 46, 16, 18, 20, 22, 48, 50,
                                         52, 54, 24, 26, 28, 30, 56, 58, 60, 62}};

// Codes of y = value / scale, packed.
template <typename Code>
struct PackedCodes;

template <>
struct PackedCodes<Int8> {
  static constexpr float kFactor = 1;
  static constexpr bool kOfMagnitudes = false;

  FARSPAN_INLINE __m512i pack(const __m512 (&y)[4], __m512i /*signs*/) {
    __m512i whole[4];
    for (uint32_t i = 0; i < 4; ++i) whole[i] = _mm512_cvtps_epi32(y[i]);
    return _mm512_packs_epi16(_mm512_packs_epi32(whole[0], whole[1]),
                              _mm512_packs_epi32(whole[2], whole[3]));
  }
};

// As Fp8E4m3::nearest, but of 8 |y|: the least normal number is then 2^-3, and 2^20 times the power
// of two of the value, the anchor, has the exponent 144 + e, e = 0 … 14, where the code is 8 e plus
// the last bits of anchor + value. One product of halves gives 256 × (8 (144 + e) + last bits),
// the low half of which is the code, with the top bit set, and a byte of zeros.
template <>
struct PackedCodes<Fp8E4m3> {
  static constexpr float kFactor = 8;
  static constexpr bool kOfMagnitudes = true;

  FARSPAN_INLINE __m512i code(__m512 y) {
    const __m512i above_least =
        _mm512_subs_epu16(_mm512_castps_si512(y), _mm512_set1_epi32((124 << 23) + 0xffff));
    const __m512i anchor =
        _mm512_ternarylogic_epi32(above_least, _mm512_set1_epi32(kInfinityBits),
                                  _mm512_set1_epi32(144 << 23), 0xea);  // (a & b) | c
    const __m512i sum = _mm512_castps_si512(_mm512_add_ps(y, _mm512_castsi512_ps(anchor)));
    return _mm512_madd_epi16(sum, _mm512_set1_epi32((16 << 16) + 256));
  }

  FARSPAN_INLINE __m512i pack(const __m512 (&y)[4], __m512i signs) {
    const __m512i low_halves = _mm512_loadu_si512(kLowHalves.to);
    const __m512i first = _mm512_permutex2var_epi16(code(y[0]), low_halves, code(y[1]));
    const __m512i second = _mm512_permutex2var_epi16(code(y[2]), low_halves, code(y[3]));
    const __m512i codes =
        _mm512_packus_epi16(_mm512_srli_epi16(first, 8), _mm512_srli_epi16(second, 8));
    return _mm512_ternarylogic_epi32(_mm512_set1_epi8(-128), signs, codes, 0xca);  // a ? b : c
  }
};

template <typename Type, typename Code>
FARSPAN_INLINE __m512i PackChunk(const typename Type::Raw* values, __m512 factor) {
  using Packed = PackedCodes<Code>;
  Chunk<Type> chunk;
  Chunk<Type>::load(values, chunk);
  __m512 y[4];
  Chunk<Type>::floats(Packed::kOfMagnitudes ? Chunk<Type>::magnitudes(chunk) : chunk, y);
  for (__m512& one : y) one = _mm512_mul_ps(one, factor);
  const __m512i packed = Packed::pack(y, Chunk<Type>::signs(chunk));
  return _mm512_permutexvar_epi32(_mm512_loadu_si512(Chunk<Type>::kOrder.to), packed);
}

template <typename Type>
FARSPAN_INLINE uint32_t LargestOf(const typename Type::Raw* values) {
  Chunk<Type> first;
  Chunk<Type> second;
  Chunk<Type>::load(values, first);
  Chunk<Type>::load(values + 64, second);
  const __m512i largest =
      Chunk<Type>::largest(Chunk<Type>::magnitudes(first), Chunk<Type>::magnitudes(second));
  return LargestLane(__builtin_bit_cast(U, largest));
}

// Up to kTileGroups whole groups: first what is largest in each, so that the long way from there to
// a scale is gone once for all. False, and nothing written, where a group needs more care.
template <typename Type, typename Code>
FARSPAN_INLINE bool QuantisePacked(const typename Type::Raw* values, uint64_t groups, float* scales,
                                   Output& codes) {
  alignas(64) uint32_t largest[kTileGroups] = {};
  for (uint64_t g = 0; g < groups; ++g) largest[g] = LargestOf<Type>(values + g * kGroup);
  const __m512i bits = _mm512_load_si512(largest);
  constexpr int kLeast = (127 - 100) << 23;  // 2^-100 … 2^100: no product overflows, and 8 times
  constexpr int kMost = (127 + 100) << 23;   // the inverse is exact
  const __mmask16 zero = _mm512_testn_epi32_mask(bits, bits);
  const __mmask16 ordinary = _mm512_cmplt_epu32_mask(
      _mm512_sub_epi32(bits, _mm512_set1_epi32(kLeast)), _mm512_set1_epi32(kMost - kLeast));
  if ((zero | ordinary) != 0xffff) return false;
  const __m512 top = _mm512_set1_ps(Code::kTop);
  const __m512 a = _mm512_castsi512_ps(bits);
  const __m512 floored = _mm512_max_ps(a, _mm512_set1_ps(Code::kTop * 0x1p-126f));
  alignas(64) float scale[kTileGroups];
  alignas(64) float factor[kTileGroups];
  _mm512_store_ps(scale, _mm512_div_ps(floored, top));
  const __m512 inverse = _mm512_div_ps(top, _mm512_max_ps(a, _mm512_set1_ps(0x1p-100f)));
  _mm512_store_ps(factor, _mm512_mul_ps(inverse, _mm512_set1_ps(PackedCodes<Code>::kFactor)));
  memcpy(scales, scale, groups * sizeof(float));
  for (uint64_t g = 0; g < groups; ++g) {
    for (uint32_t half = 0; half < 2; ++half) {
      codes.put(PackChunk<Type, Code>(values + g * kGroup + 64 * half, _mm512_set1_ps(factor[g])));
    }
  }
  return true;
}

#else

template <typename Type, typename Code>
FARSPAN_INLINE bool QuantisePacked(const typename Type::Raw*, uint64_t, float*, Output&) {
  return false;
}

#endif

}  // namespace
}  // namespace farspan::kernels
