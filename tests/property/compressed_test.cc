// Compressed all-reduces: every rank ends with the same bits, those of the quantised contributions
// added in rank order; only what crosses between sites is quantised; and twins that must fail.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <tuple>
#include <vector>

#include "emulator/base/random.h"
#include "kernels/kernels.h"
#include "tests/support/memory_group.h"
#include "transports/testbed/deviation.h"

namespace farspan::testbed {
namespace {

using collectives::Schedule;
using collectives::Task;

constexpr uint64_t kSlot = 1024;

struct Shape {
  Schedule schedule;
  uint32_t ranks, ranks_per_site;
};
constexpr Shape kShapes[] = {{Schedule::kDirect, 2, 1},       {Schedule::kDirect, 3, 1},
                             {Schedule::kDirect, 5, 1},       {Schedule::kHierarchical, 2, 1},
                             {Schedule::kHierarchical, 4, 2}, {Schedule::kHierarchical, 6, 2},
                             {Schedule::kHierarchical, 9, 3}};

Task TaskOf(const Shape& shape, Element element, uint64_t elements) {
  Task task{.schedule = shape.schedule, .ranks = shape.ranks};
  task.ranks_per_site = shape.ranks_per_site;
  task.bytes = elements * BytesOf(element);
  task.element_bytes = BytesOf(element);
  task.slot_bytes = kSlot;
  return task;
}

using Output = std::vector<std::byte>;

// Every rank's output; in place the second time.
std::vector<Output> AllReduce(const Task& task, Element element,
                              const std::vector<collectives::Codec*>& codecs,
                              bool in_place = false) {
  SumReducer reducer(element);
  test::MemoryGroup group(task, 4, &reducer, TimeNs{1'000'000}, codecs);
  std::vector<Output> inputs, outputs(task.ranks, Output(task.bytes));
  std::vector<collectives::Buffers> buffers;
  for (uint32_t rank = 0; rank < task.ranks; ++rank) {
    Task own = task;
    own.rank = rank;
    inputs.emplace_back(task.bytes);
    FillGradients(own, element, 7, inputs.back());
  }
  for (uint32_t rank = 0; rank < task.ranks; ++rank) {
    buffers.push_back({inputs[rank].data(), (in_place ? inputs : outputs)[rank].data()});
  }
  EXPECT_TRUE(group.run(buffers)) << group.executor(0).failure();
  return in_place ? inputs : outputs;
}

std::vector<collectives::Codec*> ForAll(collectives::Codec& codec, uint32_t ranks) {
  return std::vector<collectives::Codec*>(ranks, &codec);
}

uint64_t Beyond(const Task& task, Compression compression, Element element, const Output& output) {
  return DeviationOf(task, compression, element, 7, output).beyond;
}

TEST(Compressed, AllRanksEndBitwiseIdentical) {
  for (const Shape& shape : kShapes) {
    for (const Compression compression : {Compression::kFp8, Compression::kInt8}) {
      for (const Element element : {Element::kFloat, Element::kBfloat16}) {
        for (const uint64_t elements : {1, 2, 7, 130, 3001}) {
          const Task task = TaskOf(shape, element, elements);
          Quantised codec(compression, element);
          const auto outputs = AllReduce(task, element, ForAll(codec, task.ranks));
          for (const Output& output : outputs) EXPECT_EQ(output, outputs[0]);
          EXPECT_EQ(Beyond(task, compression, element, outputs[0]), 0u);
          EXPECT_EQ(AllReduce(task, element, ForAll(codec, task.ranks), true), outputs);
        }
      }
    }
  }
}

// Two sites: the sum of what the kernels make of each contribution, slot by slot, the first rank's
// first.
TEST(Compressed, TheSumIsOfTheQuantisedValuesInRankOrder) {
  constexpr uint64_t kElements = 3001, kSlotElements = kSlot / 4;
  constexpr fsk_exec kCpu = {FSK_ABI_VERSION, FSK_CPU, nullptr, 0, nullptr, 0};
  const Task task = TaskOf({Schedule::kDirect, 2, 1}, Element::kFloat, kElements);
  std::vector<float> expected(kElements);
  for (uint32_t rank = 0; rank < 2; ++rank) {
    Task own = task;
    own.rank = rank;
    std::vector<float> values(kElements);
    FillGradients(own, Element::kFloat, 7, std::as_writable_bytes(std::span(values)));
    for (uint64_t at = 0; at < kElements; at += kSlotElements) {
      const uint64_t count = std::min(kSlotElements, kElements - at);
      std::vector<uint8_t> codes(count);
      std::vector<float> scales(kSlotElements / FSK_GROUP), decoded(count);
      const fsk_quantiser how{FSK_INT8, FSK_NEAREST, 0};
      const fsk_quantise_item item{&values[at], codes.data(), scales.data(), count, 0};
      ASSERT_EQ(fsk_quantise(&kCpu, FSK_FP32, &how, &item, 1), FSK_OK);
      for (uint64_t i = 0; i < count; ++i) {
        const float value =
            static_cast<float>(static_cast<int8_t>(codes[i])) * scales[i / FSK_GROUP];
        expected[at + i] = rank == 0 ? value : expected[at + i] + value;
      }
    }
  }
  Quantised codec(Compression::kInt8, Element::kFloat);
  const auto outputs = AllReduce(task, Element::kFloat, ForAll(codec, 2));
  EXPECT_EQ(std::memcmp(outputs[0].data(), expected.data(), task.bytes), 0);
}

// Lets a rank be unfaithful in what must be alike, and counts.
class Watched final : public Quantised {
 public:
  enum class Fault { kNone, kOtherOrder, kOtherValues };
  explicit Watched(Fault fault) : Quantised(Compression::kFp8, Element::kFloat), fault_(fault) {}

  void encode(const std::byte* values, uint64_t at, uint64_t bytes, std::byte* code) override {
    places.insert(at);
    ++encoded;
    Quantised::encode(values, at, bytes, code);
  }
  void sum(std::span<const std::byte* const> codes, uint64_t bytes, std::byte* values) override {
    std::vector<const std::byte*> order(codes.begin(), codes.end());
    if (fault_ == Fault::kOtherOrder) std::reverse(order.begin(), order.end());
    Quantised::sum(order, bytes, values);
    if (fault_ == Fault::kOtherValues) values[0] ^= std::byte{1};
  }

  std::set<uint64_t> places;
  uint64_t encoded = 0;

 private:
  Fault fault_;
};

// Adding in another order, or anything but the quantised values, on one rank alone is seen. (Two
// contributions commute, so the sum is of three sites' codes, at the receiving end of a plan that
// sums them everywhere.)
TEST(Compressed, AnUnfaithfulRankIsSeen) {
  const Task task = TaskOf({Schedule::kDirect, 2, 1}, Element::kFloat, 3001);
  Watched good(Watched::Fault::kNone), bad(Watched::Fault::kOtherValues);
  const auto outputs = AllReduce(task, Element::kFloat, {&good, &bad});
  EXPECT_NE(outputs[0], outputs[1]);
  EXPECT_NE(Digest(outputs[0]), Digest(outputs[1]));

  std::vector<Output> codes;
  std::vector<const std::byte*> all;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    Task own = TaskOf({Schedule::kDirect, 3, 1}, Element::kFloat, 256);
    own.rank = rank;
    Output values(own.bytes);
    FillGradients(own, Element::kFloat, 7, values);
    codes.emplace_back(good.coded_bytes(own.bytes));
    good.encode(values.data(), 0, own.bytes, codes.back().data());
  }
  for (const Output& code : codes) all.push_back(code.data());
  Output in_order(1024), reversed(1024);
  Watched other(Watched::Fault::kOtherOrder);
  good.sum(all, 1024, in_order.data());
  other.sum(all, 1024, reversed.data());
  EXPECT_NE(in_order, reversed);
}

// What a rank contributes is quantised once, whatever the number of its peers, and nothing but the
// WAN carries codes.
TEST(Compressed, QuantisesOnceAndOnlyBetweenSites) {
  for (const Shape& shape : kShapes) {
    const Task task = TaskOf(shape, Element::kFloat, 9 * 5 * 256);
    std::vector<std::unique_ptr<Watched>> owners;
    std::vector<collectives::Codec*> codecs;
    for (uint32_t rank = 0; rank < task.ranks; ++rank) {
      owners.push_back(std::make_unique<Watched>(Watched::Fault::kNone));
      codecs.push_back(owners.back().get());
    }
    AllReduce(task, Element::kFloat, codecs);
    for (const auto& owner : owners) EXPECT_EQ(owner->encoded, owner->places.size());

    Task coded = task;
    coded.codec = codecs[0];
    const auto sent = [&](const Task& of, bool wan) {
      const auto plan = collectives::MakePlan(of);
      return static_cast<double>(
          SentBytes(*plan, [&](uint32_t peer) { return (of.site(peer) != 0) == wan; }));
    };
    EXPECT_EQ(sent(coded, false), sent(task, false));
    EXPECT_NEAR(sent(coded, true) / sent(task, true), (1 + 4.0 / 128) / 4, 0.01);
  }
}

}  // namespace
}  // namespace farspan::testbed
