// A live epoch: the timeline begins anew for every contender, and nothing in flight is touched.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "tests/support/link_support.h"

namespace farspan::test {
namespace {

using link::Cause;
using link::DirectionSpec;
using link::PacketRef;
using namespace farspan::literals;

constexpr TimeNs k1000Km{4'897'388};
constexpr TimeNs k500Km{2'448'694};

// A timeline of one second with everything in it.
DirectionSpec Eventful() {
  DirectionSpec spec = Glass(10_gbps, 1000_km);
  link::SetLoss loss;
  loss.loss.kind = link::LossKind::kBernoulli;
  loss.loss.keying = link::Keying::kWireTime;
  loss.loss.probability = 0.05;
  link::SetJitter jitter;
  jitter.jitter.deviation = 20_us;
  spec.timeline = {
      {100_ms, false, link::Cut{.position = 400_km, .duration = 20_ms}},
      {200_ms, false, link::SetPath{.path = {.length = 500_km}}},
      {300_ms, false, link::SetRate{.rate = 1_gbps}},
      {400_ms, false, loss},
      {500_ms, false, jitter},
      {600_ms, false, link::ProtectionSwitch{.outage = 20_ms, .path = {.length = 700_km}}},
      {800_ms, false, link::Cut{}}};
  return spec;
}

// Fate and delay of each packet of a contender that begins `begin` after the link did, with the
// epoch started there.
std::vector<std::pair<Cause, TimeNs>> Contender(const DirectionSpec& spec, TimeNs begin,
                                                bool epoch) {
  constexpr TimeNs kSpacing{50'000};
  constexpr uint64_t kCount = 20'000;
  sim::LinkRun run;
  run.spec = spec;
  run.capacity.packets = 2 * kCount;
  // Traffic of the contender before: in flight as the epoch starts, it must not be touched.
  for (const PacketRef& p : Train(100, 1250, begin - 5_ms, kSpacing)) {
    if (begin >= 5_ms) run.traffic.push_back(p);
  }
  const uint64_t before = run.traffic.size();
  run.traffic = Merge(run.traffic, Train(kCount, 1250, begin, kSpacing));
  if (epoch) run.changes = {{begin, link::StartEpoch{}}};
  const sim::LinkTrace trace = MustRun(run);
  std::vector<std::pair<Cause, TimeNs>> fates(kCount);
  for (const PacketRef& p : trace.released) {
    if (p.handle < before) continue;
    const uint64_t i = p.handle - before;
    fates[i] = {p.cause, p.due - begin - TimeNs{static_cast<int64_t>(i) * kSpacing.ns}};
  }
  return fates;
}

TEST(Epoch, EveryContenderMeetsTheTimelineAnew) {
  const DirectionSpec spec = Eventful();
  const auto first = Contender(spec, 0_ns, false);
  const auto lost = [](const auto& fates, Cause cause) {
    return std::count_if(fates.begin(), fates.end(),
                         [cause](const auto& fate) { return fate.first == cause; });
  };
  EXPECT_GT(lost(first, Cause::kCut), 2'500);
  EXPECT_GT(lost(first, Cause::kLoss), 100);
  // In the middle of a cut, before and after each event, and long after the last.
  for (const TimeNs begin :
       {110_ms, 150_ms, 250_ms, 350_ms, 450_ms, 550_ms, 610_ms, 700_ms, 900_ms, 5'000_ms}) {
    EXPECT_EQ(Contender(spec, begin, true), first) << begin.ns;
    EXPECT_NE(Contender(spec, begin, false), first) << "the twin, without an epoch: " << begin.ns;
  }
}

TEST(Epoch, LosesAndRetimesNothingInFlight) {
  DirectionSpec spec = Glass({}, 1000_km);
  spec.timeline = {{50_ms, false, link::SetPath{.path = {.length = 500_km}}}};
  sim::LinkRun run;
  run.spec = spec;
  run.capacity.packets = 30'000;
  run.traffic = Train(10'000, 84, 0_ns, 10_us);
  run.changes = {{60_ms, link::StartEpoch{}}};
  const auto due = Arrivals(MustRun(run), 10'000);
  for (uint64_t i = 0; i < 10'000; ++i) {
    const TimeNs sent{static_cast<int64_t>(i) * 10'000};
    const bool shorter = sent >= 50_ms && sent < 60_ms;  // and again from 110 ms on
    ASSERT_EQ(due[i], sent + (shorter ? k500Km : k1000Km)) << i;
  }
}

TEST(Epoch, ATriggerFiresOnceInEach) {
  DirectionSpec spec = Plain({}, 1_ms);
  spec.faults = {{.kind = link::FaultKind::kTrigger, .event = 0}};
  spec.timeline = {{.at = 10_us, .triggered = true, .change = link::Cut{.duration = 5_us}}};
  sim::LinkRun run;
  run.spec = spec;
  run.traffic = Train(200, 84, 0_ns, 1_us);
  for (const size_t i : {30, 60, 130}) run.traffic[i].rule = 1;
  EXPECT_EQ(Dropped(MustRun(run), Cause::kCut), Range(40, 45));
  run.changes = {{100_us, link::StartEpoch{}}};
  auto twice = Range(40, 45);
  for (const uint64_t i : Range(140, 145)) twice.push_back(i);
  EXPECT_EQ(Dropped(MustRun(run), Cause::kCut), twice);
}

// What was set live stays, unless the timeline changes that too.
TEST(Epoch, KeepsWhatOnlyLiveChangesSet) {
  DirectionSpec spec = Plain({}, 1_ms);
  spec.timeline = {{1_ms, false, link::Cut{.duration = 100_us}}};
  sim::LinkRun run;
  run.spec = spec;
  run.traffic = Train(10, 84, 12_ms, 1_us);
  run.changes = {{2_ms, link::SetPath{.path = {.delay = 3_ms}}}, {9_ms, link::StartEpoch{}}};
  EXPECT_EQ(Arrivals(MustRun(run), 10)[9], 12_ms + 9_us + 3_ms);
  run.spec.timeline.push_back({500_ms, false, link::SetPath{.path = {.delay = 5_ms}}});
  EXPECT_EQ(Arrivals(MustRun(run), 10)[9], 12_ms + 9_us + 1_ms);
}

// Live changes that are refused for a while are taken when their packets have arrived.
TEST(LiveChanges, AreTakenAgainWhenWhatTheyMatteredToHasLeft) {
  auto link = link::Link::Create(Plain({}, 10_ms), {}, {}, 0_ns);
  ASSERT_TRUE(link.has_value());
  TimeNs now{};
  const auto change = [&] {
    now = now + 10_us;
    const PacketRef packet{.handle = 1, .due = now, .wire_bytes = 84};
    (*link)->offer(now, {&packet, 1});
    auto cut = (*link)->prepare(link::Cut{.duration = 1_us});
    if (!cut) return false;
    (*link)->apply(now + 1_us, **cut);
    return true;
  };
  int taken = 0;
  while (change()) ++taken;
  EXPECT_GT(taken, 50);
  EXPECT_LT(taken, 128);
  std::array<PacketRef, 256> out;
  EXPECT_GT((*link)->release(now + 20_ms, out), 50u);
  now = now + 20_ms;
  EXPECT_TRUE(change());
}

}  // namespace
}  // namespace farspan::test
