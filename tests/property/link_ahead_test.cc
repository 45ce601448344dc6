// Packets taken before they are due (Link::release_ahead) are those that leave, with the same times
// and verdicts: on random specifications (see tests/support/random_case.h), and cut by cut.
//
// A failure names its seed; FARSPAN_SEED=n runs that case alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "emulator/link/path.h"
#include "emulator/sim/batch_plan.h"
#include "emulator/sim/trace_hash.h"
#include "tests/support/link_support.h"
#include "tests/support/random_case.h"
#include "tests/support/reference_link.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using link::Link;
using link::PacketRef;

// What a driver may hand over ahead; the twins heed less than they must.
struct Ahead {
  TimeNs lead;
  bool heeds_events = true;
  bool heeds_changes = true;
};

struct AheadTrace {
  std::vector<PacketRef> released;  // as ReferenceTrace has them
  link::DirectionCounters counters;
  uint64_t ahead = 0;  // packets that were not due yet
};

// A driver that polls at arrivals, deadlines and changes, and at any time between.
class AheadDriver {
 public:
  AheadDriver(const sim::LinkRun& run, const Ahead& ahead, uint64_t seed)
      : run_(run), ahead_(ahead), dice_(seed) {
    auto link = Link::Create(run.spec, run.identity, run.capacity, run.start);
    EXPECT_TRUE(link) << link.error().text();
    link_ = std::move(*link);
  }

  AheadTrace drive() {
    TimeNs now = run_.start;
    for (;;) {
      const TimeNs next = std::min({arrival(), change(), link_->next_deadline()});
      if (next == kNever) break;
      TimeNs poll = std::max(now, next);
      if (dice_.chance(0.7)) poll = now + TimeNs{dice_in(poll - now)};
      if (change() <= poll) poll = change() - TimeNs{1};
      if (poll >= now) visit(poll);
      now = std::max(now, poll);
      if (change() != kNever && change() == poll + TimeNs{1}) {
        now = change();
        auto prepared = link_->prepare(run_.changes[applied_++].change);
        EXPECT_TRUE(prepared);
        link_->apply(now, **prepared);
      }
    }
    trace_.counters = link_->counters();
    std::stable_sort(trace_.released.begin(), trace_.released.end(), ReferenceOrder);
    return std::move(trace_);
  }

 private:
  int64_t dice_in(TimeNs span) {
    return static_cast<int64_t>(dice_.below(static_cast<uint64_t>(span.ns) + 1));
  }
  TimeNs arrival() const {
    return offered_ < run_.traffic.size() ? run_.traffic[offered_].due : kNever;
  }
  TimeNs change() const {
    return applied_ < run_.changes.size() ? run_.changes[applied_].at : kNever;
  }

  void visit(TimeNs now) {
    for (; arrival() <= now; ++offered_) {
      EXPECT_EQ(link_->offer(now, {&run_.traffic[offered_], 1}), 1u);
    }
    TimeNs until = now + ahead_.lead;
    if (ahead_.heeds_events) until = std::min(until, link_->decided_until(now));
    if (ahead_.heeds_changes) until = std::min(until, change() - TimeNs{1});
    until = std::max(now, until);
    std::array<PacketRef, 16> out;
    for (size_t count = out.size(); count == out.size();) {
      count = link_->release_ahead(now, until, out);
      for (size_t i = 0; i < count; ++i) trace_.ahead += out[i].due > now ? 1 : 0;
      trace_.released.insert(trace_.released.end(), out.begin(), out.begin() + count);
    }
  }

  const sim::LinkRun& run_;
  const Ahead ahead_;
  Dice dice_;
  std::unique_ptr<Link> link_;
  AheadTrace trace_;
  size_t offered_ = 0;
  size_t applied_ = 0;
};

AheadTrace TakeAhead(const sim::LinkRun& run, const Ahead& ahead, uint64_t seed) {
  return AheadDriver(run, ahead, seed).drive();
}

AheadTrace TakeWhenDue(const sim::LinkRun& run) {
  sim::LinkTrace trace = MustRun(run);
  std::stable_sort(trace.released.begin(), trace.released.end(), ReferenceOrder);
  return {std::move(trace.released), trace.counters, 0};
}

bool Same(const AheadTrace& a, const AheadTrace& b) {
  return sim::HashOf(a.released) == sim::HashOf(b.released) &&
         a.counters.order_clamps == b.counters.order_clamps &&
         a.counters.jitter_clamps == b.counters.jitter_clamps &&
         a.counters.dropped_packets == b.counters.dropped_packets &&
         a.counters.forwarded_packets == b.counters.forwarded_packets;
}

TEST(LinkAhead, GivesWhatLeavesToTheNanosecond) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::vector<uint64_t> seeds = Range(1, 51);
#else
  std::vector<uint64_t> seeds = Range(1, 1'001);
#endif
  if (const char* seed = std::getenv("FARSPAN_SEED")) seeds = {std::strtoull(seed, nullptr, 10)};
  uint64_t ahead = 0;
  uint64_t packets = 0;
  for (const uint64_t seed : seeds) {
    const sim::LinkRun run = RandomCase(seed);
    const AheadTrace due = TakeWhenDue(run);
    // From a nanosecond to all that the link calls decided.
    Dice dice(seed);
    const auto stay = static_cast<double>(link::OneWayDelay(run.spec.lanes[0].path).ns);
    const TimeNs lead{dice.chance(0.3) ? int64_t{1} << 60
                                       : static_cast<int64_t>(dice.log_between(1, stay + 2))};
    const AheadTrace trace = TakeAhead(run, {lead}, seed);
    ASSERT_TRUE(Same(trace, due)) << "FARSPAN_SEED=" << seed << ", lead " << lead.ns
                                  << " ns: " << Describe(run);
    ahead += trace.ahead;
    packets += trace.released.size();
  }
  if (seeds.size() == 1) return;
  EXPECT_GT(ahead, packets / 10);
}

// 500 km of glass, a packet every 2 us, 50 us ahead.
sim::LinkRun Wire() {
  sim::LinkRun run;
  run.spec = Glass({10'000'000'000}, Length{500'000'000});
  run.capacity.packets = 8'192;
  run.traffic = Train(2'000, 300, TimeNs{0}, 2_us);
  return run;
}

uint64_t LostToTheCut(const AheadTrace& trace) {
  return trace.counters.dropped_packets[static_cast<size_t>(link::Cause::kCut)];
}

// At any instant and any place, by the timeline and live: what is on its far side arrives, what is
// on its near side does not. The twins heed no timeline, or no change.
TEST(LinkAhead, ACutTakesWhatItMustWhereverItFalls) {
  Dice dice(20261122);
  int unheeded = 0;
  for (int i = 0; i < 30; ++i) {
    const TimeNs at{static_cast<int64_t>(dice.below(6'000'000))};
    // Every second one in the last 5 km, which take 24 us: the twins see only those.
    const Length position{500'000'000 -
                          static_cast<int64_t>(dice.below(i % 2 == 0 ? 500'000'001 : 5'000'000))};
    const link::Cut cut{link::kAllLanes, position,
                        TimeNs{static_cast<int64_t>(dice.below(300'000)) + 1}};
    for (const bool live : {false, true}) {
      sim::LinkRun run = Wire();
      if (live) {
        run.changes = {{at, cut}};
      } else {
        run.spec.timeline = {{at, false, cut}};
      }
      const AheadTrace due = TakeWhenDue(run);
      const auto seed = static_cast<uint64_t>(i);
      ASSERT_TRUE(Same(TakeAhead(run, {50_us}, seed), due))
          << "a cut at " << at.ns << " ns, at " << position.mm << " mm, live " << live;
      unheeded += Same(TakeAhead(run, {50_us, live, !live}, seed), due) ? 0 : 1;
    }
  }
  EXPECT_GT(unheeded, 5);
}

// The twin: a cut at the far end, which the packets of the last 50 us do not foresee.
TEST(LinkAhead, TakingPacketsAcrossACutGivesMoreThanArrive) {
  sim::LinkRun run = Wire();
  run.spec.timeline = {{3_ms, false, link::Cut{link::kAllLanes, Length{500'000'000}, 200_us}}};
  const uint64_t lost = LostToTheCut(TakeWhenDue(run));
  EXPECT_EQ(lost, 100u);
  EXPECT_EQ(LostToTheCut(TakeAhead(run, {50_us}, 1)), lost);
  const uint64_t by_the_twin = LostToTheCut(TakeAhead(run, {50_us, false}, 1));
  EXPECT_LT(by_the_twin, lost);
  EXPECT_GE(by_the_twin, lost - 25);
}

TEST(LinkAhead, NothingIsDecidedBeyondTheShortestStayAnEventOrATrigger) {
  const auto decided = [](const link::DirectionSpec& spec, TimeNs now) {
    auto link = Link::Create(spec, {}, {}, TimeNs{0});
    EXPECT_TRUE(link);
    return (*link)->decided_until(now);
  };
  link::DirectionSpec spec = Plain({}, 1_ms);
  EXPECT_EQ(decided(spec, 10_us), 1'010_us);
  spec.jitter.deviation = 10_us;  // by 32 of them at most
  EXPECT_EQ(decided(spec, 10_us), 690_us);
  spec.jitter.deviation = 1_ms;
  EXPECT_EQ(decided(spec, 10_us), 10_us);
  spec.jitter.deviation = {};
  spec.timeline = {{50_us, false, link::Cut{link::kAllLanes, {}, 1_us}}};
  EXPECT_EQ(decided(spec, 10_us), TimeNs{49'999});
  EXPECT_EQ(decided(spec, 50_us), 1'050_us);  // it has happened
  spec.timeline = {{5_us, true, link::Cut{link::kAllLanes, {}, 1_us}}};
  EXPECT_EQ(decided(spec, 10_us), 1'010_us);  // and no rule to trigger it
  spec.faults = {{.kind = link::FaultKind::kTrigger, .event = 0}};
  EXPECT_EQ(decided(spec, 10_us), 15_us);
}

// Once a trigger has fired, it holds nothing back any more.
TEST(LinkAhead, AFiredTriggerIsAnEventLikeOthers) {
  link::DirectionSpec spec = Plain({}, 1_ms);
  spec.timeline = {{5_us, true, link::Cut{link::kAllLanes, {}, 1_us}}};
  spec.faults = {{.kind = link::FaultKind::kTrigger, .event = 0}};
  auto link = Link::Create(spec, {}, {}, TimeNs{0});
  ASSERT_TRUE(link);
  PacketRef packet = Train(1, 300, 10_us, 1_us)[0];
  packet.rule = 1;
  ASSERT_EQ((*link)->offer(10_us, {&packet, 1}), 1u);
  EXPECT_EQ((*link)->decided_until(10_us), TimeNs{14'999});
  EXPECT_EQ((*link)->decided_until(20_us), 1'020_us);
}

}  // namespace
}  // namespace farspan::test
