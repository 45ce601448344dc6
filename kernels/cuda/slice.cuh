// Eight consecutive elements, the share of one thread: 16 threads, half a warp, have a group.
#pragma once

#include "kernels/math/element.h"
#include "kernels/math/philox.h"
#include "kernels/math/quantise.h"

namespace farspan::kernels {

constexpr uint32_t kSlice = 8;
constexpr uint32_t kThreads = 1024;

// The raw words of a slice of elements; those past `left` are zero. Wide loads need good alignment.
template <typename Type>
struct RawSlice {
  using Raw = typename Type::Raw;
  static constexpr uint32_t kPerWord = sizeof(uint32_t) / sizeof(Raw);
  uint32_t word[kSlice / kPerWord];

  __device__ __forceinline__ void load(const Raw* from, uint64_t left, bool wide) {
    if (wide && left >= kSlice) {
#pragma unroll
      for (uint32_t i = 0; i < kSlice / kPerWord; i += 4) {
        const uint4 v = *reinterpret_cast<const uint4*>(from + i * kPerWord);
        word[i] = v.x;
        word[i + 1] = v.y;
        word[i + 2] = v.z;
        word[i + 3] = v.w;
      }
      return;
    }
#pragma unroll
    for (uint32_t i = 0; i < kSlice; ++i) {
      const uint32_t raw = i < left ? from[i] : 0;
      if (i % kPerWord == 0) {
        word[i / kPerWord] = raw;
      } else {
        word[i / kPerWord] |= raw << 16;
      }
    }
  }

  __device__ __forceinline__ void store(Raw* to, uint64_t left, bool wide) const {
    if (wide && left >= kSlice) {
#pragma unroll
      for (uint32_t i = 0; i < kSlice / kPerWord; i += 4) {
        *reinterpret_cast<uint4*>(to + i * kPerWord) =
            make_uint4(word[i], word[i + 1], word[i + 2], word[i + 3]);
      }
      return;
    }
#pragma unroll
    for (uint32_t i = 0; i < kSlice; ++i) {
      if (i < left) to[i] = static_cast<Raw>(word[i / kPerWord] >> 16 * (i % kPerWord));
    }
  }

  __device__ __forceinline__ float value(uint32_t i) const {
    const uint32_t raw = word[i / kPerWord] >> 16 * (i % kPerWord);
    return Type::load(kPerWord == 2 ? raw & 0xffff : raw);
  }

  __device__ __forceinline__ void set(const float (&x)[kSlice]) {
#pragma unroll
    for (uint32_t i = 0; i < kSlice; i += kPerWord) {
      word[i / kPerWord] = Type::template store<uint32_t>(x[i]);
      if (kPerWord == 2) word[i / kPerWord] |= Type::template store<uint32_t>(x[i + 1]) << 16;
    }
  }
};

// The codes of a slice.
struct CodeSlice {
  uint2 bytes;

  __device__ __forceinline__ void load(const uint8_t* from, uint64_t left, bool wide) {
    if (wide && left >= kSlice) {
      bytes = *reinterpret_cast<const uint2*>(from);
      return;
    }
    bytes = make_uint2(0, 0);
#pragma unroll
    for (uint32_t i = 0; i < kSlice; ++i) {
      const uint32_t code = i < left ? from[i] : 0;
      (i < 4 ? bytes.x : bytes.y) |= code << 8 * (i % 4);
    }
  }

  __device__ __forceinline__ void store(uint8_t* to, uint64_t left, bool wide) const {
    if (wide && left >= kSlice) {
      *reinterpret_cast<uint2*>(to) = bytes;
      return;
    }
#pragma unroll
    for (uint32_t i = 0; i < kSlice; ++i) {
      if (i < left) to[i] = static_cast<uint8_t>((i < 4 ? bytes.x : bytes.y) >> 8 * (i % 4));
    }
  }
};

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
#define FARSPAN_HARDWARE_FP8 1
#endif

// Two codes at once by the hardware's conversions where there are some: the same rounding rule.
template <typename Code>
__device__ __forceinline__ uint32_t NearestPair(float low, float high) {
#ifdef FARSPAN_HARDWARE_FP8
  if constexpr (Code::kTop == Fp8E4m3::kTop) {
    uint16_t pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
    return pair;
  }
#endif
  return (Code::template nearest<uint32_t>(low) & 0xff) |
         (Code::template nearest<uint32_t>(high) & 0xff) << 8;
}

template <typename Code>
__device__ __forceinline__ float2 DecodePair(uint32_t pair) {
#ifdef FARSPAN_HARDWARE_FP8
  if constexpr (Code::kTop == Fp8E4m3::kTop) {
    uint32_t halves;
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(static_cast<uint16_t>(pair)));
    float2 values;
    asm("{\n .reg .f16 low, high;\n mov.b32 {low, high}, %2;\n cvt.f32.f16 %0, low;\n"
        " cvt.f32.f16 %1, high;\n}"
        : "=f"(values.x), "=f"(values.y)
        : "r"(halves));
    return values;
  }
#endif
  return make_float2(Code::template decode<uint32_t>(pair & 0xff),
                     Code::template decode<uint32_t>(pair >> 8 & 0xff));
}

// x = or += codes × scale
template <typename Code, bool kAdd>
__device__ __forceinline__ void Decode(const CodeSlice& codes, float scale, float (&x)[kSlice]) {
#pragma unroll
  for (uint32_t i = 0; i < kSlice; i += 2) {
    const float2 pair = DecodePair<Code>((i < 4 ? codes.bytes.x : codes.bytes.y) >> 8 * (i % 4));
    x[i] = kAdd ? x[i] + pair.x * scale : pair.x * scale;
    x[i + 1] = kAdd ? x[i + 1] + pair.y * scale : pair.y * scale;
  }
}

// Quantises a group that 16 neighbouring threads hold, a slice each; all lanes of the warp take
// part.
template <typename Code, bool kStochastic>
__device__ __forceinline__ CodeSlice QuantiseSlice(const float (&x)[kSlice], uint64_t element,
                                                   uint64_t seed, float& scale_out) {
  uint32_t largest = 0;
#pragma unroll
  for (uint32_t i = 0; i < kSlice; ++i) largest = max(largest, Magnitude(BitsOf(x[i])));
#pragma unroll
  for (uint32_t distance = kGroup / kSlice / 2; distance > 0; distance /= 2) {
    largest = max(largest, __shfl_xor_sync(0xffffffff, largest, distance));
  }
  const GroupScale scale = ScaleOfGroup(largest, Code::kTop);
  scale_out = scale.scale;
  CodeSlice codes{make_uint2(0, 0)};
  if (scale.poisoned) return codes;
  uint64_t random = 0;
  if constexpr (kStochastic) random = RandomOfEight(element, seed);
#pragma unroll
  for (uint32_t i = 0; i < kSlice; i += 2) {
    const float low = x[i] * scale.inverse;
    const float high = x[i + 1] * scale.inverse;
    uint32_t pair;
    if constexpr (kStochastic) {
      const auto bytes = static_cast<uint32_t>(random >> 8 * i);
      pair = (Code::template stochastic<uint32_t>(low, bytes & 0xff) & 0xff) |
             (Code::template stochastic<uint32_t>(high, bytes >> 8 & 0xff) & 0xff) << 8;
    } else {
      pair = NearestPair<Code>(low, high);
    }
    (i < 4 ? codes.bytes.x : codes.bytes.y) |= pair << 8 * (i % 4);
  }
  return codes;
}

}  // namespace farspan::kernels
