// The rounding rules of kernels.h for one element and one group: see "Quantisation" there.
#pragma once

#include "kernels/math/portable.h"

namespace farspan::kernels {

constexpr uint32_t kGroup = 128;

struct GroupScale {
  float scale;
  float inverse;
  bool poisoned;  // the codes are 0
};

// magnitude: the largest of the group's, as bits.
FARSPAN_INLINE GroupScale ScaleOfGroup(uint32_t magnitude, float top) {
  if (magnitude >= kInfinityBits) return {FloatOf(kNanBits), 0, true};
  const float floor = top * 0x1p-126f;
  constexpr uint32_t kCeiling = 0x7f7ffffe;  // so that top × scale does not overflow by rounding
  const float capped = FloatOf(magnitude < kCeiling ? magnitude : kCeiling);
  const float a = capped > floor ? capped : floor;
  return {a / top, top / a, false};
}

// Codes are in the low 8 bits; nearest and stochastic leave the others undefined. Stochastic
// rounding is what nearest does with kRandomBits bits more, to which as many of the 8 random ones
// are added before they are cut off. No |y| exceeds the top but by rounding, which needs no care.
struct Fp8E4m3 {
  static constexpr float kTop = 448;
  static constexpr uint32_t kRandomBits = 7;  // with them a code is a half-precision float's
  static constexpr uint32_t kLeastNormal = 121u << 23;  // 2^-6
  static constexpr uint32_t kCodeOfLeastNormal = kLeastNormal >> 20;

  // Adding 2^20 × the power of two of |y| leaves the top four bits of its significand, rounded to
  // nearest even, in the last bits of the sum, and the rest of the code is that power. Codes below
  // 2^-6 have the step of those above it.
  template <typename U>
  FARSPAN_INLINE U nearest(Float<U> y) {
    const U exponent = Larger(BitsOf(y) & kInfinityBits, Word<U>(kLeastNormal));
    const U anchor = exponent + ((20u << 23) + (-kCodeOfLeastNormal & 0xff));
    const U sum = BitsOf(FloatOf(Magnitude(BitsOf(y))) + FloatOf(anchor));
    return ((BitsOf(y) >> 24) & 0x80) | (sum + (exponent >> 20));
  }

  template <typename U>
  FARSPAN_INLINE U stochastic(Float<U> y, U random) {
    const U exponent = Larger(BitsOf(y) & kInfinityBits, Word<U>(kLeastNormal));
    const U anchor = exponent + ((13u << 23) + (-(kCodeOfLeastNormal << 7) & 0x7fff));
    const U sum = BitsOf(FloatOf(Magnitude(BitsOf(y))) + FloatOf(anchor));
    return ((BitsOf(y) >> 24) & 0x80) | ((sum + (exponent >> 13) + (random >> 1)) >> 7);
  }

  template <typename U>
  FARSPAN_INLINE Float<U> decode(U code) {
    const U magnitude = code & 0x7f;
    const auto small = IsBelow(magnitude, 8);
    const U hidden = Select(small, Word<U>(kLeastNormal), Word<U>(0));
    const U zero = Select(small, Word<U>(kLeastNormal), Word<U>(kLeastNormal - (1u << 23)));
    const U value = BitsOf(FloatOf((magnitude << 20) + zero) - FloatOf(hidden));
    return FloatOf(
        Select(IsBelow(magnitude, 0x7f), value | (code & 0x80) << 24, Word<U>(kNanBits)));
  }
};

struct Int8 {
  static constexpr float kTop = 127;
  static constexpr uint32_t kRandomBits = 8;

  // Adding 1.5 × 2^23, whose last bits are zeros, leaves y as a whole number in the last bits of
  // the sum; adding 1.5 × 2^15, 256 y.
  template <typename U>
  FARSPAN_INLINE U nearest(Float<U> y) {
    return BitsOf(y + Real<U>(0x1.8p23f));
  }

  template <typename U>
  FARSPAN_INLINE U stochastic(Float<U> y, U random) {
    return (BitsOf(y + Real<U>(0x1.8p15f)) + random) >> 8;
  }

  template <typename U>
  FARSPAN_INLINE Float<U> decode(U code) {
    return Lanes<U>::converted(IntOf(code << 24) >> 24);
  }
};

}  // namespace farspan::kernels
