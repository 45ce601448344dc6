#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "emulator/base/random.h"
#include "emulator/sim/batch_plan.h"
#include "emulator/sim/scheduler.h"
#include "emulator/sim/trace_hash.h"
#include "emulator/sim/traffic.h"

namespace farspan::sim {
namespace {

using link::PacketRef;
using namespace farspan::literals;

class Recorder final : public Task {
 public:
  Recorder(int id, std::vector<std::pair<TimeNs, int>>& log) : id_(id), log_(log) {}
  void run(TimeNs now) override { log_.emplace_back(now, id_); }

 private:
  const int id_;
  std::vector<std::pair<TimeNs, int>>& log_;
};

TEST(Scheduler, RunsByTimeThenByOrderOfSetting) {
  std::vector<std::pair<TimeNs, int>> log;
  Recorder a(0, log), b(1, log), c(2, log);
  Scheduler scheduler(3);
  scheduler.set(a, 20_ns);
  scheduler.set(b, 20_ns);
  scheduler.set(c, 10_ns);
  scheduler.set(a, 20_ns);  // set again: behind b now
  scheduler.run_until(20_ns);
  const std::vector<std::pair<TimeNs, int>> expected{{10_ns, 2}, {20_ns, 1}, {20_ns, 0}};
  EXPECT_EQ(log, expected);
  EXPECT_EQ(scheduler.now(), 20_ns);
  EXPECT_TRUE(scheduler.empty());
}

TEST(Scheduler, CancelAndNeverRemove) {
  std::vector<std::pair<TimeNs, int>> log;
  Recorder a(0, log), b(1, log);
  Scheduler scheduler(2);
  scheduler.set(a, 5_ns);
  scheduler.set(b, 6_ns);
  scheduler.cancel(a);
  scheduler.set(b, kNever);
  EXPECT_EQ(scheduler.next(), kNever);
  EXPECT_FALSE(scheduler.step());
  EXPECT_TRUE(log.empty());
}

// Against an ordered map from (time, sequence): the same tasks at the same times.
TEST(Scheduler, AgreesWithAnOrderedMap) {
  constexpr int kTasks = 50;
  std::vector<std::pair<TimeNs, int>> log;
  std::vector<Recorder> tasks;
  for (int i = 0; i < kTasks; ++i) tasks.emplace_back(i, log);
  Scheduler scheduler(kTasks);
  std::map<std::pair<TimeNs, uint64_t>, int> queue;
  std::vector<std::map<std::pair<TimeNs, uint64_t>, int>::iterator> where(kTasks, queue.end());
  std::vector<std::pair<TimeNs, int>> expected;
  for (uint64_t i = 0; i < 20'000; ++i) {
    const RandomWords words = Draw({7}, RandomPurpose::kTest, i);
    const auto id = static_cast<size_t>(words.lo % kTasks);
    if (words.hi % 3 == 0) {
      const bool ran = scheduler.step();
      ASSERT_EQ(ran, !queue.empty());
      if (!ran) continue;
      const auto first = queue.begin();
      expected.emplace_back(first->first.first, first->second);
      where[static_cast<size_t>(first->second)] = queue.end();
      queue.erase(first);
      continue;
    }
    if (where[id] != queue.end()) queue.erase(where[id]);
    where[id] = queue.end();
    if (words.hi % 3 == 1 && words.hi % 5 == 0) {
      scheduler.cancel(tasks[id]);
      continue;
    }
    const TimeNs at = scheduler.now() + TimeNs{static_cast<int64_t>(words.hi % 100)};
    scheduler.set(tasks[id], at);
    where[id] = queue.emplace(std::pair(at, i), static_cast<int>(id)).first;
  }
  EXPECT_EQ(log, expected);
  EXPECT_GT(log.size(), 1'000u);
}

StreamSpec Stream(uint32_t wire_bytes, uint64_t count) {
  return {.packet = {.wire_bytes = wire_bytes, .flow = 9}, .start = 100_ns, .count = count};
}

TEST(Traffic, ConstantRateKeepsFractions) {
  // 84 B at 400 Gb/s: 1.68 ns each, a million of them 1.68 ms.
  const std::vector<PacketRef> packets = Collect(*MakeCbr(Stream(84, 1'000'001), 400_gbps));
  ASSERT_EQ(packets.size(), 1'000'001u);
  EXPECT_EQ(packets[1].due, 102_ns);
  EXPECT_EQ(packets[2].due, 104_ns);
  EXPECT_EQ(packets[3].due, 106_ns);
  EXPECT_EQ(packets.back().due, 1'680'000_ns + 100_ns);
  EXPECT_EQ(packets.back().handle, 1'000'000u);
}

TEST(Traffic, PoissonHasItsRateAndIsKeyed) {
  constexpr uint64_t kCount = 200'000;
  const auto packets = Collect(*MakePoisson(Stream(1250, kCount), 10_gbps, {1}));
  const double mean = static_cast<double>((packets.back().due - packets.front().due).ns) / kCount;
  // 1 us mean, standard error 1 us / sqrt(200000) = 2.2 ns; 3.3 of them.
  EXPECT_NEAR(mean, 1'000.0, 7.4);
  const auto variance = [&] {
    double sum = 0;
    for (size_t i = 1; i < packets.size(); ++i) {
      const double gap = static_cast<double>((packets[i].due - packets[i - 1].due).ns);
      sum += (gap - mean) * (gap - mean);
    }
    return sum / (kCount - 1);
  }();
  EXPECT_NEAR(std::sqrt(variance), 1'000.0, 10.0);
  EXPECT_EQ(HashOf(packets), HashOf(Collect(*MakePoisson(Stream(1250, kCount), 10_gbps, {1}))));
  EXPECT_NE(HashOf(packets), HashOf(Collect(*MakePoisson(Stream(1250, kCount), 10_gbps, {2}))));
}

TEST(Traffic, OnOffIsSilentBetweenBursts) {
  // 10 packets of 1 us in each 10 us on, then 90 us off.
  const auto packets = Collect(*MakeOnOff(Stream(1250, 25), 10_gbps, 10_us, 90_us));
  EXPECT_EQ(packets[9].due, 100_ns + 9_us);
  EXPECT_EQ(packets[10].due, 100_ns + 100_us);
  EXPECT_EQ(packets[24].due, 100_ns + 204_us);
}

TEST(Traffic, MergesByTimeAndThenByOrderOfSources) {
  std::vector<TrafficPtr> sources;
  sources.push_back(MakeTrace({{.due = 1_ns, .flow = 1}, {.due = 5_ns, .flow = 1}}));
  sources.push_back(MakeTrace({{.due = 1_ns, .flow = 2}, {.due = 4_ns, .flow = 2}}));
  const auto packets = Collect(*MakeMerged(std::move(sources)));
  std::vector<uint32_t> flows;
  for (const PacketRef& packet : packets) flows.push_back(packet.flow);
  EXPECT_EQ(flows, (std::vector<uint32_t>{1, 2, 2, 1}));
}

TEST(TraceHash, SeesEveryFieldAndTheOrder) {
  const PacketRef base{.handle = 1, .due = 2_ns, .wire_bytes = 3, .flow = 4, .sequence = 5};
  std::vector<PacketRef> variants(9, base);
  variants[1].handle = 9;
  variants[2].due = 9_ns;
  variants[3].wire_bytes = 9;
  variants[4].flow = 9;
  variants[5].sequence = 9;
  variants[6].flags = link::kMarked;
  variants[7].cause = link::Cause::kLoss;
  variants[8].rule = 9;
  std::vector<uint64_t> hashes;
  for (const PacketRef& variant : variants) hashes.push_back(HashOf({&variant, 1}));
  hashes.push_back(HashOf({variants.data(), 2}));
  std::swap(variants[0], variants[1]);
  hashes.push_back(HashOf({variants.data(), 2}));
  std::sort(hashes.begin(), hashes.end());
  EXPECT_EQ(std::adjacent_find(hashes.begin(), hashes.end()), hashes.end());
}

TEST(BatchPlan, NeverGoesBackAndUsesItsFreedom) {
  BatchPlan plain(0);
  EXPECT_EQ(plain.next_poll(0_ns, 10_ns, 7_ns), 7_ns);
  EXPECT_EQ(plain.offer_size(1000), 1000u);
  BatchPlan plan(3);
  bool early = false, late = false, again = false, tiny = false, big = false;
  for (int i = 0; i < 2'000; ++i) {
    const TimeNs poll = plan.next_poll(100_ns, 200_ns, 300_ns);
    ASSERT_GE(poll, 100_ns);
    early |= poll == 199_ns;
    late |= poll > 300_ns;
    again |= poll == 100_ns;
    const size_t size = plan.out_size();
    ASSERT_GE(size, 1u);
    ASSERT_LE(size, BatchPlan::kMaxOut);
    tiny |= size == 1;
    big |= size > 200;
    const size_t offer = plan.offer_size(40);
    ASSERT_TRUE(offer >= 1 && offer <= 40);
  }
  EXPECT_TRUE(early && late && again && tiny && big);
}

}  // namespace
}  // namespace farspan::sim
