// Quantised: what crosses between sites when a bench is told to compress, by the kernels library on
// the CPU: fp8 e4m3 or int8 with one fp32 scale per 128 elements, rounded to nearest.
//
// A message's code is its scales, then its codes: 1.03 bytes per element. In virtual time the work
// costs nothing. Threading: one codec may serve many executors of one thread, but for an
// ErrorFeedback, which belongs to one rank and one tensor.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "transports/collectives/codec.h"
#include "transports/testbed/elements.h"

namespace farspan::testbed {

enum class Compression : uint8_t { kNone, kFp8, kInt8 };

inline constexpr Word<Compression> kCompressions[] = {
    {"none", Compression::kNone}, {"fp8", Compression::kFp8}, {"int8", Compression::kInt8}};
inline std::string_view ToText(Compression compression) {
  return WordOf(kCompressions, compression);
}

class Quantised : public collectives::Codec {
 public:
  // kFloat or kBfloat16.
  Quantised(Compression compression, Element element)
      : compression_(compression), element_(element) {}

  uint64_t coded_bytes(uint64_t bytes) const override;
  void encode(const std::byte* values, uint64_t at, uint64_t bytes, std::byte* code) override;
  void sum(std::span<const std::byte* const> codes, uint64_t bytes, std::byte* values) override;
  void sum_to_code(std::span<const std::byte* const> codes, uint64_t at, uint64_t bytes,
                   std::byte* code) override;

 protected:
  Compression compression() const { return compression_; }

 private:
  Compression compression_;
  Element element_;
};

// Quantised floats that lose nothing for good: what quantisation cuts off a value is added to the
// value of the same place next time (Seide et al., "1-bit stochastic gradient descent", Interspeech
// 2014), at every contribution and at every sum that is coded again. What has become NaN stays NaN.
class ErrorFeedback final : public Quantised {
 public:
  // Of a tensor of so many bytes.
  ErrorFeedback(Compression compression, uint64_t bytes)
      : Quantised(compression, Element::kFloat),
        of_contribution_(bytes / sizeof(float)),
        of_sum_(bytes / sizeof(float)) {
    negated_.reserve(of_sum_.size() / 128 + 1);
  }

  void encode(const std::byte* values, uint64_t at, uint64_t bytes, std::byte* code) override;
  void sum_to_code(std::span<const std::byte* const> codes, uint64_t at, uint64_t bytes,
                   std::byte* code) override;

 private:
  void take_off(const std::byte* code, float* carried, uint64_t elements);

  std::vector<float> of_contribution_, of_sum_;
  std::vector<float> negated_;  // scales
};

}  // namespace farspan::testbed
