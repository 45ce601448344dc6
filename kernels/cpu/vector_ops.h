// The element-wise operations on the CPU: one source (vector_ops.cc), compiled for the baseline
// and, on x86-64, for AVX2 and AVX-512, with the same results bit for bit.
#pragma once

#include "kernels/kernels.h"

namespace farspan::kernels {

struct VectorOps {
  const char* name;
  void (*quantise)(fsk_type, const fsk_quantiser&, const fsk_quantise_item&);
  void (*dequantise)(fsk_type, fsk_code, const fsk_dequantise_item&);
  void (*accumulate)(fsk_type, const fsk_quantiser&, const fsk_accumulate_item&);
  void (*reduce)(fsk_type, fsk_reduction, const fsk_reduce_item&);
  // out = in[0] ^ in[1] ^ …, 1 … 128 sources
  void (*xor_all)(const uint8_t* const* in, uint32_t sources, uint8_t* out, uint64_t bytes);
};

extern const VectorOps kBaselineOps;
extern const VectorOps kAvx2Ops;    // x86-64 alone
extern const VectorOps kAvx512Ops;  // x86-64 alone: F, BW, DQ and VL

enum class Isa { kBaseline, kAvx2, kAvx512 };
// Null where this machine cannot run it.
const VectorOps* VectorOpsFor(Isa isa);
const VectorOps& BestVectorOps();

}  // namespace farspan::kernels
