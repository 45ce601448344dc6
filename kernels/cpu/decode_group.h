// Part of vector_ops.cc, which is compiled once per instruction set: codes to floats.
#pragma once

#include "kernels/cpu/group.h"
#include "kernels/math/element.h"
#include "kernels/math/quantise.h"

namespace farspan::kernels {
namespace {

#if defined(__AVX512F__)
// The magnitudes of fp8 codes as bf16, which holds them all: looking up 32 codes at once is half
// the work of taking them apart.
struct Fp8Magnitudes {
  alignas(64) uint16_t bf16[128];
  constexpr Fp8Magnitudes() : bf16{} {
    for (uint32_t code = 8; code < 127; ++code) {
      bf16[code] = static_cast<uint16_t>((code << 4) + (120u << 7));
    }
    for (uint32_t code = 1, top = 0; code < 8; ++code) {  // code × 2^-9, its highest bit 2^top
      top += code >> (top + 1) & 1;
      bf16[code] = static_cast<uint16_t>(((118 + top) << 7) + ((code << (7 - top)) & 0x7f));
    }
    bf16[127] = 0x7fff;
  }
};
constexpr Fp8Magnitudes kFp8Magnitudes;

FARSPAN_INLINE void DecodeTwo(Fp8E4m3, const uint8_t* codes, F (&values)[2]) {
  const auto* table = reinterpret_cast<const __m512i*>(kFp8Magnitudes.bf16);
  const __m512i wide =
      _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)));
  const __m512i small = _mm512_permutex2var_epi16(table[0], wide, table[1]);
  const __m512i large = _mm512_permutex2var_epi16(table[2], wide, table[3]);
  const __mmask32 is_large = _mm512_test_epi16_mask(wide, _mm512_set1_epi16(0x40));
  const __m512i sign = _mm512_slli_epi16(_mm512_and_si512(wide, _mm512_set1_epi16(0x80)), 8);
  alignas(64) uint16_t bf16[2 * kLanes];
  _mm512_store_si512(bf16, _mm512_or_si512(_mm512_mask_blend_epi16(is_large, small, large), sign));
  for (uint32_t i = 0; i < 2; ++i) values[i] = Bf16::load(LoadVector(bf16 + i * kLanes));
}
#endif

template <typename Code>
FARSPAN_INLINE void DecodeTwo(Code, const uint8_t* codes, F (&values)[2]) {
  for (uint32_t i = 0; i < 2; ++i) values[i] = Code::decode(LoadVector(codes + i * kLanes));
}

// group = or += codes × scale
template <typename Code, bool kAdd>
FARSPAN_INLINE void Decode(const uint8_t* from, float scale, uint64_t count, Group& group) {
  alignas(64) uint8_t padded[kGroup];
  const uint8_t* codes = Padded(from, count, padded);
  for (uint32_t v = 0; v < kVectors; v += 2) {
    F values[2];
    DecodeTwo(Code{}, codes + v * kLanes, values);
    for (uint32_t i = 0; i < 2; ++i) {
      const F product = values[i] * scale;
      group.x[v + i] = kAdd ? group.x[v + i] + product : product;
    }
  }
}

}  // namespace
}  // namespace farspan::kernels
