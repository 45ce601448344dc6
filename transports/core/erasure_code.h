// ErasureCode: what recovery by parity asks of the kernels library (kernels/kernels.h, FSK_RS on
// the CPU): systematic Reed-Solomon over GF(256), Cauchy matrix, one symbol per datagram.
//
// The code is that of kColumns data symbols; a shorter block is that code with zeros for the rest,
// so that a row's coefficients do not depend on how many symbols a block has. Symbols lie where
// they belong in their message, and its short end counts as padded with zeros.
//
// Threading: calls share scratch, one thread each object. Nothing allocates after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/kernels.h"
#include "transports/core/lazy_array.h"

namespace farspan::transport {

class ErasureCode {
 public:
  static constexpr uint32_t kColumns = FSK_DATA_SYMBOLS_MAX;
  static constexpr uint32_t kMaxParity = FSK_PARITY_SYMBOLS_MAX;

  // The data symbols of a block: `count` of them, `stride` apart.
  struct Layout {
    uint32_t count = 0;
    uint64_t stride = 0;
    uint32_t bytes = 0;       // of a symbol, parity too
    uint32_t last_bytes = 0;  // of the last one
  };

  // For symbols of at most so many bytes.
  explicit ErasureCode(uint32_t most_bytes);

  // Writes rows 0 … rows - 1, which lie `parity_stride` apart.
  void encode(const Layout& layout, const uint8_t* data, uint32_t rows, uint8_t* parity,
              uint64_t parity_stride);

  // Writes the data symbols that are missing, from as many parity symbols, parity[i] being row
  // rows[i].
  void decode(const Layout& layout, uint8_t* data, std::span<const uint8_t> missing,
              std::span<const uint8_t* const> parity, std::span<const uint8_t> rows);

 private:
  fsk_exec exec();

  LazyArray<uint8_t> workspace_;
  LazyArray<uint8_t> parity_;  // to decode from, by row
};

}  // namespace farspan::transport
