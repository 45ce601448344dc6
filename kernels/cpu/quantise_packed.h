// Part of vector_ops.cc, which is compiled once per instruction set: quantisation with AVX-512's
// narrow lanes, for whole groups of ordinary values. The codes and scales are those of
// QuantiseGroup bit for bit.
//
// Where a bf16 stays 16 bits wide and codes are put together four vectors at a time, half the work
// of one lane per element is spared.
#pragma once

#include <string.h>

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/output.h"
#include "kernels/cpu/random_group.h"
#include "kernels/math/element.h"
#include "kernels/math/quantise.h"

namespace farspan::kernels {
namespace {

constexpr uint64_t kTileGroups = 16;
// What is fetched ahead into the first cache: a tile, and so much more that the tile's last groups
// have come when the tile begins. So few loads can wait for memory at once that fp32, which has the
// most to read, is fetched into the second cache before.
constexpr uint64_t kGroupsAhead = kTileGroups + 4;
constexpr uint64_t kGroupsFarAhead = 64;

#if defined(__AVX512F__)

struct PermutationOf16 {
  uint32_t to[16];
  constexpr PermutationOf16 inverse() const {
    PermutationOf16 back{};
    for (uint32_t i = 0; i < 16; ++i) back.to[to[i]] = i;
    return back;
  }
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
  // Times `factor`, even values and odd ones apart: they stay in the order of memory.
  FARSPAN_INLINE void products(const Chunk& of, __m512 factor, __m512 (&even)[2],
                               __m512 (&odd)[2]) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    for (uint32_t i = 0; i < 2; ++i) {
      even[i] = _mm512_mul_ps(_mm512_castsi512_ps(_mm512_slli_epi32(of.raw[i], 16)), factor);
      odd[i] = _mm512_mul_ps(_mm512_castsi512_ps(_mm512_and_si512(of.raw[i], upper)), factor);
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
constexpr PermutationOf32 kLowHalvesInOrder = {{0,  2,  4,  6,  8,  10, 12, 14, 16, 18, 20,
                                                22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42,
                                                44, 46, 48, 50, 52, 54, 56, 58, 60, 62}};

// Halves of even elements and of odd ones, the codes being their upper bytes.
FARSPAN_INLINE __m512i UpperBytes(__m512i even, __m512i odd) {
  return _mm512_ternarylogic_epi32(_mm512_set1_epi16(0xff), _mm512_srli_epi16(even, 8), odd,
                                   0xca);  // a ? b : c
}

// The codes of a chunk; y = value / scale, times kFactor.
template <typename Code, bool kStochastic>
struct PackedCodes;

template <>
struct PackedCodes<Int8, false> {
  static constexpr float kFactor = 1;

  template <typename Type>
  FARSPAN_INLINE __m512i pack(const Chunk<Type>& values, __m512 factor, __m512i) {
    __m512 y[4];
    Chunk<Type>::floats(values, y);
    __m512i whole[4];
    for (uint32_t i = 0; i < 4; ++i) whole[i] = _mm512_cvtps_epi32(_mm512_mul_ps(y[i], factor));
    const __m512i codes = _mm512_packs_epi16(_mm512_packs_epi32(whole[0], whole[1]),
                                             _mm512_packs_epi32(whole[2], whole[3]));
    return _mm512_permutexvar_epi32(_mm512_loadu_si512(Chunk<Type>::kOrder.to), codes);
  }
};

// 256 y fills a half.
template <>
struct PackedCodes<Int8, true> {
  static constexpr float kFactor = 256;

  FARSPAN_INLINE __m512i pack(const Chunk<Fp32>& values, __m512 factor, __m512i random) {
    static constexpr PermutationOf16 kBack = Chunk<Fp32>::kOrder.inverse();
    const __m512i packed = _mm512_permutexvar_epi32(_mm512_loadu_si512(kBack.to), random);
    const __m512i zero = _mm512_setzero_si512();
    __m512i whole[4];
    for (uint32_t i = 0; i < 4; ++i) {
      whole[i] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_castsi512_ps(values.raw[i]), factor));
    }
    const __m512i first = _mm512_add_epi16(_mm512_packs_epi32(whole[0], whole[1]),
                                           _mm512_unpacklo_epi8(packed, zero));
    const __m512i second = _mm512_add_epi16(_mm512_packs_epi32(whole[2], whole[3]),
                                            _mm512_unpackhi_epi8(packed, zero));
    const __m512i codes =
        _mm512_packs_epi16(_mm512_srai_epi16(first, 8), _mm512_srai_epi16(second, 8));
    return _mm512_permutexvar_epi32(_mm512_loadu_si512(Chunk<Fp32>::kOrder.to), codes);
  }

  FARSPAN_INLINE __m512i halves(const __m512 (&y)[2]) {
    return _mm512_permutex2var_epi16(_mm512_cvtps_epi32(y[0]),
                                     _mm512_loadu_si512(kLowHalvesInOrder.to),
                                     _mm512_cvtps_epi32(y[1]));
  }

  FARSPAN_INLINE __m512i pack(const Chunk<Bf16>& values, __m512 factor, __m512i random) {
    __m512 even[2];
    __m512 odd[2];
    Chunk<Bf16>::products(values, factor, even, odd);
    const __m512i even_random = _mm512_and_si512(random, _mm512_set1_epi16(0xff));
    return UpperBytes(_mm512_add_epi16(halves(even), even_random),
                      _mm512_add_epi16(halves(odd), _mm512_srli_epi16(random, 8)));
  }
};

// As Fp8E4m3::nearest, but of 8 |y|: the least normal number is then 2^-3, and 2^20 times the power
// of two of the value, the anchor, has the exponent 144 + e, e = 0 … 14, where the code is 8 e plus
// the last bits of anchor + value. One product of halves gives 256 × (8 (144 + e) + last bits),
// the low half of which is the code, with the top bit set, and a byte of zeros.
template <>
struct PackedCodes<Fp8E4m3, false> {
  static constexpr float kFactor = 8;

  FARSPAN_INLINE __m512i code(__m512 y) {
    const __m512i above_least =
        _mm512_subs_epu16(_mm512_castps_si512(y), _mm512_set1_epi32((124 << 23) + 0xffff));
    const __m512i anchor =
        _mm512_ternarylogic_epi32(above_least, _mm512_set1_epi32(kInfinityBits),
                                  _mm512_set1_epi32(144 << 23), 0xea);  // (a & b) | c
    const __m512i sum = _mm512_castps_si512(_mm512_add_ps(y, _mm512_castsi512_ps(anchor)));
    return _mm512_madd_epi16(sum, _mm512_set1_epi32((16 << 16) + 256));
  }

  template <typename Type>
  FARSPAN_INLINE __m512i pack(const Chunk<Type>& values, __m512 factor, __m512i) {
    __m512 y[4];
    Chunk<Type>::floats(Chunk<Type>::magnitudes(values), y);
    for (__m512& one : y) one = _mm512_mul_ps(one, factor);
    const __m512i low_halves = _mm512_loadu_si512(kLowHalves.to);
    const __m512i first = _mm512_permutex2var_epi16(code(y[0]), low_halves, code(y[1]));
    const __m512i second = _mm512_permutex2var_epi16(code(y[2]), low_halves, code(y[3]));
    const __m512i magnitudes =
        _mm512_packus_epi16(_mm512_srli_epi16(first, 8), _mm512_srli_epi16(second, 8));
    const __m512i codes = _mm512_ternarylogic_epi32(
        _mm512_set1_epi8(-128), Chunk<Type>::signs(values), magnitudes, 0xca);  // a ? b : c
    return _mm512_permutexvar_epi32(_mm512_loadu_si512(Chunk<Type>::kOrder.to), codes);
  }
};

// y / 256 has half precision's least normal number where y has fp8's, so that it is a code with
// seven bits more as a half; its top exponent bit is never set.
template <>
struct PackedCodes<Fp8E4m3, true> {
  static constexpr float kFactor = 0x1p-8f;

  // In the upper bytes of halves.
  FARSPAN_INLINE __m512i code(__m512 y0, __m512 y1, __m512i random) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    const __m256i half0 = _mm512_cvtps_ph(y0, kNearest);
    const __m256i half1 = _mm512_cvtps_ph(y1, kNearest);
    const __m512i halves = _mm512_inserti64x4(_mm512_castsi256_si512(half0), half1, 1);
    const __m512i sum = _mm512_add_epi16(halves, random);
    const __m512i magnitude = _mm512_and_si512(sum, _mm512_set1_epi16(0x7fff));
    return _mm512_add_epi16(sum, magnitude);  // over the unused bit
  }

  FARSPAN_INLINE __m512i pack(const Chunk<Fp32>& values, __m512 factor, __m512i random) {
    static constexpr PermutationOf16 kOrder = {
        {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15}};
    const __m256i bytes[2] = {_mm512_castsi512_si256(random), _mm512_extracti64x4_epi64(random, 1)};
    __m512i halves[2];
    for (uint32_t i = 0; i < 2; ++i) {
      halves[i] = code(_mm512_mul_ps(_mm512_castsi512_ps(values.raw[2 * i]), factor),
                       _mm512_mul_ps(_mm512_castsi512_ps(values.raw[2 * i + 1]), factor),
                       _mm512_srli_epi16(_mm512_cvtepu8_epi16(bytes[i]), 1));
    }
    const __m512i codes =
        _mm512_packus_epi16(_mm512_srli_epi16(halves[0], 8), _mm512_srli_epi16(halves[1], 8));
    return _mm512_permutexvar_epi32(_mm512_loadu_si512(kOrder.to), codes);
  }

  FARSPAN_INLINE __m512i pack(const Chunk<Bf16>& values, __m512 factor, __m512i random) {
    __m512 even[2];
    __m512 odd[2];
    Chunk<Bf16>::products(values, factor, even, odd);
    const __m512i even_random =
        _mm512_and_si512(_mm512_srli_epi16(random, 1), _mm512_set1_epi16(0x7f));
    return UpperBytes(code(even[0], even[1], even_random),
                      code(odd[0], odd[1], _mm512_srli_epi16(random, 9)));
  }
};

template <typename Type, typename Code, bool kStochastic>
FARSPAN_INLINE __m512i PackChunk(const typename Type::Raw* values, __m512 factor, Wide random) {
  Chunk<Type> chunk;
  Chunk<Type>::load(values, chunk);
  return PackedCodes<Code, kStochastic>::pack(chunk, factor, __builtin_bit_cast(__m512i, random));
}

// What is largest in each sixteenth of a group.
template <typename Type>
FARSPAN_INLINE __m512i LargestParts(const typename Type::Raw* values) {
  Chunk<Type> first;
  Chunk<Type> second;
  Chunk<Type>::load(values, first);
  Chunk<Type>::load(values + 64, second);
  return Chunk<Type>::largest(Chunk<Type>::magnitudes(first), Chunk<Type>::magnitudes(second));
}

// What is largest in each of up to sixteen groups, zero for those that are not there: vectors are
// joined two by two, so that a step is one for all of them.
template <typename Type>
FARSPAN_INLINE __m512i LargestOfGroups(const typename Type::Raw* values, uint64_t groups) {
  const auto parts = [&](uint64_t g) {
    return g < groups ? LargestParts<Type>(values + g * kGroup) : _mm512_setzero_si512();
  };
  const auto two = [&](uint64_t g) {
    const __m512i a = parts(g);
    const __m512i b = parts(g + 1);
    return _mm512_max_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  };
  const auto four = [&](uint64_t g) {
    const __m512i a = two(g);
    const __m512i b = two(g + 2);
    return _mm512_max_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  };
  const auto joined = [](__m512i a, __m512i b) {
    return _mm512_max_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
  };
  const __m512i low = joined(four(0), four(4));
  return joined(low, joined(four(8), four(12)));
}

// Up to kTileGroups whole groups: first what is largest in each, so that the long way from there to
// a scale is gone once for all. What comes next is fetched while codes are made, and random bytes
// are made for two groups at a time, or memory would rest meanwhile. False, and nothing written,
// where a group needs more care.
template <typename Type, typename Code, bool kStochastic>
FARSPAN_INLINE bool QuantisePacked(const typename Type::Raw* values, uint64_t groups,
                                   uint64_t first_element, uint64_t seed, float* scales,
                                   Output& codes) {
  const __m512i bits = LargestOfGroups<Type>(values, groups);
  constexpr int kLeast = (127 - 100) << 23;  // 2^-100 … 2^100: no product overflows, and 8 times
  constexpr int kMost = (127 + 100) << 23;   // (256, 1/256 times) the inverse is exact
  const __mmask16 zero = _mm512_testn_epi32_mask(bits, bits);
  const __mmask16 ordinary = _mm512_cmplt_epu32_mask(
      _mm512_sub_epi32(bits, _mm512_set1_epi32(kLeast)), _mm512_set1_epi32(kMost - kLeast));
  if ((zero | ordinary) != 0xffff) return false;
  if (kStochastic && HighWordChanges(first_element, groups)) return false;
  const __m512 top = _mm512_set1_ps(Code::kTop);
  const __m512 a = _mm512_castsi512_ps(bits);
  const __m512 floored = _mm512_max_ps(a, _mm512_set1_ps(Code::kTop * 0x1p-126f));
  alignas(64) float scale[kTileGroups];
  alignas(64) float factor[kTileGroups];
  _mm512_store_ps(scale, _mm512_div_ps(floored, top));
  const __m512 inverse = _mm512_div_ps(top, _mm512_max_ps(a, _mm512_set1_ps(0x1p-100f)));
  _mm512_store_ps(factor,
                  _mm512_mul_ps(inverse, _mm512_set1_ps(PackedCodes<Code, kStochastic>::kFactor)));
  memcpy(scales, scale, groups * sizeof(float));
  const auto pack = [&]<uint32_t kGroups>(uint64_t first, const RandomGroups<kGroups>& random)
      __attribute__((always_inline)) {
    for (uint64_t half = 0; half < 2 * kGroups; ++half) {
      const uint64_t g = first + half / 2;
      const auto* at = values + first * kGroup + half * 64;
      if (groups == kTileGroups) {
        constexpr uint64_t kBytes = sizeof(values[0]) * 64;
        Prefetch<kBytes>(at + kGroupsAhead * kGroup);
        if (sizeof(values[0]) == 4) Prefetch<kBytes, kToSecondCache>(at + kGroupsFarAhead * kGroup);
      }
      codes.put(PackChunk<Type, Code, kStochastic>(at, _mm512_set1_ps(factor[g]),
                                                   random.part[half / 2][half % 2]));
    }
  };
  uint64_t g = 0;
  if constexpr (kStochastic) {
    for (; g + 2 <= groups; g += 2) {
      pack(g, RandomGroups<2>::of(first_element + g * kGroup, seed));
    }
    if (g < groups) pack(g, RandomOfGroup(first_element + g * kGroup, seed));
  } else {
    for (; g < groups; ++g) pack(g, RandomGroups<1>{});
  }
  return true;
}

#else

template <typename Type, typename Code, bool kStochastic>
FARSPAN_INLINE bool QuantisePacked(const typename Type::Raw*, uint64_t, uint64_t, uint64_t, float*,
                                   Output&) {
  return false;
}

#endif

}  // namespace
}  // namespace farspan::kernels
