// Nothing is allocated or freed after a link is built: counted by this program's own operator new.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "emulator/link/link.h"
#include "emulator/sim/scheduler.h"
#include "tests/support/count_allocations.h"
#include "tests/support/random_case.h"

namespace farspan::test {
namespace {

using link::Link;
using link::PacketRef;

// Drives a link like RunLink's plain driver and counts what is allocated meanwhile.
uint64_t AllocationsOf(const sim::LinkRun& run, uint64_t* released) {
  auto link = Link::Create(run.spec, run.identity, run.capacity, run.start);
  EXPECT_TRUE(link.has_value());
  std::vector<link::PreparedChangePtr> changes;
  for (const sim::LiveChange& live : run.changes) {
    changes.push_back((*link)->prepare(live.change).value());
  }
  PacketRef out[64];
  size_t offered = 0;
  size_t applied = 0;
  const uint64_t before = allocations;
  for (;;) {
    const TimeNs arrival = offered < run.traffic.size() ? run.traffic[offered].due : kNever;
    const TimeNs change = applied < changes.size() ? run.changes[applied].at : kNever;
    const TimeNs deadline = (*link)->next_deadline();
    const TimeNs now = std::min({arrival, change, deadline});
    if (now == kNever) break;
    if (now == change) {
      (*link)->apply(now, *changes[applied++]);
    } else if (now == arrival) {
      (*link)->offer(now, {&run.traffic[offered++], 1});
    } else {
      while (const size_t n = (*link)->release(now, out)) *released += n;
    }
  }
  return allocations - before;
}

TEST(Allocation, NoneAfterConstruction) {
  uint64_t released = 0;
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    const sim::LinkRun run = RandomCase(seed);
    ASSERT_EQ(AllocationsOf(run, &released), 0u)
        << "FARSPAN_SEED=" << seed << ": " << Describe(run);
  }
  EXPECT_GT(released, 50'000u);
}

// What the memory plan counts on: at most what MemoryBytes() says and a little for small things,
// and most of that.
TEST(Allocation, IsAsPlanned) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    sim::LinkRun run = RandomCase(seed);
    run.capacity.packets = 100'000;
    const uint64_t before = allocated_bytes;
    auto link = Link::Create(run.spec, run.identity, run.capacity, run.start);
    ASSERT_TRUE(link.has_value());
    const auto used = static_cast<double>(allocated_bytes - before);
    const auto planned = static_cast<double>(Link::MemoryBytes(run.spec, run.capacity));
    const auto models = static_cast<double>(run.spec.lanes.size() * (run.spec.timeline.size() + 2));
    EXPECT_LE(used, 1.05 * planned + 200'000 * models)
        << "FARSPAN_SEED=" << seed << ": " << Describe(run);
    EXPECT_GE(used, 0.8 * planned) << "FARSPAN_SEED=" << seed << ": " << Describe(run);
  }
}

TEST(Allocation, NoneInTheSchedulerEither) {
  struct Ticker final : sim::Task {
    explicit Ticker(sim::Scheduler& s) : scheduler(s) {}
    void run(TimeNs now) override { scheduler.set(*this, now + TimeNs{7}); }
    sim::Scheduler& scheduler;
  };
  sim::Scheduler scheduler(3);
  Ticker a(scheduler), b(scheduler), c(scheduler);
  const uint64_t before = allocations;
  for (Ticker* ticker : {&a, &b, &c}) scheduler.set(*ticker, TimeNs{1});
  scheduler.run_until(TimeNs{10'000});
  EXPECT_EQ(allocations, before);
}

TEST(Allocation, TheCounterCounts) {
  const uint64_t before = allocations;
  auto* words = new std::vector<int>(100);
  EXPECT_EQ(allocations, before + 2);
  delete words;
  EXPECT_EQ(allocations, before + 4);
}

}  // namespace
}  // namespace farspan::test
