// The far site's port: several links into one, against closed forms.
#include "emulator/link/site_egress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/support/link_support.h"

namespace farspan::test {
namespace {

using link::Cause;
using link::PacketRef;
using link::SiteEgress;
using namespace farspan::literals;

constexpr uint32_t kBytes = 1250;  // 1 us at 10 Gb/s

link::BottleneckSpec Port(uint64_t limit_bytes) {
  link::BottleneckSpec spec;
  spec.classes[0].limit = {.bytes = limit_bytes};
  return spec;
}

// Offers everything up to each deadline, then releases it.
std::vector<PacketRef> Through(SiteEgress& egress, const std::vector<PacketRef>& packets) {
  std::vector<PacketRef> released;
  size_t offered = 0;
  for (;;) {
    const TimeNs arrival = offered < packets.size() ? packets[offered].due : kNever;
    const TimeNs now = std::min(arrival, egress.next_deadline());
    if (now == kNever) return released;
    for (; offered < packets.size() && packets[offered].due <= now; ++offered) {
      EXPECT_EQ(egress.offer(now, {&packets[offered], 1}), 1u);
    }
    PacketRef out[16];
    while (const size_t n = egress.release(now, out)) released.insert(released.end(), out, out + n);
  }
}

// What two links of 10 Gb/s and of different length bring to one port, in order of time.
std::vector<PacketRef> FromTwoLinks(uint64_t each) {
  const auto near = MustRun(Plain(10_gbps, 1_ms), Train(each, kBytes, 0_ns, 0_ns)).released;
  auto far =
      MustRun(Plain(10_gbps, 1'000'500_ns), Train(each, kBytes, 0_ns, 0_ns, {.flow = 1})).released;
  return Merge(near, far);
}

TEST(SiteEgress, TwoFullLinksIntoOnePortQueueThere) {
  SiteEgress egress(Port(0), 10_gbps, {1}, 10'000);
  const auto out = Through(egress, FromTwoLinks(1'000));
  ASSERT_EQ(out.size(), 2'000u);
  for (size_t i = 0; i < out.size(); ++i) {
    // The first comes at 1.001 ms; from then on the port is never idle.
    ASSERT_EQ(out[i].due, 1_ms + TimeNs{static_cast<int64_t>(i + 2) * 1'000});
    ASSERT_EQ(out[i].flow, i % 2);
  }
  EXPECT_EQ(egress.held(), 0u);
}

// The twin: a port of twice the rate takes both without a queue.
TEST(SiteEgress, APortOfTheirSumDoesNotQueue) {
  SiteEgress egress(Port(0), 20_gbps, {1}, 10'000);
  const auto arrivals = FromTwoLinks(1'000);
  for (const PacketRef& p : Through(egress, arrivals)) {
    ASSERT_EQ(p.due, arrivals[p.handle].due + 500_ns);
  }
}

// Ten may wait: arrivals at 2 per us, departures at 1, so the queue is full after about ten of
// each.
TEST(SiteEgress, DropsAtItsLimitAreEmulatedOnes) {
  SiteEgress egress(Port(10 * kBytes), 10_gbps, {1}, 10'000);
  const auto arrivals = FromTwoLinks(1'000);
  uint64_t dropped = 0;
  std::vector<TimeNs> departures;
  for (const PacketRef& p : Through(egress, arrivals)) {
    if ((p.flags & link::kDropped) == 0) {
      departures.push_back(p.due);
      continue;
    }
    ++dropped;
    EXPECT_EQ(p.cause, Cause::kEgressDrop);
    EXPECT_FALSE(link::IsOwn(p.cause));
    EXPECT_EQ(p.due, arrivals[p.handle].due);
  }
  // 1,000 us of arrivals and eleven that were inside at their end.
  EXPECT_EQ(dropped + departures.size(), 2'000u);
  EXPECT_GE(departures.size(), 1'009u);
  EXPECT_LE(departures.size(), 1'011u);
  for (size_t i = 1; i < departures.size(); ++i) {
    ASSERT_EQ(departures[i] - departures[i - 1], 1_us) << "never idle, never faster";
  }
}

TEST(SiteEgress, WhatWasDroppedBeforePassesWithItsVerdictAndUsesNothing) {
  SiteEgress egress(Port(0), 10_gbps, {1}, 100);
  std::vector<PacketRef> packets = Train(10, kBytes, 0_ns, 0_ns);
  for (const size_t i : {2u, 3u, 7u}) {
    packets[i].flags = link::kDropped;
    packets[i].cause = Cause::kLoss;
  }
  uint64_t lost = 0;
  TimeNs last{};
  for (const PacketRef& p : Through(egress, packets)) {
    if ((p.flags & link::kDropped) != 0) {
      EXPECT_EQ(p.cause, Cause::kLoss);
      EXPECT_EQ(p.due, 0_ns);
      ++lost;
    } else {
      EXPECT_EQ(p.due, last + 1_us);
      last = p.due;
    }
  }
  EXPECT_EQ(lost, 3u);
  EXPECT_EQ(last, 7_us);
}

TEST(SiteEgress, TakesAPrefixWhenItIsFull) {
  SiteEgress egress(Port(0), 10_gbps, {1}, 5);
  const auto packets = Train(8, kBytes, 0_ns, 0_ns);
  EXPECT_EQ(egress.offer(0_ns, packets), 5u);
  PacketRef out[2];
  EXPECT_EQ(egress.release(2_us, out), 2u);
  EXPECT_EQ(egress.offer(2_us, std::span(packets).subspan(5)), 2u);
}

// --- Paused by the host behind it ------------------------------------------------------------

link::PfcFrame Pause(uint8_t enabled, uint16_t quanta) {
  link::PfcFrame frame{.enabled = enabled};
  frame.quanta.fill(quanta);
  return frame;
}

// A packet each us; 1,000 quanta at 10 Gb/s are 51.2 us. What is on the wire goes on.
TEST(SiteEgress, APauseHoldsItBackForItsQuanta) {
  SiteEgress egress(Port(0), 10_gbps, {1}, 1'000);
  ASSERT_EQ(egress.offer(0_us, Train(100, kBytes, 0_ns, 0_ns)), 100u);
  PacketRef out[128];
  EXPECT_EQ(egress.release(10'500_ns, out), 10u);
  egress.pause(10'500_ns, Pause(0x04, 1'000));
  EXPECT_EQ(egress.next_deadline(), 11_us);
  EXPECT_EQ(egress.release(61_us, out), 1u);
  EXPECT_EQ(out[0].due, 11_us);
  EXPECT_EQ(egress.next_deadline(), 61'700_ns);
  ASSERT_EQ(egress.release(1_ms, out), 89u);
  EXPECT_EQ(out[0].due, 62'700_ns);
  EXPECT_EQ(out[88].due, 150'700_ns);
  EXPECT_EQ(egress.held(), 0u);
}

TEST(SiteEgress, ZeroQuantaLetItGoOnAtOnceAndAnotherPauseExtendsIt) {
  SiteEgress egress(Port(0), 10_gbps, {1}, 1'000);
  egress.pause(0_us, Pause(0xff, 65'535));
  ASSERT_EQ(egress.offer(1_us, Train(2, kBytes, 1_us, 0_ns)), 2u);
  PacketRef out[8];
  EXPECT_EQ(egress.release(100_us, out), 0u);
  egress.pause(100_us, Pause(0xff, 0));
  EXPECT_EQ(egress.release(102_us, out), 2u);
  EXPECT_EQ(out[0].due, 101_us);
  egress.pause(110_us, Pause(0xff, 1'000));
  egress.pause(130_us, Pause(0xff, 1'000));
  ASSERT_EQ(egress.offer(140_us, Train(1, kBytes, 140_us, 0_ns)), 1u);
  ASSERT_EQ(egress.release(1_ms, out), 1u);
  EXPECT_EQ(out[0].due, 130_us + 51'200_ns + 1_us);
}

// Of two classes only the one that heeds the priority waits, though it is the more urgent one.
TEST(SiteEgress, OtherClassesGoOn) {
  link::BottleneckSpec port = Port(0);
  port.classes.resize(2, port.classes[0]);
  port.classes[0].pcp = {0, 1};
  port.classes[1].pcp = {3};
  port.classes[1].priority = 1;
  SiteEgress egress(port, 10_gbps, {1}, 1'000);
  egress.pause(0_us, Pause(1 << 3, 1'000));
  const auto packets = Merge(Train(5, kBytes, 1_us, 0_ns, {.traffic_class = 1}),
                             Train(5, kBytes, 2_us, 0_ns, {.traffic_class = 0}));
  ASSERT_EQ(egress.offer(2_us, packets), 10u);
  PacketRef out[16];
  EXPECT_EQ(egress.release(51'199_ns, out), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(out[i].traffic_class, 0);
    EXPECT_EQ(out[i].due, TimeNs{3'000 + static_cast<int64_t>(i) * 1'000});
  }
  EXPECT_EQ(egress.release(1_ms, out), 5u);
  EXPECT_EQ(out[0].due, 52'200_ns);
}

}  // namespace
}  // namespace farspan::test
