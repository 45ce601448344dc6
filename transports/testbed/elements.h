// Element types of a benchmark: their reduction, test values, and what a right answer is.
//
// Sums are made by the kernels library on the CPU: in fp32, in the order given, rounded once per
// primitive. Test values are small integers whose sums are exact in the type whatever the order, so
// that "wrong" needs no tolerance.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "emulator/base/words.h"
#include "transports/collectives/executor.h"
#include "transports/collectives/schedules.h"

namespace farspan::testbed {

enum class Element : uint8_t { kFloat, kBfloat16, kHalf };

// As nccl-tests calls them.
inline constexpr Word<Element> kElements[] = {
    {"float", Element::kFloat}, {"bfloat16", Element::kBfloat16}, {"half", Element::kHalf}};
inline std::string_view ToText(Element element) { return WordOf(kElements, element); }
uint64_t BytesOf(Element element);

class SumReducer final : public collectives::Reducer {
 public:
  explicit SumReducer(Element element) : element_(element) {}
  // At most 16 sources (FSK_SOURCES_MAX).
  void reduce(std::span<const std::byte* const> sources, std::byte* dst, uint64_t bytes) override;

 private:
  Element element_;
};

// Fills the input of task.rank; counts the elements of its output that are not what they must be.
void FillInput(const collectives::Task& task, Element element, uint64_t seed,
               std::span<std::byte> input);
uint64_t CountWrong(const collectives::Task& task, Element element, uint64_t seed,
                    std::span<const std::byte> output);

}  // namespace farspan::testbed
