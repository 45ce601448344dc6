// What a device brings: the operations of kernels.h on arguments that were found good.
#pragma once

#include "kernels/kernels.h"

namespace farspan::kernels {

struct Backend {
  const char* (*name)();  // "none" where no device can be used
  fsk_status (*quantise)(const fsk_exec&, fsk_type, const fsk_quantiser&, const fsk_quantise_item*,
                         size_t);
  fsk_status (*dequantise)(const fsk_exec&, fsk_type, fsk_code, const fsk_dequantise_item*, size_t);
  fsk_status (*accumulate)(const fsk_exec&, fsk_type, const fsk_quantiser&,
                           const fsk_accumulate_item*, size_t);
  fsk_status (*reduce)(const fsk_exec&, fsk_type, fsk_reduction, const fsk_reduce_item*, size_t);
  fsk_status (*parity)(const fsk_exec&, const fsk_parity_code&, bool decode, const fsk_stripe*,
                       size_t);
  fsk_status (*crc32c)(const fsk_exec&, const fsk_packets*, size_t);
  size_t (*parity_workspace)(const fsk_parity_code&, size_t count);
};

extern const Backend kCpuBackend;
extern const Backend kCudaBackend;  // where the library is built with CUDA

// Sets fsk_last_error and returns `status`.
[[gnu::format(printf, 2, 3)]] fsk_status Fail(fsk_status status, const char* format, ...);

}  // namespace farspan::kernels
