// Properties of the link model on random specifications (see tests/support/random_case.h).
//
// A failure names its seed; FARSPAN_SEED=n runs that case alone, FARSPAN_CASES=n that many of each.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "emulator/base/int128.h"
#include "emulator/link/path.h"
#include "emulator/sim/trace_hash.h"
#include "tests/support/link_support.h"
#include "tests/support/random_case.h"
#include "tests/support/reference_link.h"

namespace farspan::test {
namespace {

using link::Cause;
using link::PacketRef;

std::vector<uint64_t> Seeds(uint64_t count) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  count /= 10;  // as many minutes as without
#endif
  if (const char* seed = std::getenv("FARSPAN_SEED")) return {std::strtoull(seed, nullptr, 10)};
  if (const char* cases = std::getenv("FARSPAN_CASES")) {
    count = std::strtoull(cases, nullptr, 10);
  }
  return Range(1, count + 1);
}

std::string Where(uint64_t seed, const sim::LinkRun& run) {
  return "FARSPAN_SEED=" + std::to_string(seed) + ": " + Describe(run);
}

std::string Text(const PacketRef& p) {
  std::ostringstream text;
  text << "handle " << p.handle << " due " << p.due.ns << " class " << int{p.traffic_class}
       << " rule " << int{p.rule} << " flags " << int{p.flags} << " cause " << ToText(p.cause);
  return text.str();
}

std::string FirstDifference(const std::vector<PacketRef>& a, const std::vector<PacketRef>& b) {
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    if (i >= a.size()) return "only in the second: " + Text(b[i]);
    if (i >= b.size()) return "only in the first: " + Text(a[i]);
    if (sim::HashOf({&a[i], 1}) != sim::HashOf({&b[i], 1})) {
      return "at " + std::to_string(i) + ": " + Text(a[i]) + "\n  other: " + Text(b[i]);
    }
  }
  return "none";
}

TEST(LinkProperty, EqualsTheNaiveReferencePacketByPacket) {
  for (const uint64_t seed : Seeds(2'000)) {
    const sim::LinkRun run = RandomCase(seed);
    sim::LinkTrace trace = MustRun(run);
    const ReferenceTrace reference = RunReference(run);
    std::stable_sort(trace.released.begin(), trace.released.end(), ReferenceOrder);
    ASSERT_EQ(sim::HashOf(trace.released), sim::HashOf(reference.released))
        << Where(seed, run) << "\n  link " << FirstDifference(trace.released, reference.released);
    ASSERT_EQ(trace.counters.order_clamps, reference.order_clamps) << Where(seed, run);
    ASSERT_EQ(trace.counters.duplicated_packets, reference.duplicated) << Where(seed, run);
  }
}

TEST(LinkProperty, NeitherPollingNorBatchingChangesAnything) {
  for (const uint64_t seed : Seeds(1'000)) {
    sim::LinkRun run = RandomCase(seed);
    const sim::LinkTrace plain = MustRun(run);
    for (uint64_t batching = 1; batching <= 3; ++batching) {
      run.batching_seed = seed * 10 + batching;
      const sim::LinkTrace other = MustRun(run);
      ASSERT_EQ(plain.hash, other.hash)
          << Where(seed, run) << "\n  batching " << run.batching_seed << ", plain "
          << FirstDifference(plain.released, other.released);
    }
  }
}

// Never early, in order of departure, never before the deadline that was announced; and what went
// in comes out, once, in every reading of the counters.
TEST(LinkProperty, KeepsTheStageContractAndConserves) {
  for (const uint64_t seed : Seeds(1'000)) {
    sim::LinkRun run = RandomCase(seed);
    run.batching_seed = seed % 3 == 0 ? 0 : seed;
    uint64_t unbalanced = 0;
    run.after_poll = [&](TimeNs, const link::Link& link) {
      const link::DirectionCounters& c = link.counters();
      unbalanced += c.offered_packets + c.duplicated_packets !=
                            c.forwarded_packets + c.dropped_total() + c.held_packets
                        ? 1
                        : 0;
    };
    const sim::LinkTrace trace = MustRun(run);
    ASSERT_EQ(unbalanced, 0u) << Where(seed, run);
    ASSERT_EQ(trace.early, 0u) << Where(seed, run);
    ASSERT_EQ(trace.unordered, 0u) << Where(seed, run);
    ASSERT_EQ(trace.unforeseen, 0u) << Where(seed, run);
    ASSERT_EQ(trace.counters.held_packets, 0u) << Where(seed, run);
    ASSERT_EQ(trace.counters.offered_packets, run.traffic.size());
    ASSERT_EQ(trace.counters.offered_packets + trace.counters.duplicated_packets,
              trace.released.size());
    std::vector<int> originals(run.traffic.size());
    for (const PacketRef& p : trace.released) {
      originals[p.handle] += (p.flags & link::kDuplicate) == 0 ? 1 : 0;
      ASSERT_GE(p.due, run.traffic[p.handle].due) << Where(seed, run) << "\n  " << Text(p);
      ASSERT_EQ((p.flags & link::kDropped) != 0, p.cause != Cause::kNone);
      ASSERT_FALSE(link::IsOwn(p.cause));
    }
    ASSERT_EQ(std::count(originals.begin(), originals.end(), 1),
              static_cast<ptrdiff_t>(originals.size()))
        << Where(seed, run);
  }
}

TEST(LinkProperty, TheSameSeedGivesTheSameTraceAndAnotherAnother) {
  uint64_t others = 0;
  const std::vector<uint64_t> seeds = Seeds(300);
  for (const uint64_t seed : seeds) {
    sim::LinkRun run = RandomCase(seed);
    run.spec.duplicate = 0.5;
    const uint64_t hash = MustRun(run).hash;
    ASSERT_EQ(hash, MustRun(run).hash) << Where(seed, run);
    run.identity.seed += 1;
    others += hash != MustRun(run).hash ? 1 : 0;
    run.identity.seed -= 1;
    run.identity.direction = 1;
    others += hash != MustRun(run).hash ? 1 : 0;
  }
  // Where nearly everything is dropped before the fiber, there is nothing to draw.
  EXPECT_GE(others, 2 * seeds.size() * 95 / 100);
}

// With a store that is too small, the shortage is counted as our own and nothing else breaks.
TEST(LinkProperty, AFullStoreIsAnOwnDropAndConserves) {
  uint64_t own = 0;
  for (const uint64_t seed : Seeds(500)) {
    sim::LinkRun run = RandomCase(seed);
    run.capacity.packets = 1 + seed % 40;
    run.batching_seed = seed % 2 == 0 ? 0 : seed;
    const sim::LinkTrace trace = MustRun(run);
    ASSERT_EQ(trace.released.size(), run.traffic.size() + trace.counters.duplicated_packets);
    ASSERT_EQ(trace.counters.held_packets, 0u) << Where(seed, run);
    ASSERT_EQ(trace.unordered + trace.early + trace.unforeseen, 0u) << Where(seed, run);
    own += trace.counters.dropped_packets[static_cast<size_t>(Cause::kStoreFull)];
  }
  EXPECT_GT(own, 1'000u);
}

// --- On a plain link, bounds without any model ------------------------------------------------

uint64_t AccountedBits(const link::BottleneckSpec& spec, const PacketRef& p) {
  const int64_t bytes = int64_t{p.wire_bytes} + spec.overhead_bytes;
  return 8 * static_cast<uint64_t>(std::max<int64_t>(bytes, spec.mpu_bytes));
}

// Over any window [due_i, due_j], the packets i+1 to j fit the rate; a nanosecond's rounding aside.
// With x_k = due_k - (service of all up to k), that is x_j >= x_i - 1 ns for all i < j.
TEST(PlainLinkProperty, NeverExceedsItsRateInAnyWindowAndNeverIdlesWithWork) {
  for (const uint64_t seed : Seeds(1'000)) {
    const sim::LinkRun run = RandomPlainCase(seed);
    const Int128 rate = run.spec.lanes[0].rate.bits_per_s;
    if (rate == 0) continue;
    const auto out = Forwarded(MustRun(run));
    const TimeNs delay = link::OneWayDelay(run.spec.lanes[0].path);
    Int128 service = 0;
    Int128 highest = 0;
    TimeNs idle_from = run.start;
    for (size_t i = 0; i < out.size(); ++i) {
      const Int128 bit_ns =
          static_cast<Int128>(AccountedBits(run.spec.bottleneck, out[i])) * 1'000'000'000;
      service += bit_ns;
      const Int128 x = static_cast<Int128>((out[i].due - run.start).ns) * rate - service;
      if (i > 0) {
        ASSERT_GE(x, highest - rate) << Where(seed, run) << "\n  " << Text(out[i]);
      }
      highest = i == 0 ? x : std::max(x, highest);
      // Work conserving: it left one service after it came or after its predecessor left.
      const TimeNs ready = std::max(run.traffic[out[i].handle].due, idle_from);
      const Int128 waited = static_cast<Int128>((out[i].due - delay - ready).ns) * rate - bit_ns;
      ASSERT_LE(waited, rate) << Where(seed, run) << "\n  " << Text(out[i]);
      idle_from = out[i].due - delay;
    }
  }
}

TEST(PlainLinkProperty, AConstantPathKeepsOrderAndIsNeverEarly) {
  for (const uint64_t seed : Seeds(1'000)) {
    const sim::LinkRun run = RandomPlainCase(seed);
    const TimeNs delay = link::OneWayDelay(run.spec.lanes[0].path);
    const auto out = Forwarded(MustRun(run));
    for (size_t i = 0; i < out.size(); ++i) {
      ASSERT_GE(out[i].due, run.traffic[out[i].handle].due + delay) << Where(seed, run);
      if (i > 0) {
        ASSERT_GT(out[i].handle, out[i - 1].handle) << Where(seed, run);
      }
    }
  }
}

// The checks above must be able to fail: the reference with one number changed is found out.
TEST(Twins, AnOctetMoreOrANanosecondMoreIsFound) {
  uint64_t differing = 0;
  uint64_t tried = 0;
  for (const uint64_t seed : Seeds(100)) {
    sim::LinkRun run = RandomPlainCase(seed);
    if (run.spec.lanes[0].rate.bits_per_s == 0) continue;
    sim::LinkTrace trace = MustRun(run);
    std::stable_sort(trace.released.begin(), trace.released.end(), ReferenceOrder);
    run.spec.lanes[0].path.delay += TimeNs{1};
    differing += sim::HashOf(RunReference(run).released) != sim::HashOf(trace.released) ? 1 : 0;
    ++tried;
  }
  EXPECT_EQ(differing, tried);
}

}  // namespace
}  // namespace farspan::test
