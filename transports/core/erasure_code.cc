#include "transports/core/erasure_code.h"

#include <isa-l/erasure_code.h>

#include <algorithm>
#include <array>

#include "emulator/base/check.h"

namespace farspan::transport {

ErasureCode::ErasureCode(Matrix matrix)
    : coefficients_(kMaxParity * (kColumns + kMaxParity)),
      tables_(coefficients_.size() * 32),
      sources_(kColumns + kMaxParity),
      targets_(kMaxParity) {
  constexpr int kRows = kColumns + kMaxParity;
  std::vector<uint8_t> whole(size_t{kRows} * kColumns);
  if (matrix == Matrix::kCauchy) {
    gf_gen_cauchy1_matrix(whole.data(), kRows, kColumns);
  } else {
    gf_gen_rs_matrix(whole.data(), kRows, kColumns);
  }
  matrix_.assign(whole.begin() + size_t{kColumns} * kColumns, whole.end());
}

void ErasureCode::multiply(size_t sources, size_t targets, size_t bytes) {
  ec_init_tables(static_cast<int>(sources), static_cast<int>(targets), coefficients_.data(),
                 tables_.data());
  ec_encode_data(static_cast<int>(bytes), static_cast<int>(sources), static_cast<int>(targets),
                 tables_.data(), sources_.data(), targets_.data());
}

void ErasureCode::encode(std::span<const uint8_t* const> data, std::span<uint8_t* const> parity,
                         std::span<const uint8_t> rows, size_t bytes) {
  FARSPAN_CHECK(!data.empty() && data.size() <= kColumns && parity.size() == rows.size());
  if (bytes == 0 || rows.empty()) return;
  const size_t k = data.size();
  for (size_t j = 0; j < k; ++j) sources_[j] = const_cast<uint8_t*>(data[j]);
  for (size_t i = 0; i < rows.size(); ++i) {
    targets_[i] = parity[i];
    for (uint32_t j = 0; j < k; ++j) coefficients_[i * k + j] = coefficient(rows[i], j);
  }
  multiply(k, rows.size(), bytes);
}

// With M the rows at hand over the missing symbols, x = M^-1 (parity + rows * known): one matrix
// over known symbols and parity gives what is missing.
bool ErasureCode::decode(std::span<uint8_t* const> data, std::span<const uint8_t> missing,
                         std::span<const uint8_t* const> parity, std::span<const uint8_t> rows,
                         size_t bytes) {
  const size_t k = data.size();
  const size_t lost = missing.size();
  FARSPAN_CHECK(k <= kColumns && lost <= kMaxParity && parity.size() == lost &&
                rows.size() == lost);
  if (lost == 0) return true;
  std::array<uint8_t, size_t{kMaxParity} * kMaxParity> square;
  std::array<uint8_t, size_t{kMaxParity} * kMaxParity> inverse;
  for (size_t i = 0; i < lost; ++i) {
    for (size_t j = 0; j < lost; ++j) square[i * lost + j] = coefficient(rows[i], missing[j]);
  }
  if (gf_invert_matrix(square.data(), inverse.data(), static_cast<int>(lost)) != 0) return false;
  if (bytes == 0) return true;
  size_t sources = 0;
  const auto add = [&](const uint8_t* symbol, auto&& value_of_row) {
    sources_[sources] = const_cast<uint8_t*>(symbol);
    for (size_t i = 0; i < lost; ++i) coefficients_[i * k + sources] = value_of_row(i);
    ++sources;
  };
  for (uint32_t j = 0, next = 0; j < k; ++j) {
    if (next < lost && missing[next] == j) {
      ++next;
      continue;
    }
    add(data[j], [&](size_t i) {
      uint8_t sum = 0;
      for (size_t r = 0; r < lost; ++r) {
        sum ^= gf_mul(inverse[i * lost + r], coefficient(rows[r], j));
      }
      return sum;
    });
  }
  for (size_t r = 0; r < lost; ++r) {
    add(parity[r], [&](size_t i) { return inverse[i * lost + r]; });
  }
  for (size_t i = 0; i < lost; ++i) targets_[i] = data[missing[i]];
  multiply(k, lost, bytes);
  return true;
}

}  // namespace farspan::transport
