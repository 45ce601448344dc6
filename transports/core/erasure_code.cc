#include "transports/core/erasure_code.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "emulator/base/check.h"

namespace farspan::transport {
namespace {

fsk_parity_code CodeOf(uint32_t rows) { return {FSK_RS, ErasureCode::kColumns, 0, rows}; }

size_t WorkspaceBytes() {
  const fsk_parity_code largest = CodeOf(ErasureCode::kMaxParity);
  return fsk_parity_workspace(FSK_CPU, &largest, 1) + FSK_WORKSPACE_ALIGNMENT;
}

fsk_stripe StripeOf(const ErasureCode::Layout& layout, uint8_t* data, uint8_t* parity,
                    uint64_t parity_stride) {
  fsk_stripe stripe{};
  stripe.data = data;
  stripe.parity = parity;
  stripe.data_stride = layout.stride;
  stripe.parity_stride = parity_stride;
  stripe.symbol_bytes = layout.bytes;
  stripe.last_bytes = layout.last_bytes;
  stripe.data_symbols = layout.count;
  return stripe;
}

}  // namespace

ErasureCode::ErasureCode(uint32_t most_bytes)
    : workspace_(WorkspaceBytes()), parity_(size_t{kMaxParity} * most_bytes) {}

fsk_exec ErasureCode::exec() {
  void* aligned = &workspace_[0];
  size_t room = workspace_.size();
  std::align(FSK_WORKSPACE_ALIGNMENT, 1, aligned, room);
  return {FSK_ABI_VERSION, FSK_CPU, nullptr, 0, aligned, room};
}

void ErasureCode::encode(const Layout& layout, const uint8_t* data, uint32_t rows, uint8_t* parity,
                         uint64_t parity_stride) {
  const fsk_parity_code code = CodeOf(rows);
  const fsk_exec where = exec();
  // Encoding only reads the data.
  const fsk_stripe stripe = StripeOf(layout, const_cast<uint8_t*>(data), parity, parity_stride);
  FARSPAN_CHECK(fsk_parity_encode(&where, &code, &stripe, 1) == FSK_OK);
}

void ErasureCode::decode(const Layout& layout, uint8_t* data, std::span<const uint8_t> missing,
                         std::span<const uint8_t* const> parity, std::span<const uint8_t> rows) {
  FARSPAN_CHECK(!missing.empty() && parity.size() == missing.size() &&
                rows.size() == missing.size() &&
                size_t{kMaxParity} * layout.bytes <= parity_.size());
  const fsk_parity_code code = CodeOf(*std::max_element(rows.begin(), rows.end()) + 1u);
  const fsk_exec where = exec();
  fsk_stripe stripe = StripeOf(layout, data, &parity_[0], layout.bytes);
  const auto flip = [&](uint32_t symbol) { stripe.lost[symbol / 32] ^= 1u << symbol % 32; };
  for (const uint8_t symbol : missing) flip(symbol);
  for (uint32_t row = 0; row < code.m; ++row) flip(kColumns + row);
  for (size_t i = 0; i < rows.size(); ++i) {
    flip(kColumns + rows[i]);
    std::memcpy(&parity_[size_t{rows[i]} * layout.bytes], parity[i], layout.bytes);
  }
  FARSPAN_CHECK(fsk_parity_decode(&where, &code, &stripe, 1) == FSK_OK);
}

}  // namespace farspan::transport
