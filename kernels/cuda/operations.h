// The CUDA backend's operations; see Backend.
#pragma once

#include "kernels/kernels.h"

namespace farspan::kernels {

fsk_status CudaQuantise(const fsk_exec&, fsk_type, const fsk_quantiser&, const fsk_quantise_item*,
                        size_t count);
fsk_status CudaDequantise(const fsk_exec&, fsk_type, fsk_code, const fsk_dequantise_item*,
                          size_t count);
fsk_status CudaAccumulate(const fsk_exec&, fsk_type, const fsk_quantiser&,
                          const fsk_accumulate_item*, size_t count);
fsk_status CudaReduce(const fsk_exec&, fsk_type, fsk_reduction, const fsk_reduce_item*,
                      size_t count);
fsk_status CudaParity(const fsk_exec&, const fsk_parity_code&, bool decode, const fsk_stripe*,
                      size_t count);
fsk_status CudaCrc32c(const fsk_exec&, const fsk_packets*, size_t count);
size_t CudaParityWorkspace(const fsk_parity_code&, size_t count);

}  // namespace farspan::kernels
