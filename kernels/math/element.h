// Elements of buffers: the bits of fp32, bf16 and fp16, in the low bits of U, to and from fp32.
//
// To 16 bits: to nearest even, NaN as 0x7fff, overflow to infinity (what CUDA's conversions do).
// The fp16 conversions are Fabian Giesen's ("half_to_float_fast", "float_to_half_fast3_rtne").
#pragma once

#include "kernels/math/portable.h"

namespace farspan::kernels {

struct Fp32 {
  using Raw = uint32_t;

  template <typename U>
  FARSPAN_INLINE Float<U> load(U raw) {
    return FloatOf(raw);
  }
  template <typename U>
  FARSPAN_INLINE U store(Float<U> value) {
    const U bits = BitsOf(value);
    return Select(IsNan(Magnitude(bits)), Word<U>(kNanBits), bits);
  }
};

struct Bf16 {
  using Raw = uint16_t;

  template <typename U>
  FARSPAN_INLINE Float<U> load(U raw) {
    return FloatOf(raw << 16);
  }
  template <typename U>
  FARSPAN_INLINE U store(Float<U> value) {
    const U bits = BitsOf(value);
    const U rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return Select(IsNan(Magnitude(bits)), Word<U>(0x7fff), rounded);
  }
};

struct Fp16 {
  using Raw = uint16_t;
  static constexpr uint32_t kRebias = 112u << 23;       // 127 - 15
  static constexpr uint32_t kLeastNormal = 113u << 23;  // 2^-14

  template <typename U>
  FARSPAN_INLINE Float<U> load(U raw) {
    const U exponent = raw & 0x7c00;
    const auto denormal = IntOf(exponent) == IntOf(Word<U>(0));
    const U adjust = Select(IntOf(exponent) == IntOf(Word<U>(0x7c00)), Word<U>(2 * kRebias),
                            Select(denormal, Word<U>(kLeastNormal), Word<U>(kRebias)));
    const U hidden = Select(denormal, Word<U>(kLeastNormal), Word<U>(0));
    const U magnitude = BitsOf(FloatOf(((raw & 0x7fff) << 13) + adjust) - FloatOf(hidden));
    return FloatOf(magnitude | (raw & 0x8000) << 16);
  }
  template <typename U>
  FARSPAN_INLINE U store(Float<U> value) {
    const U bits = BitsOf(value);
    const U magnitude = Magnitude(bits);
    const U normal = (magnitude - kRebias + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    const U denormal = BitsOf(FloatOf(magnitude) + Real<U>(0.5f)) - BitsOf(0.5f);
    const U finite = Select(IsBelow(magnitude, kLeastNormal), denormal, normal);
    const U clamped = Select(IsBelow(magnitude, 143u << 23), finite, Word<U>(0x7c00));  // 2^16
    return Select(IsNan(magnitude), Word<U>(0x7fff), clamped | (bits & kSignBit) >> 16);
  }
};

// The larger float, by a total order of their bits: -0 < +0, and every NaN above everything. The
// key of a NaN is the canonical NaN's bits, so the way back needs no case of its own.
template <typename U>
FARSPAN_INLINE Float<U> Maximum(Float<U> a, Float<U> b) {
  const auto key = [](U bits) {
    const U sign_filled = Word<U>(0) - (bits >> 31);
    return IntOf(
        Select(IsNan(Magnitude(bits)), Word<U>(kNanBits), bits ^ (sign_filled & ~kSignBit)));
  };
  const U larger = BitsOf(Lanes<U>::larger(key(BitsOf(a)), key(BitsOf(b))));
  return FloatOf(larger ^ ((Word<U>(0) - (larger >> 31)) & ~kSignBit));
}

}  // namespace farspan::kernels
