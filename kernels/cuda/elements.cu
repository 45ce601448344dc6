// Quantise, dequantise, accumulate, reduce: memory-bound, so each thread has several loads in
// flight before it uses the first.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/operations.h"
#include "kernels/cuda/slice.cuh"

namespace farspan::kernels {
namespace {

// A tile is kUnroll slices of each thread of a block.
template <uint32_t kUnroll>
__host__ __device__ uint64_t TilesOf(uint64_t elements) {
  constexpr uint64_t kTile = uint64_t{kUnroll} * kThreads * kSlice;
  return (elements + kTile - 1) / kTile;
}

template <uint32_t kUnroll>
__device__ __forceinline__ uint64_t ElementOf(uint64_t tile, uint32_t u) {
  return ((tile * kUnroll + u) * kThreads + threadIdx.x) * kSlice;
}

__device__ __forceinline__ uint64_t LeftOf(uint64_t elements, uint64_t element) {
  return element < elements ? elements - element : 0;
}

bool IsWide(std::initializer_list<const void*> values, std::initializer_list<const void*> codes) {
  uintptr_t bits = 0;
  for (const void* p : values) bits |= reinterpret_cast<uintptr_t>(p);
  for (const void* p : codes) bits |= reinterpret_cast<uintptr_t>(p) * 2;
  return bits % 16 == 0;  // 16 bytes of values, 8 of codes
}

template <typename Item>
struct Wide {
  Item item;
  bool wide;
};

struct SeedCall {
  uint64_t seed;
};
struct NoCall {};

using QuantiseBatch = Batch<Wide<fsk_quantise_item>, SeedCall>;
using DequantiseBatch = Batch<Wide<fsk_dequantise_item>, NoCall>;
using AccumulateBatch = Batch<Wide<fsk_accumulate_item>, SeedCall>;
using ReduceBatch = Batch<Wide<fsk_reduce_item>, NoCall>;

constexpr uint32_t kQuantiseUnroll = 2;
constexpr uint32_t kDequantiseUnroll = 4;
constexpr uint32_t kAccumulateUnroll = 2;
constexpr uint32_t kReduceUnroll = 2;

template <typename Type, typename Code, bool kStochastic>
__global__ void __launch_bounds__(kThreads, 1)
    QuantiseKernel(const __grid_constant__ QuantiseBatch batch) {
  for (uint64_t next = blockIdx.x; next < batch.tiles(); next += gridDim.x) {
    uint64_t tile = next;
    const auto& [item, wide] = batch.item[batch.find(tile)];
    const auto* values = static_cast<const typename Type::Raw*>(item.values);
    RawSlice<Type> raw[kQuantiseUnroll];
#pragma unroll
    for (uint32_t u = 0; u < kQuantiseUnroll; ++u) {
      const uint64_t element = ElementOf<kQuantiseUnroll>(tile, u);
      raw[u].load(values + element, LeftOf(item.elements, element), wide);
    }
#pragma unroll
    for (uint32_t u = 0; u < kQuantiseUnroll; ++u) {
      const uint64_t element = ElementOf<kQuantiseUnroll>(tile, u);
      float x[kSlice];
#pragma unroll
      for (uint32_t i = 0; i < kSlice; ++i) x[i] = raw[u].value(i);
      float scale;
      const CodeSlice codes =
          QuantiseSlice<Code, kStochastic>(x, item.first_element + element, batch.call.seed, scale);
      const uint64_t left = LeftOf(item.elements, element);
      codes.store(item.codes + element, left, wide);
      if (left > 0 && element % kGroup == 0) item.scales[element / kGroup] = scale;
    }
  }
}

template <typename Type, typename Code>
__global__ void __launch_bounds__(kThreads, 1)
    DequantiseKernel(const __grid_constant__ DequantiseBatch batch) {
  for (uint64_t next = blockIdx.x; next < batch.tiles(); next += gridDim.x) {
    uint64_t tile = next;
    const auto& [item, wide] = batch.item[batch.find(tile)];
    auto* values = static_cast<typename Type::Raw*>(item.values);
    CodeSlice codes[kDequantiseUnroll];
    float scale[kDequantiseUnroll];
#pragma unroll
    for (uint32_t u = 0; u < kDequantiseUnroll; ++u) {
      const uint64_t element = ElementOf<kDequantiseUnroll>(tile, u);
      const uint64_t left = LeftOf(item.elements, element);
      codes[u].load(item.codes + element, left, wide);
      scale[u] = left > 0 ? item.scales[element / kGroup] : 0.0f;
    }
#pragma unroll
    for (uint32_t u = 0; u < kDequantiseUnroll; ++u) {
      const uint64_t element = ElementOf<kDequantiseUnroll>(tile, u);
      float x[kSlice];
      Decode<Code, false>(codes[u], scale[u], x);
      RawSlice<Type> raw;
      raw.set(x);
      raw.store(values + element, LeftOf(item.elements, element), wide);
    }
  }
}

// The sum of a slice over base and sources.
template <typename Type, typename Code>
__device__ __forceinline__ void SumSlice(const fsk_accumulate_item& item, bool wide,
                                         uint64_t element, float (&x)[kSlice]) {
  const uint64_t left = LeftOf(item.elements, element);
  const auto scale_of = [&](uint32_t s) {
    return left > 0 ? item.scales[s][element / kGroup] : 0.0f;
  };
  CodeSlice codes;
  codes.load(item.codes[0] + element, left, wide);
  if (item.base) {
    RawSlice<Type> raw;
    raw.load(static_cast<const typename Type::Raw*>(item.base) + element, left, wide);
#pragma unroll
    for (uint32_t i = 0; i < kSlice; ++i) x[i] = raw.value(i);
    Decode<Code, true>(codes, scale_of(0), x);
  } else {
    Decode<Code, false>(codes, scale_of(0), x);
  }
#pragma unroll 4
  for (uint32_t s = 1; s < item.sources; ++s) {
    codes.load(item.codes[s] + element, left, wide);
    Decode<Code, true>(codes, scale_of(s), x);
  }
}

template <typename Type, typename Code, bool kStochastic>
__global__ void __launch_bounds__(kThreads, 1)
    AccumulateKernel(const __grid_constant__ AccumulateBatch batch) {
  for (uint64_t next = blockIdx.x; next < batch.tiles(); next += gridDim.x) {
    uint64_t tile = next;
    const auto& [item, wide] = batch.item[batch.find(tile)];
    float x[kAccumulateUnroll][kSlice];
#pragma unroll
    for (uint32_t u = 0; u < kAccumulateUnroll; ++u) {
      SumSlice<Type, Code>(item, wide, ElementOf<kAccumulateUnroll>(tile, u), x[u]);
    }
#pragma unroll
    for (uint32_t u = 0; u < kAccumulateUnroll; ++u) {
      const uint64_t element = ElementOf<kAccumulateUnroll>(tile, u);
      const uint64_t left = LeftOf(item.elements, element);
      if (item.out_codes) {
        float scale;
        const CodeSlice codes = QuantiseSlice<Code, kStochastic>(x[u], item.first_element + element,
                                                                 batch.call.seed, scale);
        codes.store(item.out_codes + element, left, wide);
        if (left > 0 && element % kGroup == 0) item.out_scales[element / kGroup] = scale;
      }
      if (item.values) {
        RawSlice<Type> raw;
        raw.set(x[u]);
        raw.store(static_cast<typename Type::Raw*>(item.values) + element, left, wide);
      }
    }
  }
}

template <typename Type, bool kMaximum>
__global__ void __launch_bounds__(kThreads, 1)
    ReduceKernel(const __grid_constant__ ReduceBatch batch) {
  using Raw = typename Type::Raw;
  for (uint64_t next = blockIdx.x; next < batch.tiles(); next += gridDim.x) {
    uint64_t tile = next;
    const auto& [item, wide] = batch.item[batch.find(tile)];
    float x[kReduceUnroll][kSlice];
    for (uint32_t s = 0; s < item.sources; ++s) {
      RawSlice<Type> raw[kReduceUnroll];
#pragma unroll
      for (uint32_t u = 0; u < kReduceUnroll; ++u) {
        const uint64_t element = ElementOf<kReduceUnroll>(tile, u);
        raw[u].load(static_cast<const Raw*>(item.in[s]) + element, LeftOf(item.elements, element),
                    wide);
      }
#pragma unroll
      for (uint32_t u = 0; u < kReduceUnroll; ++u) {
#pragma unroll
        for (uint32_t i = 0; i < kSlice; ++i) {
          const float y = raw[u].value(i);
          x[u][i] = s == 0 ? y : kMaximum ? Maximum<uint32_t>(x[u][i], y) : x[u][i] + y;
        }
      }
    }
#pragma unroll
    for (uint32_t u = 0; u < kReduceUnroll; ++u) {
      const uint64_t element = ElementOf<kReduceUnroll>(tile, u);
      RawSlice<Type> raw;
      raw.set(x[u]);
      raw.store(static_cast<Raw*>(item.out) + element, LeftOf(item.elements, element), wide);
    }
  }
}

template <typename Kernel, typename BatchType>
void Start(Kernel kernel, const fsk_exec& exec, const BatchType& batch) {
  kernel<<<BlocksFor(batch.tiles(), exec), kThreads, 0, StreamOf(exec)>>>(batch);
}

template <typename Type, typename Code>
auto QuantiseKernelFor(fsk_rounding rounding) {
  return rounding == FSK_STOCHASTIC ? QuantiseKernel<Type, Code, true>
                                    : QuantiseKernel<Type, Code, false>;
}

template <typename Type, typename Code>
auto AccumulateKernelFor(fsk_rounding rounding) {
  return rounding == FSK_STOCHASTIC ? AccumulateKernel<Type, Code, true>
                                    : AccumulateKernel<Type, Code, false>;
}

template <bool kMaximum>
auto ReduceKernelFor(fsk_type type) {
  return type == FSK_FP32   ? ReduceKernel<Fp32, kMaximum>
         : type == FSK_BF16 ? ReduceKernel<Bf16, kMaximum>
                            : ReduceKernel<Fp16, kMaximum>;
}

}  // namespace

fsk_status CudaQuantise(const fsk_exec& exec, fsk_type type, const fsk_quantiser& quantiser,
                        const fsk_quantise_item* items, size_t count) {
  const bool int8 = quantiser.code == FSK_INT8;
  const fsk_rounding rounding = quantiser.rounding;
  const auto kernel = type == FSK_FP32 ? (int8 ? QuantiseKernelFor<Fp32, Int8>(rounding)
                                               : QuantiseKernelFor<Fp32, Fp8E4m3>(rounding))
                                       : (int8 ? QuantiseKernelFor<Bf16, Int8>(rounding)
                                               : QuantiseKernelFor<Bf16, Fp8E4m3>(rounding));
  return InBatches<Wide<fsk_quantise_item>>(
      SeedCall{quantiser.seed}, count, count,
      [&](size_t& next) {
        const fsk_quantise_item& item = items[next++];
        return Wide<fsk_quantise_item>{item, IsWide({item.values}, {item.codes})};
      },
      [](const auto& i) { return TilesOf<kQuantiseUnroll>(i.item.elements); },
      [&](const auto& batch) { Start(kernel, exec, batch); });
}

fsk_status CudaDequantise(const fsk_exec& exec, fsk_type type, fsk_code code,
                          const fsk_dequantise_item* items, size_t count) {
  const bool int8 = code == FSK_INT8;
  const auto kernel = type == FSK_FP32
                          ? (int8 ? DequantiseKernel<Fp32, Int8> : DequantiseKernel<Fp32, Fp8E4m3>)
                          : (int8 ? DequantiseKernel<Bf16, Int8> : DequantiseKernel<Bf16, Fp8E4m3>);
  return InBatches<Wide<fsk_dequantise_item>>(
      NoCall{}, count, count,
      [&](size_t& next) {
        const fsk_dequantise_item& item = items[next++];
        return Wide<fsk_dequantise_item>{item, IsWide({item.values}, {item.codes})};
      },
      [](const auto& i) { return TilesOf<kDequantiseUnroll>(i.item.elements); },
      [&](const auto& batch) { Start(kernel, exec, batch); });
}

fsk_status CudaAccumulate(const fsk_exec& exec, fsk_type type, const fsk_quantiser& quantiser,
                          const fsk_accumulate_item* items, size_t count) {
  const bool int8 = quantiser.code == FSK_INT8;
  const fsk_rounding rounding = quantiser.rounding;
  const auto kernel = type == FSK_FP32 ? (int8 ? AccumulateKernelFor<Fp32, Int8>(rounding)
                                               : AccumulateKernelFor<Fp32, Fp8E4m3>(rounding))
                                       : (int8 ? AccumulateKernelFor<Bf16, Int8>(rounding)
                                               : AccumulateKernelFor<Bf16, Fp8E4m3>(rounding));
  return InBatches<Wide<fsk_accumulate_item>>(
      SeedCall{quantiser.seed}, count, count,
      [&](size_t& next) {
        const fsk_accumulate_item& item = items[next++];
        bool wide = IsWide({item.base, item.values}, {item.out_codes});
        for (uint32_t s = 0; s < item.sources; ++s) wide &= IsWide({}, {item.codes[s]});
        return Wide<fsk_accumulate_item>{item, wide};
      },
      [](const auto& i) { return TilesOf<kAccumulateUnroll>(i.item.elements); },
      [&](const auto& batch) { Start(kernel, exec, batch); });
}

fsk_status CudaReduce(const fsk_exec& exec, fsk_type type, fsk_reduction reduction,
                      const fsk_reduce_item* items, size_t count) {
  const auto kernel =
      reduction == FSK_MAX ? ReduceKernelFor<true>(type) : ReduceKernelFor<false>(type);
  return InBatches<Wide<fsk_reduce_item>>(
      NoCall{}, count, count,
      [&](size_t& next) {
        const fsk_reduce_item& item = items[next++];
        bool wide = IsWide({item.out}, {});
        for (uint32_t s = 0; s < item.sources; ++s) wide &= IsWide({item.in[s]}, {});
        return Wide<fsk_reduce_item>{item, wide};
      },
      [](const auto& i) { return TilesOf<kReduceUnroll>(i.item.elements); },
      [&](const auto& batch) { Start(kernel, exec, batch); });
}

}  // namespace farspan::kernels
