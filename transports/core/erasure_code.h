// ErasureCode: systematic Reed-Solomon over GF(256), Cauchy matrix, one symbol per datagram.
//
// Row r of the parity has coefficient 1 / ((kColumns + r) ^ j) for the j-th symbol of a block
// (Blömer et al., "An XOR-based erasure-resilient coding scheme", 1995; ISA-L's
// gf_gen_cauchy1_matrix), so that every square submatrix is invertible: any k of a block's symbols
// give all of it. Blocks shorter than kColumns are that code with the missing symbols zero, and
// rows do not depend on how many there are. (ISA-L's gf_gen_rs_matrix, a Vandermonde matrix, is not
// such a code: some erasures cannot be decoded. It is here as the twin that the tests must catch.)
//
// The arithmetic is ISA-L's. Threading: encode and decode share scratch, one thread each object.
// Nothing allocates after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace farspan::transport {

class ErasureCode {
 public:
  static constexpr uint32_t kColumns = 128;
  static constexpr uint32_t kMaxParity = 64;
  enum class Matrix { kCauchy, kVandermonde };

  explicit ErasureCode(Matrix matrix = Matrix::kCauchy);

  // parity[i] = row rows[i] over the data, each symbol `bytes` long.
  void encode(std::span<const uint8_t* const> data, std::span<uint8_t* const> parity,
              std::span<const uint8_t> rows, size_t bytes);

  // Where symbols are missing, `data` points to where they go; `missing` are their places in the
  // block, ascending, and parity[i] is row rows[i]; as many of these as are missing. False where
  // the matrix has no answer, which a Cauchy matrix always has.
  bool decode(std::span<uint8_t* const> data, std::span<const uint8_t> missing,
              std::span<const uint8_t* const> parity, std::span<const uint8_t> rows, size_t bytes);

 private:
  uint8_t coefficient(uint32_t row, uint32_t column) const {
    return matrix_[row * kColumns + column];
  }
  void multiply(size_t sources, size_t targets, size_t bytes);

  std::vector<uint8_t> matrix_;        // kMaxParity x kColumns
  std::vector<uint8_t> coefficients_;  // scratch: targets x sources
  std::vector<uint8_t> tables_;        // scratch: ISA-L's 32 bytes for each of them
  std::vector<uint8_t*> sources_;
  std::vector<uint8_t*> targets_;
};

}  // namespace farspan::transport
