// Codec: what travels between sites in place of elements, where they are made smaller for it.
//
// Each contribution is coded once; every site sums the same decoded contributions in the same
// order, and what must reach further sites is coded once more by the one that summed it, and
// decoded alike by all, itself too: so all ranks end with the same bits. A codec may remember what
// coding has cut off, so `at`, where the elements lie in the tensor, is passed along.
//
// Threading and ownership: as the executor's that calls it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace farspan::collectives {

class Codec {
 public:
  virtual ~Codec() = default;
  // Of the code of so many bytes of elements; grows with them.
  virtual uint64_t coded_bytes(uint64_t bytes) const = 0;
  // One rank's contribution.
  virtual void encode(const std::byte* values, uint64_t at, uint64_t bytes, std::byte* code) = 0;
  // The sum of what codes say, in their order: as values, or coded again.
  virtual void sum(std::span<const std::byte* const> codes, uint64_t bytes, std::byte* values) = 0;
  virtual void sum_to_code(std::span<const std::byte* const> codes, uint64_t at, uint64_t bytes,
                           std::byte* code) = 0;
};

}  // namespace farspan::collectives
