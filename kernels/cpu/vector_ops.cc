// Compiled once per instruction set (FARSPAN_ISA_OPS, FARSPAN_ISA_NAME): the compiler vectorises
// the arithmetic of kernels/math. Work goes group by group through buffers that stay in the first
// cache.
//
// No function of the standard library's headers is used, here or in the headers that are parts of
// this file: an inline function that the linker merges between instruction sets could be one that
// this machine cannot run.
#include "kernels/cpu/vector_ops.h"

#include <string.h>

#include "kernels/cpu/decode_group.h"
#include "kernels/cpu/group.h"
#include "kernels/cpu/output.h"
#include "kernels/cpu/quantise_group.h"
#include "kernels/cpu/quantise_packed.h"
#include "kernels/math/element.h"

namespace farspan::kernels {
namespace {

constexpr uint64_t kPrefetchedGroups = 8;  // the processor's own prefetching comes too late

template <typename Type, typename Code, bool kStochastic>
void Quantise(uint64_t seed, const fsk_quantise_item& item) {
  const auto* values = static_cast<const typename Type::Raw*>(item.values);
  Output codes_out(item.codes, item.elements);
  Group group;
  alignas(64) uint8_t codes[kGroup];
  for (uint64_t i = 0; i < item.elements;) {
    const uint64_t end = Least(item.elements, i + kTileGroups * kGroup);
    const uint64_t whole = (end - i) / kGroup;
    if (QuantisePacked<Type, Code, kStochastic>(values + i, whole, item.first_element + i, seed,
                                                item.scales + i / kGroup, codes_out)) {
      i += whole * kGroup;
    }
    for (; i < end; i += kGroup) {
      const uint64_t count = Least(kGroup, item.elements - i);
      Prefetch<kGroup * sizeof(values[0])>(values + i + kPrefetchedGroups * kGroup);
      Load<Type>(values + i, count, group);
      item.scales[i / kGroup] =
          QuantiseGroup<Code, kStochastic>(group, item.first_element + i, seed, codes);
      codes_out.put<kGroup>(codes, count);
    }
  }
}

template <typename Type, typename Code>
void Dequantise(const fsk_dequantise_item& item) {
  Output values(item.values, item.elements * sizeof(typename Type::Raw));
  Group group;
  for (uint64_t i = 0; i < item.elements; i += kGroup) {
    const uint64_t count = Least(kGroup, item.elements - i);
    Decode<Code, false>(item.codes + i, item.scales[i / kGroup], count, group);
    Store<Type>(group, count, values);
  }
}

template <typename Type, typename Code, bool kStochastic>
void Accumulate(uint64_t seed, const fsk_accumulate_item& item) {
  using Raw = typename Type::Raw;
  Output values(item.values, item.elements * sizeof(Raw));
  Output codes_out(item.out_codes, item.elements);
  Group sum;
  alignas(64) uint8_t codes[kGroup];
  for (uint64_t i = 0; i < item.elements; i += kGroup) {
    const uint64_t count = Least(kGroup, item.elements - i);
    const uint64_t g = i / kGroup;
    if (item.base) {
      Load<Type>(static_cast<const Raw*>(item.base) + i, count, sum);
      Decode<Code, true>(item.codes[0] + i, item.scales[0][g], count, sum);
    } else {
      Decode<Code, false>(item.codes[0] + i, item.scales[0][g], count, sum);
    }
    for (uint32_t s = 1; s < item.sources; ++s) {
      Decode<Code, true>(item.codes[s] + i, item.scales[s][g], count, sum);
    }
    const auto* raw = reinterpret_cast<const uint32_t*>(sum.x);
    if (item.out_codes && !(count == kGroup && QuantisePacked<Fp32, Code, kStochastic>(
                                                   raw, 1, item.first_element + i, seed,
                                                   item.out_scales + g, codes_out))) {
      item.out_scales[g] =
          QuantiseGroup<Code, kStochastic>(sum, item.first_element + i, seed, codes);
      codes_out.put<kGroup>(codes, count);
    }
    if (item.values) Store<Type>(sum, count, values);
  }
}

template <typename Type, bool kMaximum>
void Reduce(const fsk_reduce_item& item) {
  using Raw = typename Type::Raw;
  Output out(item.out, item.elements * sizeof(Raw));
  Group total;
  Group next;
  for (uint64_t i = 0; i < item.elements; i += kGroup) {
    const uint64_t count = Least(kGroup, item.elements - i);
    Load<Type>(static_cast<const Raw*>(item.in[0]) + i, count, total);
    for (uint32_t s = 1; s < item.sources; ++s) {
      Load<Type>(static_cast<const Raw*>(item.in[s]) + i, count, next);
      for (uint32_t v = 0; v < kVectors; ++v) {
        total.x[v] = kMaximum ? Maximum<U>(total.x[v], next.x[v]) : total.x[v] + next.x[v];
      }
    }
    Store<Type>(total, count, out);
  }
}

void XorAll(const uint8_t* const* in, uint32_t sources, uint8_t* to, uint64_t bytes) {
  constexpr uint64_t kTile = 512;
  Output out(to, bytes);
  alignas(64) uint8_t sum[kTile];
  for (uint64_t i = 0; i < bytes; i += kTile) {
    const uint64_t count = Least(kTile, bytes - i);
    memcpy(sum, in[0] + i, count);
    for (uint32_t s = 1; s < sources; ++s) {
      const uint8_t* source = in[s] + i;
      for (uint64_t b = 0; b < count; ++b) sum[b] ^= source[b];
    }
    out.put<kTile>(sum, count);
  }
}

// The templates' arguments from the call's.
template <typename Type, typename Code>
void QuantiseAs(const fsk_quantiser& how, const fsk_quantise_item& item) {
  how.rounding == FSK_STOCHASTIC ? Quantise<Type, Code, true>(how.seed, item)
                                 : Quantise<Type, Code, false>(how.seed, item);
}

void QuantiseAny(fsk_type type, const fsk_quantiser& how, const fsk_quantise_item& item) {
  if (type == FSK_FP32) {
    how.code == FSK_INT8 ? QuantiseAs<Fp32, Int8>(how, item) : QuantiseAs<Fp32, Fp8E4m3>(how, item);
  } else {
    how.code == FSK_INT8 ? QuantiseAs<Bf16, Int8>(how, item) : QuantiseAs<Bf16, Fp8E4m3>(how, item);
  }
}

void DequantiseAny(fsk_type type, fsk_code code, const fsk_dequantise_item& item) {
  if (type == FSK_FP32) {
    code == FSK_INT8 ? Dequantise<Fp32, Int8>(item) : Dequantise<Fp32, Fp8E4m3>(item);
  } else {
    code == FSK_INT8 ? Dequantise<Bf16, Int8>(item) : Dequantise<Bf16, Fp8E4m3>(item);
  }
}

template <typename Type, typename Code>
void AccumulateAs(const fsk_quantiser& how, const fsk_accumulate_item& item) {
  how.rounding == FSK_STOCHASTIC ? Accumulate<Type, Code, true>(how.seed, item)
                                 : Accumulate<Type, Code, false>(how.seed, item);
}

void AccumulateAny(fsk_type type, const fsk_quantiser& how, const fsk_accumulate_item& item) {
  if (type == FSK_FP32) {
    how.code == FSK_INT8 ? AccumulateAs<Fp32, Int8>(how, item)
                         : AccumulateAs<Fp32, Fp8E4m3>(how, item);
  } else {
    how.code == FSK_INT8 ? AccumulateAs<Bf16, Int8>(how, item)
                         : AccumulateAs<Bf16, Fp8E4m3>(how, item);
  }
}

template <bool kMaximum>
void ReduceAs(fsk_type type, const fsk_reduce_item& item) {
  if (type == FSK_FP32) return Reduce<Fp32, kMaximum>(item);
  type == FSK_BF16 ? Reduce<Bf16, kMaximum>(item) : Reduce<Fp16, kMaximum>(item);
}

void ReduceAny(fsk_type type, fsk_reduction reduction, const fsk_reduce_item& item) {
  reduction == FSK_MAX ? ReduceAs<true>(type, item) : ReduceAs<false>(type, item);
}

}  // namespace

extern const VectorOps FARSPAN_ISA_OPS = {FARSPAN_ISA_NAME, QuantiseAny, DequantiseAny,
                                          AccumulateAny,    ReduceAny,   XorAll};

}  // namespace farspan::kernels
