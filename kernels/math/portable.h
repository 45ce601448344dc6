// What lets one source be the CPU's scalar code, its vectorised code and the CUDA kernels' code.
//
// Arithmetic on elements is written for U, which is uint32_t or a vector of such lanes (the vector
// extensions of GCC and Clang); Float<U> and Int<U> are the floats and ints of as many lanes. All
// of kernels/math is forced inline with internal linkage: it is compiled several times for
// different instruction sets, and the linker must not merge those. It relies on IEEE arithmetic
// without contraction: -ffp-contract=off, --fmad=false.
#pragma once

#include <stdint.h>

#ifdef __CUDACC__
#define FARSPAN_INLINE static __host__ __device__ __forceinline__
#else
#define FARSPAN_INLINE [[maybe_unused]] static inline __attribute__((always_inline))
#endif

namespace farspan::kernels {

// The three types of as many lanes, found from any of them; vector types are added where they are
// used.
template <typename T>
struct Lanes;
struct OneLane {
  using U = uint32_t;
  using I = int32_t;
  using F = float;
  FARSPAN_INLINE float converted(int32_t value) { return static_cast<float>(value); }
  FARSPAN_INLINE int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
};
template <>
struct Lanes<uint32_t> : OneLane {};
template <>
struct Lanes<int32_t> : OneLane {};
template <>
struct Lanes<float> : OneLane {};
template <>
struct Lanes<uint64_t> {
  // Of the low half.
  FARSPAN_INLINE uint64_t product(uint64_t a, uint32_t b) { return (a & 0xffffffff) * b; }
  // In the low half; the other is anything.
  FARSPAN_INLINE uint64_t high_half(uint64_t a) { return a >> 32; }
};

template <typename T>
using Float = typename Lanes<T>::F;
template <typename T>
using Int = typename Lanes<T>::I;

template <typename T>
FARSPAN_INLINE auto BitsOf(T value) {
  return __builtin_bit_cast(typename Lanes<T>::U, value);
}
template <typename U>
FARSPAN_INLINE Float<U> FloatOf(U bits) {
  return __builtin_bit_cast(Float<U>, bits);
}
template <typename U>
FARSPAN_INLINE Int<U> IntOf(U bits) {
  return __builtin_bit_cast(Int<U>, bits);
}

template <typename Condition, typename T>
FARSPAN_INLINE T Select(Condition condition, T yes, T no) {
  return condition ? yes : no;
}

// All lanes the same.
template <typename U>
FARSPAN_INLINE U Word(uint32_t value) {
  return U{} + value;
}
template <typename U>
FARSPAN_INLINE Float<U> Real(float value) {
  return FloatOf(Word<U>(BitsOf(value)));
}

constexpr uint32_t kSignBit = 0x80000000;
constexpr uint32_t kInfinityBits = 0x7f800000;
constexpr uint32_t kNanBits = 0x7fffffff;

// |value| as bits: ordered like the magnitudes, NaNs above infinity, and below 2^31, so that they
// may be compared as signed numbers, which older instruction sets do faster.
template <typename U>
FARSPAN_INLINE U Magnitude(U bits) {
  return bits & ~kSignBit;
}

template <typename U>
FARSPAN_INLINE auto IsBelow(U magnitude, uint32_t limit) {
  return IntOf(magnitude) < IntOf(Word<U>(limit));
}

template <typename U>
FARSPAN_INLINE U Larger(U magnitude, U other) {
  return BitsOf(Lanes<U>::larger(IntOf(magnitude), IntOf(other)));
}

template <typename U>
FARSPAN_INLINE auto IsNan(U magnitude) {
  return IntOf(magnitude) > IntOf(Word<U>(kInfinityBits));
}

}  // namespace farspan::kernels
