// The C ABI: arguments are checked, then the device's backend does the work.
#include "kernels/kernels.h"

#include <cstdarg>
#include <cstdio>

#include "kernels/backend.h"
#include "kernels/math/galois.h"
#include "kernels/validate.h"

namespace farspan::kernels {
namespace {

thread_local char last_error[192];

const Backend* BackendOf(fsk_device device) {
  if (device == FSK_CPU) return &kCpuBackend;
#ifdef FARSPAN_HAS_CUDA
  if (device == FSK_CUDA) return &kCudaBackend;
#endif
  return nullptr;
}

// Checks what all operations share, then every item, then runs.
template <typename Item, typename CheckItem, typename Run>
fsk_status Call(const fsk_exec* exec, const Item* items, size_t count, const CheckItem& check,
                const Run& run) {
  if (const fsk_status status = CheckExec(exec)) return status;
  if (const fsk_status status = CheckItems(items, count)) return status;
  for (size_t i = 0; i < count; ++i) {
    if (const fsk_status status = check(items[i], i)) return status;
  }
  if (!fsk_has_device(exec->device)) {
    return Fail(FSK_NO_DEVICE, BackendOf(exec->device) ? "no usable GPU" : "built without CUDA");
  }
  return count == 0 ? FSK_OK : run(*BackendOf(exec->device));
}

fsk_status CheckWorkspace(const fsk_exec& exec, size_t needed) {
  if (exec.workspace && exec.workspace_bytes >= needed &&
      reinterpret_cast<uintptr_t>(exec.workspace) % FSK_WORKSPACE_ALIGNMENT == 0) {
    return FSK_OK;
  }
  return Fail(FSK_BAD_WORKSPACE, "workspace: %zu bytes at %p, expected at least %zu aligned to %u",
              exec.workspace_bytes, exec.workspace, needed, FSK_WORKSPACE_ALIGNMENT);
}

fsk_status Parity(const fsk_exec* exec, const fsk_parity_code* code, bool decode,
                  const fsk_stripe* stripes, size_t count) {
  if (const fsk_status status = CheckParityCode(code)) return status;
  return Call(
      exec, stripes, count,
      [&](const fsk_stripe& stripe, size_t i) { return Check(*code, decode, stripe, i); },
      [&](const Backend& backend) {
        const fsk_status status = CheckWorkspace(*exec, backend.parity_workspace(*code, 1));
        return status ? status : backend.parity(*exec, *code, decode, stripes, count);
      });
}

}  // namespace

fsk_status Fail(fsk_status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace farspan::kernels

using namespace farspan::kernels;  // NOLINT(google-build-using-namespace)

uint32_t fsk_abi_version() { return FSK_ABI_VERSION; }

const char* fsk_last_error() { return last_error; }

const char* fsk_strerror(fsk_status status) {
  switch (status) {
    case FSK_OK:
      return "success";
    case FSK_BAD_ARGUMENT:
      return "an argument is out of range";
    case FSK_BAD_ALIGNMENT:
      return "a buffer is not aligned to its element";
    case FSK_ALIASING:
      return "an output overlaps another buffer of its item";
    case FSK_BAD_WORKSPACE:
      return "the workspace is missing, too small or misaligned";
    case FSK_UNRECOVERABLE:
      return "more symbols are lost than parity can give back";
    case FSK_NO_DEVICE:
      return "the device is not there, or the library was built without it";
    case FSK_DEVICE_ERROR:
      return "CUDA refused the launch";
    case FSK_BAD_VERSION:
      return "the caller was built for another version of the ABI";
  }
  return "unknown status";
}

const char* fsk_device_name(fsk_device device) {
  const Backend* backend = BackendOf(device);
  return backend ? backend->name() : "none";
}

int fsk_has_device(fsk_device device) {
  return __builtin_strcmp(fsk_device_name(device), "none") != 0;
}

fsk_status fsk_quantise(const fsk_exec* exec, fsk_type type, const fsk_quantiser* quantiser,
                        const fsk_quantise_item* items, size_t count) {
  if (const fsk_status status = CheckType(type, false)) return status;
  if (const fsk_status status = CheckQuantiser(quantiser)) return status;
  return Call(
      exec, items, count,
      [&](const fsk_quantise_item& item, size_t i) { return Check(type, item, i); },
      [&](const Backend& b) { return b.quantise(*exec, type, *quantiser, items, count); });
}

fsk_status fsk_dequantise(const fsk_exec* exec, fsk_type type, fsk_code code,
                          const fsk_dequantise_item* items, size_t count) {
  if (const fsk_status status = CheckType(type, false)) return status;
  if (const fsk_status status = CheckCode(code)) return status;
  return Call(
      exec, items, count,
      [&](const fsk_dequantise_item& item, size_t i) { return Check(type, item, i); },
      [&](const Backend& b) { return b.dequantise(*exec, type, code, items, count); });
}

fsk_status fsk_accumulate(const fsk_exec* exec, fsk_type type, const fsk_quantiser* quantiser,
                          const fsk_accumulate_item* items, size_t count) {
  if (const fsk_status status = CheckType(type, false)) return status;
  if (const fsk_status status = CheckQuantiser(quantiser)) return status;
  return Call(
      exec, items, count,
      [&](const fsk_accumulate_item& item, size_t i) { return Check(type, item, i); },
      [&](const Backend& b) { return b.accumulate(*exec, type, *quantiser, items, count); });
}

fsk_status fsk_reduce(const fsk_exec* exec, fsk_type type, fsk_reduction reduction,
                      const fsk_reduce_item* items, size_t count) {
  if (const fsk_status status = CheckType(type, true)) return status;
  if (reduction != FSK_SUM && reduction != FSK_MAX) {
    return Fail(FSK_BAD_ARGUMENT, "reduction is %d, expected FSK_SUM or FSK_MAX", reduction);
  }
  return Call(
      exec, items, count,
      [&](const fsk_reduce_item& item, size_t i) { return Check(type, item, i); },
      [&](const Backend& b) { return b.reduce(*exec, type, reduction, items, count); });
}

fsk_status fsk_parity_matrix(const fsk_parity_code* code, uint8_t* matrix) {
  if (const fsk_status status = CheckParityCode(code)) return status;
  if (!matrix) return Fail(FSK_BAD_ARGUMENT, "matrix is null");
  constexpr Galois kField;
  for (uint32_t r = 0; r < code->m; ++r) {
    for (uint32_t i = 0; i < code->k; ++i) {
      const uint32_t difference = (code->k + code->first + r) ^ i;
      matrix[r * code->k + i] = code->kind == FSK_XOR
                                    ? uint8_t{i % code->m == r}
                                    : kField.exp[(255 - kField.log[difference]) % 255];
    }
  }
  return FSK_OK;
}

size_t fsk_parity_workspace(fsk_device device, const fsk_parity_code* code, size_t count) {
  const Backend* backend = BackendOf(device);
  if (!backend || CheckParityCode(code) != FSK_OK) return 0;
  return backend->parity_workspace(*code, count);
}

fsk_status fsk_parity_encode(const fsk_exec* exec, const fsk_parity_code* code,
                             const fsk_stripe* stripes, size_t count) {
  return Parity(exec, code, false, stripes, count);
}

fsk_status fsk_parity_decode(const fsk_exec* exec, const fsk_parity_code* code,
                             const fsk_stripe* stripes, size_t count) {
  return Parity(exec, code, true, stripes, count);
}

fsk_status fsk_crc32c(const fsk_exec* exec, const fsk_packets* items, size_t count) {
  return Call(
      exec, items, count, [&](const fsk_packets& item, size_t i) { return Check(item, i); },
      [&](const Backend& b) { return b.crc32c(*exec, items, count); });
}
