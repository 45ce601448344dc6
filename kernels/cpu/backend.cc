#include "kernels/backend.h"

#include <cstdio>
#include <new>

#include "kernels/cpu/crc32c.h"
#include "kernels/cpu/parity.h"
#include "kernels/cpu/vector_ops.h"

namespace farspan::kernels {
namespace {

const char* Name() {
#ifdef FARSPAN_HAS_ISAL
  constexpr const char* kLibrary = ", isa-l";
#else
  constexpr const char* kLibrary = "";
#endif
  static const struct Text {
    Text() { std::snprintf(text, sizeof text, "%s%s", BestVectorOps().name, kLibrary); }
    char text[32];
  } name;
  return name.text;
}

fsk_status Quantise(const fsk_exec&, fsk_type type, const fsk_quantiser& quantiser,
                    const fsk_quantise_item* items, size_t count) {
  for (size_t i = 0; i < count; ++i) BestVectorOps().quantise(type, quantiser, items[i]);
  return FSK_OK;
}

fsk_status Dequantise(const fsk_exec&, fsk_type type, fsk_code code,
                      const fsk_dequantise_item* items, size_t count) {
  for (size_t i = 0; i < count; ++i) BestVectorOps().dequantise(type, code, items[i]);
  return FSK_OK;
}

fsk_status Accumulate(const fsk_exec&, fsk_type type, const fsk_quantiser& quantiser,
                      const fsk_accumulate_item* items, size_t count) {
  for (size_t i = 0; i < count; ++i) BestVectorOps().accumulate(type, quantiser, items[i]);
  return FSK_OK;
}

fsk_status Reduce(const fsk_exec&, fsk_type type, fsk_reduction reduction,
                  const fsk_reduce_item* items, size_t count) {
  for (size_t i = 0; i < count; ++i) BestVectorOps().reduce(type, reduction, items[i]);
  return FSK_OK;
}

fsk_status Parity(const fsk_exec& exec, const fsk_parity_code& code, bool decode,
                  const fsk_stripe* stripes, size_t count) {
  RunParity(code, decode, stripes, count, *new (exec.workspace) ParityWorkspace);
  return FSK_OK;
}

fsk_status Checksums(const fsk_exec&, const fsk_packets* items, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const fsk_packets& item = items[i];
    for (uint64_t p = 0; p < item.packets; ++p) {
      const uint32_t bytes = p + 1 == item.packets ? item.last_bytes : item.packet_bytes;
      item.crcs[p] = Crc32c(item.data + p * item.stride, bytes);
    }
  }
  return FSK_OK;
}

size_t ParityWorkspaceBytes(const fsk_parity_code& code, size_t) {
  return ParityWorkspace::bytes(code);
}

}  // namespace

extern const Backend kCpuBackend = {Name,   Quantise, Dequantise, Accumulate,
                                    Reduce, Parity,   Checksums,  ParityWorkspaceBytes};

}  // namespace farspan::kernels
