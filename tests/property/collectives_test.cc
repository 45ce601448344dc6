// Collectives: the right values, the same bits everywhere, the bytes and delays that theory says.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "emulator/base/random.h"
#include "tests/support/memory_group.h"
#include "transports/collectives/schedules.h"

namespace farspan::collectives {
namespace {

using namespace farspan::literals;
using Group = test::MemoryGroup;

template <typename T>
class Sum final : public Reducer {
 public:
  void reduce(std::span<const std::byte* const> sources, std::byte* dst, uint64_t bytes) override {
    for (uint64_t at = 0; at < bytes; at += sizeof(T)) {
      T sum{};
      std::memcpy(&sum, sources[0] + at, sizeof(T));
      for (size_t i = 1; i < sources.size(); ++i) {
        T value;
        std::memcpy(&value, sources[i] + at, sizeof(T));
        sum += value;
      }
      std::memcpy(dst + at, &sum, sizeof(T));
    }
  }
};

// Element i of what rank r brings; small enough that every sum is exact in the type.
template <typename T>
T Value(uint32_t rank, uint64_t i) {
  return static_cast<T>(Draw({5}, RandomPurpose::kTest, i, rank).lo % 1000);
}

template <typename T>
std::vector<std::vector<T>> Expected(const Task& task) {
  const uint64_t inputs = task.input_bytes() / sizeof(T), outputs = task.output_bytes() / sizeof(T);
  const uint64_t part = task.bytes / task.ranks / sizeof(T);
  std::vector<std::vector<T>> expected(task.ranks, std::vector<T>(outputs));
  for (uint32_t rank = 0; rank < task.ranks; ++rank) {
    for (uint64_t i = 0; i < outputs; ++i) {
      T& out = expected[rank][i];
      switch (task.collective) {
        case Collective::kAllReduce:
          for (uint32_t r = 0; r < task.ranks; ++r) out += Value<T>(r, i);
          break;
        case Collective::kReduceScatter:
          for (uint32_t r = 0; r < task.ranks; ++r) out += Value<T>(r, rank * part + i);
          break;
        case Collective::kAllGather:
          out = Value<T>(static_cast<uint32_t>(i / inputs), i % inputs);
          break;
        case Collective::kAllToAll:
          out = Value<T>(static_cast<uint32_t>(i / part), rank * part + i % part);
          break;
        case Collective::kSendRecv:
          out = Value<T>((rank + task.ranks - 1) % task.ranks, i);
          break;
      }
    }
  }
  return expected;
}

// Runs it out of place, again (lanes go on), and in place where that has a meaning.
template <typename T>
void ExpectRight(Task task, uint32_t slots) {
  SCOPED_TRACE(std::string(ToText(task.schedule)) + " " + std::string(ToText(task.collective)) +
               " ranks " + std::to_string(task.ranks) + " bytes " + std::to_string(task.bytes) +
               " slot " + std::to_string(task.slot_bytes) + " x " + std::to_string(slots));
  Sum<T> sum;
  Group group(task, slots, &sum);
  const auto expected = Expected<T>(task);
  const bool same_size = task.input_bytes() == task.output_bytes();
  for (const bool in_place : {false, false, true}) {
    if (in_place && !same_size) continue;
    std::vector<std::vector<T>> inputs, outputs(task.ranks);
    std::vector<Buffers> buffers;
    for (uint32_t rank = 0; rank < task.ranks; ++rank) {
      inputs.emplace_back(task.input_bytes() / sizeof(T));
      for (uint64_t i = 0; i < inputs[rank].size(); ++i) inputs[rank][i] = Value<T>(rank, i);
      outputs[rank].assign(task.output_bytes() / sizeof(T), T(-1));
    }
    for (uint32_t rank = 0; rank < task.ranks; ++rank) {
      auto& to = in_place ? inputs[rank] : outputs[rank];
      buffers.push_back({reinterpret_cast<const std::byte*>(inputs[rank].data()),
                         reinterpret_cast<std::byte*>(to.data())});
    }
    ASSERT_TRUE(group.run(buffers)) << group.executor(0).failure();
    for (uint32_t rank = 0; rank < task.ranks; ++rank) {
      EXPECT_EQ(in_place ? inputs[rank] : outputs[rank], expected[rank]) << "rank " << rank;
    }
  }
}

struct Row {
  Collective collective;
  Schedule schedule;
  std::vector<uint32_t> ranks;
  uint32_t ranks_per_site = 1;
};

class EverySchedule : public testing::TestWithParam<Row> {};
INSTANTIATE_TEST_SUITE_P(
    Collectives, EverySchedule,
    testing::Values(Row{Collective::kAllReduce, Schedule::kRing, {2, 3, 5}},
                    Row{Collective::kAllGather, Schedule::kRing, {2, 3, 5}},
                    Row{Collective::kReduceScatter, Schedule::kRing, {2, 3, 5}},
                    Row{Collective::kAllReduce, Schedule::kDirect, {2, 3, 5}},
                    Row{Collective::kAllGather, Schedule::kDirect, {2, 3, 5}},
                    Row{Collective::kReduceScatter, Schedule::kDirect, {2, 3, 5}},
                    Row{Collective::kAllToAll, Schedule::kDirect, {2, 3, 5}},
                    Row{Collective::kSendRecv, Schedule::kDirect, {2, 3, 5}},
                    Row{Collective::kAllReduce, Schedule::kHierarchical, {2, 3, 5}, 1},
                    Row{Collective::kAllReduce, Schedule::kHierarchical, {4, 6, 10}, 2},
                    Row{Collective::kAllReduce, Schedule::kHierarchical, {6, 9}, 3}));

TEST_P(EverySchedule, GivesEveryRankItsValues) {
  const Row& row = GetParam();
  for (const uint32_t ranks : row.ranks) {
    for (const uint64_t elements : {1, 2, 7, 60, 1000}) {
      for (const auto& [slot, slots, channels] : {std::tuple{16, 1, 1}, {64, 3, 2}, {4096, 8, 4}}) {
        Task task{.collective = row.collective, .schedule = row.schedule, .ranks = ranks};
        task.ranks_per_site = row.ranks_per_site;
        task.bytes = elements * ranks * 4;
        task.slot_bytes = static_cast<uint64_t>(slot);
        task.channels = static_cast<uint32_t>(channels);
        task.chunk_slots = static_cast<uint32_t>(slots > 1 ? slots / 2 : 1);
        ExpectRight<int32_t>(task, static_cast<uint32_t>(slots));
      }
    }
  }
}

TEST(Collectives, SizesThatDoNotDivide) {
  for (const auto& [schedule, sites] : {std::pair{Schedule::kRing, 1u},
                                        {Schedule::kDirect, 1u},
                                        {Schedule::kHierarchical, 1u},
                                        {Schedule::kHierarchical, 2u}}) {
    for (const uint64_t elements : {1, 2, 3, 5, 61, 1001}) {
      Task task{.schedule = schedule, .ranks = 4};
      task.ranks_per_site = sites;
      task.bytes = elements * 4;
      task.slot_bytes = 48;
      task.chunk_slots = 2;
      ExpectRight<int32_t>(task, 4);
    }
  }
}

// Random floats have no exact sum; all ranks must end with the same bits all the same, and near the
// sum in double.
TEST(Collectives, AllRanksEndBitwiseIdentical) {
  for (const auto& [schedule, ranks, per_site] : {std::tuple{Schedule::kRing, 4u, 1u},
                                                  {Schedule::kDirect, 2u, 1u},
                                                  {Schedule::kDirect, 5u, 1u},
                                                  {Schedule::kHierarchical, 6u, 3u},
                                                  {Schedule::kHierarchical, 6u, 2u}}) {
    constexpr uint64_t kElements = 3000;
    Task task{.schedule = schedule, .ranks = ranks};
    task.ranks_per_site = per_site;
    task.bytes = kElements * 4;
    task.slot_bytes = 1024;
    Sum<float> sum;
    Group group(task, 8, &sum);
    std::vector<std::vector<float>> inputs(ranks), outputs(ranks, std::vector<float>(kElements));
    std::vector<Buffers> buffers;
    for (uint32_t rank = 0; rank < ranks; ++rank) {
      for (uint64_t i = 0; i < kElements; ++i) {
        inputs[rank].push_back(
            static_cast<float>(ToUnit(Draw({9}, RandomPurpose::kTest, i, rank).lo) - 0.5));
      }
      buffers.push_back({reinterpret_cast<const std::byte*>(inputs[rank].data()),
                         reinterpret_cast<std::byte*>(outputs[rank].data())});
    }
    ASSERT_TRUE(group.run(buffers));
    for (uint32_t rank = 1; rank < ranks; ++rank) {
      EXPECT_EQ(std::memcmp(outputs[0].data(), outputs[rank].data(), task.bytes), 0)
          << ToText(schedule) << " rank " << rank;
    }
    for (uint64_t i = 0; i < kElements; ++i) {
      double exact = 0, magnitude = 0;
      for (uint32_t rank = 0; rank < ranks; ++rank) {
        exact += static_cast<double>(inputs[rank][i]);
        magnitude += std::abs(static_cast<double>(inputs[rank][i]));
      }
      // Any order of n - 1 float additions errs by at most (n - 1) u x the sum of magnitudes.
      EXPECT_NEAR(outputs[0][i], exact, (ranks - 1) * 0x1p-24 * magnitude * 1.001);
    }
  }
}

Task Sized(Schedule schedule, uint32_t ranks, uint32_t per_site, uint64_t bytes) {
  Task task{.schedule = schedule, .ranks = ranks};
  task.ranks_per_site = per_site;
  task.bytes = bytes;
  return task;
}

uint64_t WanBytesOfSite(const Task& shape, uint32_t site) {
  uint64_t sum = 0;
  for (uint32_t rank = 0; rank < shape.ranks; ++rank) {
    if (shape.site(rank) != site) continue;
    Task task = shape;
    task.rank = rank;
    sum += SentBytes(*MakePlan(task), [&](uint32_t peer) { return shape.site(peer) != site; });
  }
  return sum;
}

TEST(Collectives, HierarchicalMovesTheLeastOverTheWan) {
  constexpr uint64_t kBytes = 5 * 4 * 4 * 1024 * 1024;
  for (const uint32_t sites : {2u, 3u, 5u}) {
    const Task task = Sized(Schedule::kHierarchical, sites * 4, 4, kBytes);
    for (uint32_t site = 0; site < sites; ++site) {
      const double least = 2.0 * (sites - 1) / sites * kBytes;
      EXPECT_NEAR(static_cast<double>(WanBytesOfSite(task, site)), least, 1e-5 * least) << sites;
    }
  }
  // Direct exchange that knows no sites moves four times as much.
  const Task flat = Sized(Schedule::kDirect, 20, 4, kBytes);
  EXPECT_GT(WanBytesOfSite(flat, 0), 3.9 * 2 * 4 / 5 * kBytes);
}

// With bandwidth for free only delays count: the steps that theory says, one way each.
TEST(Collectives, OneWayDelaysOnTheCriticalPath) {
  struct Steps {
    Task task;
    int delays;
  };
  for (const auto& [task, delays] : {Steps{Sized(Schedule::kRing, 2, 1, 8192), 2},
                                     {Sized(Schedule::kRing, 5, 1, 20480), 8},
                                     {Sized(Schedule::kDirect, 2, 1, 8192), 1},
                                     {Sized(Schedule::kDirect, 5, 1, 20480), 2},
                                     {Sized(Schedule::kHierarchical, 2, 1, 8192), 1},
                                     {Sized(Schedule::kHierarchical, 4, 2, 8192), 3}}) {
    Group group(task, 8, nullptr, 10_ms);
    ASSERT_TRUE(group.run(std::vector<Buffers>(task.ranks)));
    EXPECT_EQ(group.now(), TimeNs{delays * 10'000'000}) << ToText(task.schedule) << task.ranks;
  }
}

// NCCL's window law: slots are credits, and with two ranks the ring moves one chunk of half the
// slots per one-way delay whatever the transport does.
TEST(Collectives, TheRingOfTwoMovesAChunkPerDelay) {
  Task task = Sized(Schedule::kRing, 2, 1, 64 * 4 * 2 * 4096);
  task.slot_bytes = 4096;
  Group group(task, 8, nullptr, 10_ms);
  ASSERT_TRUE(group.run(std::vector<Buffers>(2)));
  // 64 loops of two chunks; the second chunk of a loop overlaps the first of the next.
  const double per_delay = static_cast<double>(task.bytes) / (ToSeconds(group.now()) / 10e-3);
  EXPECT_NEAR(per_delay, 4 * 4096, 0.05 * 4 * 4096);
  // Twice the buffer, twice the pace.
  task.slot_bytes = 8192;
  Group wider(task, 8, nullptr, 10_ms);
  ASSERT_TRUE(wider.run(std::vector<Buffers>(2)));
  EXPECT_NEAR(ToSeconds(wider.now()) / ToSeconds(group.now()), 0.5, 0.05);
}

TEST(Collectives, AFailedCommIsAnErrorThatNamesThePeer) {
  const Task task = Sized(Schedule::kDirect, 2, 1, 1 << 20);
  Group group(task, 8, nullptr);
  group.network().fail(transport::CommId{0});
  EXPECT_FALSE(group.run(std::vector<Buffers>(2)));
  const std::string failure = group.executor(0).failure() + group.executor(1).failure();
  EXPECT_NE(failure.find("rank"), std::string::npos);
  EXPECT_NE(failure.find("made to fail"), std::string::npos);
}

// Another way round would be slower, and nobody would know why.
TEST(Collectives, MemoryThatCannotBeRegisteredIsAnError) {
  test::MemoryNetwork network(2, 1_ms);
  network.refuse_memory();
  Sum<int32_t> sum;
  Executor executor(network.transport(0), {8, 64, false}, &sum);
  executor.add_send_lane({1, 0}, {});
  EXPECT_FALSE(executor.progress());
  EXPECT_EQ(executor.failure(), "no memory to lock");
}

TEST(Collectives, ImpossibleTasksAreErrors) {
  const auto refused = [](Task task, const char* word) {
    const auto plan = MakePlan(task);
    return !plan && plan.error().text().find(word) != std::string::npos;
  };
  Task task = Sized(Schedule::kRing, 3, 1, 12);
  EXPECT_TRUE(MakePlan(task));
  task.bytes = 13;
  EXPECT_TRUE(refused(task, "whole elements"));
  task = Sized(Schedule::kDirect, 3, 1, 16);
  task.collective = Collective::kAllToAll;
  EXPECT_TRUE(refused(task, "divide"));
  task.bytes = 24;
  EXPECT_TRUE(MakePlan(task));
  task.schedule = Schedule::kRing;
  EXPECT_TRUE(refused(task, "direct"));
  EXPECT_TRUE(refused(Sized(Schedule::kHierarchical, 4, 4, 16), "two sites"));
  EXPECT_TRUE(refused(Sized(Schedule::kHierarchical, 4, 3, 16), "two sites"));
  EXPECT_TRUE(refused(Sized(Schedule::kRing, 1, 1, 16), "2 ranks"));
  for (const uint32_t per_site : {0u, 3u, 8u}) {
    EXPECT_TRUE(refused(Sized(Schedule::kRing, 4, per_site, 16), "equally many"));
  }
  task = Sized(Schedule::kRing, 2, 1, 16);
  task.channels = 0;
  EXPECT_TRUE(refused(task, "1 channel"));
  const auto tree = ParseWord(kSchedules, "tree", "schedule");
  ASSERT_FALSE(tree);
  EXPECT_EQ(tree.error().message, "'tree' is no schedule; there are ring, direct, hierarchical");
  EXPECT_EQ(*ParseWord(kSchedules, "ring", "schedule"), Schedule::kRing);
  EXPECT_EQ(ToText(Collective::kAllToAll), "alltoall");
}

TEST(Collectives, BusFactorsAreThoseOfNcclTests) {
  EXPECT_DOUBLE_EQ(BusFactor(Collective::kAllReduce, 4), 1.5);
  EXPECT_DOUBLE_EQ(BusFactor(Collective::kAllGather, 4), 0.75);
  EXPECT_DOUBLE_EQ(BusFactor(Collective::kSendRecv, 4), 1);
}

}  // namespace
}  // namespace farspan::collectives
