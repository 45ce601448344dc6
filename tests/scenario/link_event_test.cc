// What happens to a link in time, packet by packet: cuts, path and rate changes, protection,
// lanes that fail, faults.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "tests/support/link_support.h"

namespace farspan::test {
namespace {

using link::Cause;
using link::Change;
using link::DirectionSpec;
using link::PacketRef;
using namespace farspan::literals;

constexpr TimeNs k1000Km{4'897'388};
constexpr TimeNs k500Km{2'448'694};
constexpr TimeNs k400Km{1'958'955};

// `change` at `at`, in the timeline and, the same run again, as a live change: one trace.
sim::LinkTrace RunWith(const DirectionSpec& spec, std::vector<sim::LiveChange> changes,
                       std::vector<PacketRef> traffic) {
  sim::LinkRun run;
  run.spec = spec;
  run.capacity.packets = 2 * traffic.size() + 16;
  run.traffic = std::move(traffic);
  for (const sim::LiveChange& c : changes) run.spec.timeline.push_back({c.at, false, c.change});
  const sim::LinkTrace planned = MustRun(run);
  run.spec = spec;
  run.changes = std::move(changes);
  const sim::LinkTrace live = MustRun(run);
  EXPECT_EQ(planned.hash, live.hash);
  EXPECT_EQ(planned.counters.dropped_packets, live.counters.dropped_packets);
  return planned;
}

// --- Cuts ------------------------------------------------------------------------------------

struct CutCase {
  Length position;
  uint64_t first_lost;
  uint64_t end_lost;
};

// A packet every microsecond into 1,000 km; cut at 10 ms for 1 ms. Lost is what passes the position
// in that time: what entered 0, 1.958955 or 4.897388 ms before it.
TEST(Cut, LosesWhatPassesThePositionMeanwhile) {
  const CutCase cases[] = {{0_km, 10'000, 11'000}, {400_km, 8'042, 9'042}, {1000_km, 5'103, 6'103}};
  for (const CutCase& c : cases) {
    const Change cut = link::Cut{.position = c.position, .duration = 1_ms};
    const sim::LinkTrace trace =
        RunWith(Glass({}, 1000_km), {{10_ms, cut}}, Train(20'000, 84, 0_ns, 1_us));
    EXPECT_EQ(Dropped(trace, Cause::kCut), Range(c.first_lost, c.end_lost));
    EXPECT_EQ(Forwarded(trace).size(), 19'000u);
    for (const PacketRef& p : trace.released) {
      ASSERT_EQ(p.due, TimeNs{static_cast<int64_t>(p.handle) * 1'000} + k1000Km);
    }
  }
}

TEST(Cut, BeginsAndEndsInItsNanosecond) {
  const TimeNs first_lost = 10_ms - k400Km;
  const Change cut = link::Cut{.position = 400_km, .duration = 20_ns};
  const auto traffic = Train(100, 84, first_lost - 45_ns, 1_ns);
  const sim::LinkTrace trace = RunWith(Glass({}, 1000_km), {{10_ms, cut}}, traffic);
  EXPECT_EQ(Dropped(trace, Cause::kCut), Range(45, 65));
}

TEST(Cut, WithoutDurationLastsUntilRestored) {
  const auto traffic = Train(20'000, 84, 0_ns, 1_us);
  const sim::LiveChange cut{10_ms, link::Cut{.position = 400_km}};
  EXPECT_EQ(
      Dropped(RunWith(Glass({}, 1000_km), {cut, {11_ms, link::Restore{}}}, traffic), Cause::kCut),
      Range(8'042, 9'042));
  EXPECT_EQ(Dropped(RunWith(Glass({}, 1000_km), {cut}, traffic), Cause::kCut),
            Range(8'042, 20'000));
}

TEST(Cut, HasUsedTheBottlenecksCapacity) {
  // 1 us each: the tenth to thirteenth frame enter the fiber in [10, 14) us.
  const sim::LinkTrace trace = RunWith(Plain(10_gbps, 1_ms), {{10_us, link::Cut{.duration = 4_us}}},
                                       Train(100, 1250, 0_ns, 0_ns));
  EXPECT_EQ(Dropped(trace, Cause::kCut), Range(9, 13));
  EXPECT_EQ(Forwarded(trace).back().due, 1_ms + 100_us);
}

// Also when the poll comes long after: a packet that was out before the cut is not lost by it.
TEST(Cut, DoesNotReachWhatIsOutAlready) {
  DirectionSpec spec = Glass({}, 1000_km);
  spec.jitter.deviation = 200_us;
  spec.jitter.reorder = true;
  auto link = link::Link::Create(spec, {}, {}, 0_ns);
  ASSERT_TRUE(link.has_value());
  const auto traffic = Train(2'000, 84, 0_ns, 1_us);
  (*link)->offer(2_ms, traffic);
  auto cut = (*link)->prepare(link::Cut{.position = 1000_km});
  ASSERT_TRUE(cut.has_value());
  (*link)->apply(6_ms, **cut);
  std::vector<PacketRef> out(traffic.size());
  ASSERT_EQ((*link)->release(20_ms, out), out.size());
  for (const PacketRef& p : out) {
    const TimeNs passes = TimeNs{static_cast<int64_t>(p.handle) * 1'000} + k1000Km;
    ASSERT_EQ(p.cause == Cause::kCut, passes >= 6_ms && p.due >= 6_ms) << p.handle;
  }
}

// --- Path changes ----------------------------------------------------------------------------

TEST(PathChange, ShorterFiberLetsLaterPacketsOvertake) {
  const Change shorter = link::SetPath{.path = {.length = 500_km}};
  const sim::LinkTrace trace =
      RunWith(Glass({}, 1000_km), {{10_ms, shorter}}, Train(20'000, 84, 0_ns, 1_us));
  const auto due = Arrivals(trace, 20'000);
  for (uint64_t i = 0; i < 20'000; ++i) {
    const TimeNs sent{static_cast<int64_t>(i) * 1'000};
    ASSERT_EQ(due[i], sent + (i < 10'000 ? k1000Km : k500Km)) << "nothing in flight is re-timed";
  }
  EXPECT_LT(due[10'000], due[9'999]);
  EXPECT_EQ(trace.unordered, 0u) << "released by due all the same";
  EXPECT_EQ(trace.counters.order_clamps, 0u);
  EXPECT_EQ(trace.counters.dropped_total(), 0u);
}

TEST(PathChange, KeepingOrderHoldsThemBackAndCountsThem) {
  DirectionSpec spec = Glass({}, 1000_km);
  spec.order = link::OrderPolicy::kKeep;
  const Change shorter = link::SetPath{.path = {.length = 500_km}};
  const sim::LinkTrace trace = RunWith(spec, {{10_ms, shorter}}, Train(20'000, 84, 0_ns, 1_us));
  const auto out = Forwarded(trace);
  ASSERT_EQ(out.size(), 20'000u);
  const TimeNs last_of_old = 9'999_us + k1000Km;
  for (uint64_t i = 0; i < out.size(); ++i) {
    ASSERT_EQ(out[i].handle, i);
    const TimeNs sent{static_cast<int64_t>(i) * 1'000};
    ASSERT_EQ(out[i].due, i < 10'000 ? sent + k1000Km : std::max(sent + k500Km, last_of_old));
  }
  // Those sent at 10.000 to 12.447 ms would have come before 14.896388 ms.
  EXPECT_EQ(trace.counters.order_clamps, 2'448u);
}

TEST(PathChange, LongerFiberLeavesAGapAndKeepsOrder) {
  const Change longer = link::SetPath{.path = {.length = 1000_km}};
  const auto out =
      Forwarded(RunWith(Glass({}, 500_km), {{10_ms, longer}}, Train(20'000, 84, 0_ns, 1_us)));
  ASSERT_EQ(out.size(), 20'000u);
  for (uint64_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i].handle, i);
  EXPECT_EQ(out[10'000].due - out[9'999].due, 1_us + k1000Km - k500Km);
}

// --- Rate changes ----------------------------------------------------------------------------

// Ten frames of 1 us; at 3.5 us the rate falls to a tenth. The frame on the wire ends as it began.
TEST(RateChange, ActsOnFramesThatBeginAfterIt) {
  const auto due = [](TimeNs at) {
    return Arrivals(RunWith(Plain(10_gbps, 0_ns), {{at, link::SetRate{.rate = 1_gbps}}},
                            Train(10, 1250, 0_ns, 0_ns)),
                    10);
  };
  EXPECT_EQ(due(3'500_ns), (std::vector<TimeNs>{1_us, 2_us, 3_us, 4_us, 14_us, 24_us, 34_us, 44_us,
                                                54_us, 64_us}));
  // A change in the nanosecond in which a frame begins comes before it.
  EXPECT_EQ(due(3'000_ns)[3], 13_us);
  EXPECT_EQ(due(3'001_ns)[3], 4_us);
}

TEST(RateChange, FasterAndUnlimited) {
  const std::vector<sim::LiveChange> changes{{1_us, link::SetRate{.rate = 10_gbps}},
                                             {15_us, link::SetRate{.rate = {}}}};
  const auto due = Arrivals(RunWith(Plain(1_gbps, 0_ns), changes, Train(10, 1250, 0_ns, 0_ns)), 10);
  EXPECT_EQ(due, (std::vector<TimeNs>{10_us, 11_us, 12_us, 13_us, 14_us, 15_us, 15_us, 15_us, 15_us,
                                      15_us}));
}

// --- Protection ------------------------------------------------------------------------------

TEST(ProtectionSwitch, LosesTheOldPathForGoodAndTakesTheNewOne) {
  const Change protect = link::ProtectionSwitch{
      .position = 400_km, .outage = 50_ms, .path = {.length = 500_km, .delay = 7_ms}};
  const sim::LinkTrace trace =
      RunWith(Glass({}, 1000_km), {{10_ms, protect}}, Train(10'000, 84, 0_ns, 10_us));
  EXPECT_EQ(Dropped(trace, Cause::kCut), Range(805, 6'000));
  const auto due = Arrivals(trace, 10'000);
  for (uint64_t i = 0; i < 10'000; ++i) {
    const TimeNs sent{static_cast<int64_t>(i) * 10'000};
    if (i < 805) {
      ASSERT_EQ(due[i], sent + k1000Km);
    }
    if (i >= 6'000) {
      ASSERT_EQ(due[i], sent + k500Km + 7_ms);
    }
  }
}

TEST(ProtectionSwitch, ACutMayLieOnThePathThatItSelects) {
  DirectionSpec spec = Glass({}, 500_km);
  const Change protect = link::ProtectionSwitch{.outage = 1_ms, .path = {.length = 1000_km}};
  const Change cut = link::Cut{.position = 800_km, .duration = 1_ms};
  const auto accepted = [&spec] { return link::Link::Create(spec, {}, {}, 0_ns).has_value(); };
  spec.timeline = {{20_ms, false, cut}, {10_ms, false, protect}};
  EXPECT_TRUE(accepted());
  spec.timeline[1].at = 30_ms;
  EXPECT_FALSE(accepted()) << "the switch comes after the cut";
  spec.timeline[1] = {1_ms, true, protect};
  EXPECT_TRUE(accepted()) << "a trigger may have made the switch";

  spec.timeline = {{10_ms, false, protect}};
  auto link = link::Link::Create(spec, {}, {}, 0_ns);
  ASSERT_TRUE(link.has_value());
  EXPECT_FALSE((*link)->prepare(cut).has_value()) << "live, before the switch";
  std::array<PacketRef, 1> out;
  EXPECT_EQ((*link)->release(20_ms, out), 0u);
  EXPECT_TRUE((*link)->prepare(cut).has_value());
}

// --- Lanes -----------------------------------------------------------------------------------

constexpr uint32_t kFlows = 64;
constexpr uint64_t kRounds = 100;  // one packet of every flow each millisecond

// Three lanes of 1, 2 and 3 ms: the delay tells which one a packet took.
DirectionSpec ThreeLanes(link::RehashPolicy rehash) {
  DirectionSpec spec = Plain({}, 1_ms);
  spec.lanes.resize(3, spec.lanes[0]);
  spec.lanes[1].path.delay = 2_ms;
  spec.lanes[2].path.delay = 3_ms;
  spec.rehash = rehash;
  spec.detection = 5_ms;
  return spec;
}

std::vector<PacketRef> ManyFlows() {
  std::vector<PacketRef> traffic;
  for (uint64_t i = 0; i < kRounds * kFlows; ++i) {
    const auto flow = static_cast<uint32_t>(i % kFlows) * 0x9e3779b9u;
    traffic.push_back({.handle = i,
                       .due = TimeNs{static_cast<int64_t>(i / kFlows) * 1'000'000},
                       .wire_bytes = 84,
                       .flow = flow,
                       .sequence = static_cast<uint32_t>(i)});
  }
  return traffic;
}

// lane[round][flow], -1 where it was lost.
std::vector<std::vector<int>> LanesTaken(const sim::LinkTrace& trace) {
  std::vector<std::vector<int>> lanes(kRounds, std::vector<int>(kFlows, -1));
  for (const PacketRef& p : trace.released) {
    if ((p.flags & link::kDropped) != 0) continue;
    const auto round = p.handle / kFlows;
    lanes[round][p.handle % kFlows] =
        static_cast<int>((p.due.ns - static_cast<int64_t>(round) * 1'000'000) / 1'000'000) - 1;
  }
  return lanes;
}

// Lane 1 is cut from 20 to 60 ms and its failure is seen after 5 ms.
TEST(LaneFailure, MovesTheFailedLanesFlowsAfterDetectionAndBackWhenRestored) {
  const std::vector<sim::LiveChange> changes{{20_ms, link::Cut{.lane = 1}},
                                             {60_ms, link::Restore{.lane = 1}}};
  const auto lanes =
      LanesTaken(RunWith(ThreeLanes(link::RehashPolicy::kResilient), changes, ManyFlows()));
  int moved = 0;
  for (uint32_t flow = 0; flow < kFlows; ++flow) {
    const int home = lanes[0][flow];
    ASSERT_GE(home, 0);
    for (uint64_t round = 0; round < kRounds; ++round) {
      const int lane = lanes[round][flow];
      if (home != 1 || round < 20 || round >= 60) {
        ASSERT_EQ(lane, home) << "flow " << flow << " round " << round;
      } else if (round < 25) {
        ASSERT_EQ(lane, -1) << "flow " << flow << " round " << round;
      } else {
        ASSERT_TRUE(lane == 0 || lane == 2) << "flow " << flow << " round " << round;
        ASSERT_EQ(lane, lanes[25][flow]) << "a flow keeps to one lane";
        ++moved;
      }
    }
  }
  EXPECT_GT(moved, 35 * 10);
}

TEST(LaneFailure, ModuloMovesFlowsOfTheOtherLanesToo) {
  const auto lanes = LanesTaken(RunWith(ThreeLanes(link::RehashPolicy::kModulo),
                                        {{20_ms, link::Cut{.lane = 1}}}, ManyFlows()));
  int others_moved = 0;
  for (uint32_t flow = 0; flow < kFlows; ++flow) {
    others_moved += lanes[0][flow] != 1 && lanes[30][flow] != lanes[0][flow] ? 1 : 0;
    EXPECT_NE(lanes[30][flow], 1);
    EXPECT_NE(lanes[30][flow], -1);
  }
  EXPECT_GT(others_moved, 5);
}

TEST(LaneFailure, AShortCutMovesNothing) {
  const Change cut = link::Cut{.lane = 1, .duration = 4_ms};
  const auto lanes =
      LanesTaken(RunWith(ThreeLanes(link::RehashPolicy::kModulo), {{20_ms, cut}}, ManyFlows()));
  for (uint64_t round = 24; round < kRounds; ++round) EXPECT_EQ(lanes[round], lanes[0]);
}

// Two cuts of 4 ms, one right after the other, are 8 ms without light: more than the detection.
TEST(LaneFailure, CutsThatFollowOneAnotherAddUp) {
  const auto round_26 = [](TimeNs second) {
    const Change cut = link::Cut{.lane = 1, .duration = 4_ms};
    return LanesTaken(RunWith(ThreeLanes(link::RehashPolicy::kResilient),
                              {{20_ms, cut}, {second, cut}}, ManyFlows()))[26];
  };
  const auto together = round_26(24_ms);
  EXPECT_EQ(std::count(together.begin(), together.end(), -1), 0) << "moved at 25 ms";
  const auto apart = round_26(24_ms + 1_ns);
  EXPECT_GT(std::count(apart.begin(), apart.end(), -1), 10) << "light came back in between";
}

TEST(LaneFailure, AProtectionSwitchThatTakesTooLongIsOne) {
  const auto lost_in_round_26 = [](TimeNs outage) {
    const Change protect = link::ProtectionSwitch{
        .lane = 1, .position = {}, .outage = outage, .path = {.delay = 2_ms}};
    const auto lanes = LanesTaken(
        RunWith(ThreeLanes(link::RehashPolicy::kResilient), {{20_ms, protect}}, ManyFlows()));
    EXPECT_EQ(lanes[40], lanes[0]);
    return std::count(lanes[26].begin(), lanes[26].end(), -1);
  };
  EXPECT_EQ(lost_in_round_26(10_ms), 0) << "moved at 25 ms";
  EXPECT_EQ(lost_in_round_26(5_ms), 0) << "switched at 25 ms";
}

TEST(LaneFailure, WithoutASurvivorThereIsNoPath) {
  const sim::LinkTrace trace =
      RunWith(ThreeLanes(link::RehashPolicy::kResilient), {{20_ms, link::Cut{}}}, ManyFlows());
  EXPECT_EQ(Dropped(trace, Cause::kCut), Range(20 * kFlows, 25 * kFlows));
  EXPECT_EQ(Dropped(trace, Cause::kNoPath), Range(25 * kFlows, kRounds * kFlows));
}

TEST(LaneWeights, ShareTheFlows) {
  DirectionSpec spec = ThreeLanes(link::RehashPolicy::kResilient);
  spec.lanes[0].weight = 2;
  spec.lanes[1].weight = 1;
  spec.lanes[2].weight = 1;
  std::vector<PacketRef> traffic = Train(40'000, 84, 0_ns, 0_ns);
  for (PacketRef& p : traffic) p.flow = static_cast<uint32_t>(p.handle) * 0x9e3779b9u;
  uint64_t per_lane[3] = {};
  for (const PacketRef& p : Forwarded(MustRun(spec, traffic))) ++per_lane[p.due.ns / 1'000'000 - 1];
  // 1,024 buckets of flows fall to lanes by weight: 3.3 x sqrt(1024 x 1/4) of them are 2,062
  // packets, 3.3 x sqrt(1024 x 3/16) 1,786.
  EXPECT_NEAR(static_cast<double>(per_lane[0]), 20'000, 2'062);
  EXPECT_NEAR(static_cast<double>(per_lane[1]), 10'000, 1'786);
  EXPECT_NEAR(static_cast<double>(per_lane[2]), 10'000, 1'786);
}

// What waits for the failed lane moves at the detection; what left before it is lost.
TEST(LaneFailure, MovesWhatWaits) {
  DirectionSpec spec = Plain(1_gbps, 1_ms);  // 10 us each
  spec.lanes.resize(2, spec.lanes[0]);
  spec.lanes[1].path.delay = 2_ms;
  spec.detection = 5_ms;
  const auto traffic = [](uint32_t flow) {
    return Train(100, 1250, 5_ms - 55_us, 0_ns, {.flow = flow});
  };
  uint32_t flow = 0;  // one that lives on lane 0
  while (Forwarded(MustRun(spec, traffic(flow)))[0].due != 5_ms - 55_us + 10_us + 1_ms) ++flow;
  const sim::LinkTrace trace = RunWith(spec, {{0_ns, link::Cut{.lane = 0}}}, traffic(flow));
  // Frames 0-4 have left, frame 5 is on the wire at 5 ms; 94 wait.
  EXPECT_EQ(Dropped(trace, Cause::kCut), Range(0, 6));
  const auto due = Arrivals(trace, 100);
  for (uint64_t i = 6; i < 100; ++i) {
    ASSERT_EQ(due[i], 5_ms + TimeNs{static_cast<int64_t>(i - 5) * 10'000} + 2_ms) << i;
  }
}

// --- Jitter ----------------------------------------------------------------------------------

// 100 us of jitter on a path of 10 us: nothing comes out before it has gone in.
TEST(Jitter, LargerThanTheDelayIsCutOffAtTheDeparture) {
  for (const bool reorder : {false, true}) {
    DirectionSpec spec = Plain({}, 10_us);
    spec.jitter.deviation = 100_us;
    spec.jitter.reorder = reorder;
    const auto traffic = Train(20'000, 84, 0_ns, 1_us);
    const sim::LinkTrace trace = MustRun(spec, traffic);
    const auto due = Arrivals(trace, traffic.size());
    uint64_t at_once = 0;
    for (const PacketRef& p : traffic) {
      ASSERT_GE(due[p.handle], p.due);
      at_once += due[p.handle] == p.due ? 1 : 0;
    }
    EXPECT_GT(at_once, 2'000u);
    EXPECT_EQ(trace.unforeseen, 0u);
  }
}

// --- Deadlines -------------------------------------------------------------------------------

// A driver that sleeps until next_deadline() must not oversleep a path that becomes shorter.
TEST(Deadline, ForeseesEventsThatHurryWhatWaits) {
  DirectionSpec spec = Plain(1_gbps, 100_ms);
  spec.timeline = {{.at = 15_us, .change = link::SetPath{.path = {.delay = 1_ms}}}};
  const sim::LinkTrace trace = MustRun(spec, Train(3, 1250, 0_ns, 0_ns));  // 10 us each
  EXPECT_EQ(Arrivals(trace, 3), (std::vector<TimeNs>{100_ms + 10_us, 1_ms + 20_us, 1_ms + 30_us}));
  EXPECT_EQ(trace.unforeseen, 0u);
}

// --- Faults, duplicates ----------------------------------------------------------------------

TEST(Duplicates, ComeJustBeforeTheirOriginalWithItsHandleAndTime) {
  DirectionSpec spec = Plain(10_gbps, 1_ms);
  spec.duplicate = 1;
  const sim::LinkTrace trace = MustRun(spec, Train(100, 1250, 0_ns, 0_ns));
  ASSERT_EQ(trace.released.size(), 200u);
  for (size_t i = 0; i < 200; i += 2) {
    EXPECT_EQ(trace.released[i].flags, link::kDuplicate);
    EXPECT_EQ(trace.released[i + 1].flags, 0);
    EXPECT_EQ(trace.released[i].handle, i / 2);
    EXPECT_EQ(trace.released[i + 1].handle, i / 2);
    EXPECT_EQ(trace.released[i].due, trace.released[i + 1].due);
  }
  EXPECT_EQ(trace.counters.duplicated_packets, 100u);
}

TEST(Faults, ActOnTheMatchedPacketsOnly) {
  DirectionSpec spec = Plain({}, 1_ms);
  spec.faults = {{.kind = link::FaultKind::kDrop},
                 {.kind = link::FaultKind::kDelay, .delay = 3_ms},
                 {.kind = link::FaultKind::kDuplicate},
                 {.kind = link::FaultKind::kCorrupt},
                 {.kind = link::FaultKind::kMark}};
  std::vector<PacketRef> traffic = Train(60, 84, 0_ns, 1_us);
  for (PacketRef& p : traffic) {
    p.rule = static_cast<uint8_t>(p.handle % 6);
    p.flags = link::kEcnCapable;
  }
  const sim::LinkTrace trace = MustRun(spec, traffic);
  const auto due = Arrivals(trace, 60);
  EXPECT_EQ(Dropped(trace, Cause::kFault), Range(1, 60, 6));
  EXPECT_EQ(due[2], 2_us + 4_ms);
  EXPECT_EQ(due[8], 8_us + 4_ms);
  EXPECT_EQ(trace.released.size(), 70u);
  for (const PacketRef& p : trace.released) {
    const bool duplicate_allowed = p.rule == 3;
    EXPECT_TRUE(duplicate_allowed || (p.flags & link::kDuplicate) == 0);
    EXPECT_EQ((p.flags & link::kCorrupted) != 0, p.rule == 4);
    EXPECT_EQ((p.flags & link::kMarked) != 0, p.rule == 5);
  }
}

TEST(Faults, TriggerAnEventOfTheTimeline) {
  DirectionSpec spec = Plain({}, 1_ms);
  spec.faults = {{.kind = link::FaultKind::kTrigger, .event = 0}};
  spec.timeline = {{.at = 10_us, .triggered = true, .change = link::Cut{.duration = 5_us}}};
  std::vector<PacketRef> traffic = Train(100, 84, 0_ns, 1_us);
  EXPECT_TRUE(Dropped(MustRun(spec, traffic), Cause::kCut).empty());
  traffic[30].rule = 1;
  EXPECT_EQ(Dropped(MustRun(spec, traffic), Cause::kCut), Range(40, 45));
}

// --- Shortage of our own ---------------------------------------------------------------------

TEST(FullStore, IsAnOwnDropAndNeverAnEmulatedOne) {
  sim::LinkRun run;
  run.spec = Plain({}, 1_ms);
  run.capacity.packets = 50;
  run.traffic = Train(80, 84, 0_ns, 1_us);
  const sim::LinkTrace trace = MustRun(run);
  EXPECT_EQ(Dropped(trace, Cause::kStoreFull), Range(50, 80));
  EXPECT_TRUE(link::IsOwn(Cause::kStoreFull));
}

}  // namespace
}  // namespace farspan::test
