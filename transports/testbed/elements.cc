#include "transports/testbed/elements.h"

#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "emulator/base/check.h"
#include "emulator/base/random.h"
#include "kernels/kernels.h"

namespace farspan::testbed {
namespace {

using collectives::Collective;
using collectives::Task;

fsk_type KernelType(Element element) {
  return element == Element::kFloat ? FSK_FP32 : element == Element::kHalf ? FSK_FP16 : FSK_BF16;
}

// Small non-negative integers, exact in all three types.
uint32_t Encode(Element element, uint32_t value) {
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  if (element == Element::kFloat) return bits;
  if (element == Element::kBfloat16) return bits >> 16;
  if (value == 0) return 0;
  return ((bits >> 13) - ((127 - 15) << 10)) & 0x7fff;
}

void Store(std::byte* at, Element element, uint32_t value) {
  const uint32_t bits = Encode(element, value);
  std::memcpy(at, &bits, BytesOf(element));
}

// Rank r's value `index`: sums over all ranks stay below 256, which bf16 still counts exactly.
uint32_t Value(const Task& task, uint64_t seed, uint32_t rank, uint64_t index) {
  const uint32_t most = 255 / task.ranks + 1;
  return static_cast<uint32_t>((index * 2654435761u + rank * 40503u + seed * 97u) >> 7) % most;
}

// What element `index` of task.rank's output must be.
uint32_t Expected(const Task& task, uint64_t element_bytes, uint64_t seed, uint64_t index) {
  const uint64_t part = task.bytes / task.ranks / element_bytes;
  const auto sum = [&](uint64_t at) {
    uint32_t total = 0;
    for (uint32_t rank = 0; rank < task.ranks; ++rank) total += Value(task, seed, rank, at);
    return total;
  };
  switch (task.collective) {
    case Collective::kAllReduce:
      return sum(index);
    case Collective::kReduceScatter:
      return sum(task.rank * part + index);
    case Collective::kAllGather:
      return Value(task, seed, static_cast<uint32_t>(index / part), index % part);
    case Collective::kAllToAll:
      return Value(task, seed, static_cast<uint32_t>(index / part),
                   task.rank * part + index % part);
    case Collective::kSendRecv:
      break;
  }
  return Value(task, seed, (task.rank + task.ranks - 1) % task.ranks, index);
}

}  // namespace

uint64_t BytesOf(Element element) { return element == Element::kFloat ? 4 : 2; }

void SumReducer::reduce(std::span<const std::byte* const> sources, std::byte* dst, uint64_t bytes) {
  FARSPAN_CHECK(sources.size() <= FSK_SOURCES_MAX);
  fsk_exec exec{};
  exec.abi_version = FSK_ABI_VERSION;
  exec.device = FSK_CPU;
  fsk_reduce_item item{};
  for (size_t i = 0; i < sources.size(); ++i) item.in[i] = sources[i];
  item.out = dst;
  item.elements = bytes / BytesOf(element_);
  item.sources = static_cast<uint32_t>(sources.size());
  FARSPAN_CHECK(fsk_reduce(&exec, KernelType(element_), FSK_SUM, &item, 1) == FSK_OK);
}

void FillInput(const Task& task, Element element, uint64_t seed, std::span<std::byte> input) {
  const uint64_t each = BytesOf(element);
  for (uint64_t i = 0; i < input.size() / each; ++i) {
    Store(input.data() + i * each, element, Value(task, seed, task.rank, i));
  }
}

uint64_t CountWrong(const Task& task, Element element, uint64_t seed,
                    std::span<const std::byte> output) {
  const uint64_t each = BytesOf(element);
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < output.size() / each; ++i) {
    const uint32_t expected = Encode(element, Expected(task, each, seed, i));
    wrong += std::memcmp(output.data() + i * each, &expected, each) != 0;
  }
  return wrong;
}

}  // namespace farspan::testbed
