// Priority-based flow control in virtual time, against a sender that obeys it as late as it may.
#include "emulator/link/pfc.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/support/link_support.h"
#include "tests/support/pfc_run.h"

namespace farspan::test {
namespace {

using link::Cause;
using link::PfcSpec;
using namespace farspan::literals;

constexpr uint32_t kFrame = link::WireBytes(4'200 + 18);
constexpr uint8_t kPriority = 3;

PfcSpec Worst(Rate line_rate) {
  return {.priority = kPriority,
          .line_rate = line_rate,
          .max_frame_bytes = kFrame,
          .cable = {150'000},
          .reaction = link::PfcReaction(line_rate),
          .poll_gap = 20_us};
}

// A class whose xoff is passed by as much as a frame can: by one octet less than its size.
void Protect(link::ClassSpec& c, PfcSpec pfc, uint64_t frames) {
  pfc.xoff_bytes = frames * kFrame + 1;
  pfc.xon_bytes = pfc.xoff_bytes - 2 * kFrame;
  c.limit = {.bytes = pfc.xoff_bytes + link::PfcHeadroom(pfc)};
  c.pfc = pfc;
}

// A bottleneck so slow that nothing leaves while the pause is under way.
PfcRun Stalled(Rate line_rate) {
  PfcRun run;
  run.worst = Worst(line_rate);
  run.spec = Plain(10_mbps, 0_ns);
  Protect(run.spec.bottleneck.classes[0], run.worst, 100);
  run.flows = {{.priority = kPriority, .frames = std::vector<uint32_t>(2'000, kFrame)}};
  return run;
}

uint64_t TailDrops(const PfcOutcome& outcome) {
  return outcome.counters.dropped_packets[static_cast<size_t>(Cause::kTailDrop)];
}

class PfcAt : public testing::TestWithParam<Rate> {};
INSTANTIATE_TEST_SUITE_P(LineRates, PfcAt,
                         testing::Values(Rate{10'000'000'000}, Rate{100'000'000'000},
                                         Rate{400'000'000'000}),
                         [](const auto& info) {
                           return std::to_string(info.param.bits_per_s / 1'000'000'000) + "G";
                         });

TEST_P(PfcAt, TheComputedHeadroomLosesNothing) {
  const PfcRun run = Stalled(GetParam());
  const PfcOutcome outcome = RunPfc(run);
  EXPECT_EQ(outcome.counters.forwarded_packets, 2'000u);
  EXPECT_EQ(outcome.counters.dropped_total(), 0u);
  // And it is needed: less than a frame of it stays free.
  const uint64_t limit = run.spec.bottleneck.classes[0].limit.bytes;
  EXPECT_LE(outcome.queue_max, limit);
  EXPECT_GT(outcome.queue_max + kFrame, limit);
}

TEST_P(PfcAt, OneFrameLessLosesOneFrame) {
  PfcRun run = Stalled(GetParam());
  link::ClassSpec& c = run.spec.bottleneck.classes[0];
  c.pfc->xon_bytes = 0;
  const uint64_t frames = c.limit.bytes / kFrame + 20;  // all but 20 before the only pause
  run.flows[0].frames.resize(frames);
  EXPECT_EQ(TailDrops(RunPfc(run)), 0u);
  c.limit.bytes -= kFrame;
  const PfcOutcome less = RunPfc(run);
  EXPECT_EQ(less.events.size(), 2u);
  EXPECT_EQ(TailDrops(less), 1u);
  EXPECT_EQ(less.counters.forwarded_packets, frames - 1);
}

// 100 frames take 3.4 s at 10 Mb/s; a pause of 65,535 quanta is 84 us at 400 Gb/s.
TEST_P(PfcAt, ALongPauseIsRefreshedAndNeverExpires) {
  PfcRun run = Stalled(GetParam());
  run.flows[0].frames.resize(600);
  run.spec.bottleneck.classes[0].pfc->xon_bytes = kFrame;
  const PfcOutcome outcome = RunPfc(run);
  EXPECT_EQ(outcome.expired[kPriority], 0u);
  EXPECT_EQ(outcome.counters.dropped_total(), 0u);
  double paused = 0;
  for (const link::PauseEvent& e : outcome.events) paused += ToSeconds(e.at) * (e.pause ? -1 : 1);
  EXPECT_GT(paused, 1.0);
  const double every = ToSeconds(link::QuantaTime(65'535, GetParam())) / 2;
  // Every half of the quanta, and a poll gap more.
  EXPECT_LE(static_cast<double>(outcome.frames.size()), paused / every + 10);
  EXPECT_GE(static_cast<double>(outcome.frames.size()), 0.9 * paused / (every + 20e-6));
}

TEST_P(PfcAt, TwinWithoutRefreshExpiresAndLoses) {
  PfcRun run = Stalled(GetParam());
  run.refresh = false;
  const PfcOutcome outcome = RunPfc(run);
  EXPECT_GT(TailDrops(outcome), 0u);
}

TEST(Pfc, TheSenderGoesOnBeforeTheQueueIsEmpty) {
  PfcRun run;
  run.worst = Worst(100_gbps);
  run.spec = Plain(40_gbps, 0_ns);
  Protect(run.spec.bottleneck.classes[0], run.worst, 100);
  run.flows = {{.priority = kPriority, .frames = std::vector<uint32_t>(5'000, kFrame)}};
  const PfcOutcome outcome = RunPfc(run);
  ASSERT_EQ(outcome.counters.forwarded_packets, 5'000u);
  EXPECT_GT(outcome.events.size(), 10u);
  // Never idle: 5,000 frames take their exact time from the first one's start.
  const TimeNs first = outcome.released.front().due;
  const double expected = 4'999.0 * kFrame * 8 / 40.0;
  EXPECT_NEAR(static_cast<double>((outcome.released.back().due - first).ns), expected, 1.0);
  for (size_t i = 0; i < outcome.events.size(); ++i) {
    EXPECT_EQ(outcome.events[i].pause, i % 2 == 0);
    EXPECT_EQ(outcome.events[i].priority, kPriority);
  }
}

// Two classes share the port; the one without PFC is neither paused nor delayed by the other's.
TEST(Pfc, OnlyTheClassThatAsksIsPaused) {
  PfcRun run;
  run.worst = Worst(100_gbps);
  run.spec = Plain(20_gbps, 0_ns);
  run.spec.bottleneck.classes.resize(2);
  link::ClassSpec& urgent = run.spec.bottleneck.classes[1];
  urgent.name = "urgent";
  urgent.priority = 1;
  urgent.limit = {.bytes = 4 * kFrame};
  Protect(run.spec.bottleneck.classes[0], run.worst, 50);
  run.flows = {{.priority = kPriority, .frames = std::vector<uint32_t>(2'000, kFrame)},
               {.traffic_class = 1,
                .priority = 5,
                .frames = std::vector<uint32_t>(1'000, kFrame),
                .rate = 10_gbps}};
  const PfcOutcome outcome = RunPfc(run);
  EXPECT_EQ(outcome.counters.forwarded_packets, 3'000u);
  ASSERT_FALSE(outcome.frames.empty());
  for (const link::PfcFrame& frame : outcome.frames) EXPECT_EQ(frame.enabled, 1u << kPriority);
  // 1,000 frames at 10 Gb/s are not held up by more than one frame each.
  TimeNs last{};
  for (const link::PacketRef& p : outcome.released) {
    if (p.traffic_class == 1) last = std::max(last, p.due);
  }
  const double paced = 1'000.0 * kFrame * 8 / 10;
  EXPECT_NEAR(static_cast<double>(last.ns), paced, 10'000);
  // The twin: paused together with the other, it takes as long as that.
  run.flows[1].priority = kPriority;
  TimeNs with{};
  for (const link::PacketRef& p : RunPfc(run).released) {
    if (p.traffic_class == 1) with = std::max(with, p.due);
  }
  EXPECT_GT(static_cast<double>(with.ns), 1.2 * paced);
}

TEST(Pfc, LanesAskOnceAndAreAnsweredOnce) {
  PfcRun run = Stalled(100_gbps);
  run.spec.lanes.resize(3, run.spec.lanes[0]);
  const PfcOutcome outcome = RunPfc(run);
  EXPECT_EQ(outcome.counters.dropped_total(), 0u);
  for (size_t i = 0; i < outcome.events.size(); ++i) {
    EXPECT_EQ(outcome.events[i].pause, i % 2 == 0);
    if (i > 0) {
      EXPECT_GE(outcome.events[i].at, outcome.events[i - 1].at);
    }
  }
}

}  // namespace
}  // namespace farspan::test
