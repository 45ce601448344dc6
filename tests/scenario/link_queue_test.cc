// Queues of the bottleneck against closed forms: limits, classes, marking, CoDel.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/support/link_support.h"

namespace farspan::test {
namespace {

using link::AqmKind;
using link::AqmSpec;
using link::Cause;
using link::ClassSpec;
using link::DirectionSpec;
using link::PacketRef;
using namespace farspan::literals;

// 1,250 octets at 10 Gb/s: 1 us each.
constexpr uint32_t kBytes = 1250;
constexpr TimeNs kService{1'000};

// --- Limits ----------------------------------------------------------------------------------

// How many of 20 packets that come at once get through: one is on the wire, the rest waits.
uint64_t Admitted(link::QueueLimit limit) {
  DirectionSpec spec = Plain(10_gbps, 0_ns);
  spec.bottleneck.classes[0].limit = limit;
  const sim::LinkTrace trace = MustRun(spec, Train(20, kBytes, 0_ns, 0_ns));
  const uint64_t admitted = Forwarded(trace).size();
  EXPECT_EQ(Dropped(trace, Cause::kTailDrop), Range(admitted, 20));
  for (const PacketRef& p : trace.released) {
    if ((p.flags & link::kDropped) != 0) {
      EXPECT_EQ(p.due, 0_ns) << "released when it came";
    }
  }
  return admitted;
}

TEST(QueueLimit, InBytesIsExact) {
  EXPECT_EQ(Admitted({.bytes = 0}), 20u);
  EXPECT_EQ(Admitted({.bytes = 5 * kBytes}), 6u);
  EXPECT_EQ(Admitted({.bytes = 5 * kBytes - 1}), 5u);
  EXPECT_EQ(Admitted({.bytes = 6 * kBytes - 1}), 6u);
  EXPECT_EQ(Admitted({.bytes = 1}), 1u);
}

// A packet is refused where those before it would wait longer than the limit.
TEST(QueueLimit, InTimeIsExact) {
  EXPECT_EQ(Admitted({.bytes = 0, .time = 5_us}), 7u);
  EXPECT_EQ(Admitted({.bytes = 0, .time = 5_us - 1_ns}), 6u);
  EXPECT_EQ(Admitted({.bytes = 0, .time = 6_us - 1_ns}), 7u);
  EXPECT_EQ(Admitted({.bytes = 3 * kBytes, .time = 5_us}), 4u) << "whichever is reached first";
}

// A full queue has room again in the very nanosecond in which a frame's last bit has left, and not
// one earlier.
TEST(QueueLimit, RoomComesWithTheDeparture) {
  DirectionSpec spec = Plain(10_gbps, 0_ns);
  spec.bottleneck.classes[0].limit = {.bytes = 5 * kBytes};
  const auto dropped = [&](TimeNs at) {
    const auto traffic = Merge(Train(6, kBytes, 0_ns, 0_ns), Train(1, kBytes, at, 0_ns));
    return Dropped(MustRun(spec, traffic), Cause::kTailDrop).size();
  };
  EXPECT_EQ(dropped(kService - 1_ns), 1u);
  EXPECT_EQ(dropped(kService), 0u);
}

// --- Classes ---------------------------------------------------------------------------------

ClassSpec Class(uint32_t priority, uint32_t weight) {
  ClassSpec c;
  c.priority = priority;
  c.weight = weight;
  c.limit = {.bytes = 0};
  return c;
}

// An urgent packet waits for the frame on the wire and for nothing else, however many wait.
TEST(Classes, PriorityWaitsOnlyForTheFrameOnTheWire) {
  DirectionSpec spec = Plain(10_gbps, 0_ns);
  const auto worst_wait = [&](uint32_t urgent_priority) {
    spec.bottleneck.classes = {Class(0, 1), Class(urgent_priority, 1)};
    // An urgent one every 10.1 us meets every phase of the frame on the wire.
    const auto traffic = Merge(Train(2'000, kBytes, 0_ns, 0_ns),
                               Train(100, kBytes, 50_ns, 10'100_ns, {.traffic_class = 1}));
    const auto due = Arrivals(MustRun(spec, traffic), traffic.size());
    TimeNs worst{};
    for (const PacketRef& p : traffic) {
      if (p.traffic_class == 1) worst = std::max(worst, due[p.handle] - p.due - kService);
    }
    return worst;
  };
  EXPECT_LE(worst_wait(1), kService);
  EXPECT_GE(worst_wait(1), kService - 100_ns);
  EXPECT_GT(worst_wait(0), kService) << "of equal priority, it must take turns";
}

struct Share {
  uint32_t weight;
  uint32_t wire_bytes;
};

// Bytes of each class among the first `packets` to leave, all classes backlogged.
std::vector<double> Shares(const std::vector<Share>& classes, uint64_t packets) {
  DirectionSpec spec = Plain(10_gbps, 0_ns);
  spec.bottleneck.classes.clear();
  std::vector<PacketRef> traffic;
  for (size_t i = 0; i < classes.size(); ++i) {
    spec.bottleneck.classes.push_back(Class(0, classes[i].weight));
    traffic = Merge(traffic, Train(packets, classes[i].wire_bytes, 0_ns, 0_ns,
                                   {.traffic_class = static_cast<uint8_t>(i)}));
  }
  const auto out = Forwarded(MustRun(spec, traffic));
  std::vector<double> bytes(classes.size());
  for (size_t i = 0; i < packets; ++i) bytes[out[i].traffic_class] += out[i].wire_bytes;
  return bytes;
}

// Deficit round robin shares octets, not packets, by weight: in any time the difference between two
// classes' octets per weight stays below a round (Shreedhar & Varghese, theorem on fairness: one
// quantum and one largest packet each).
TEST(Classes, WeightsShareOctetsWhateverTheSize) {
  const std::vector<Share> classes{{1, 1250}, {3, 84}, {2, 9038}};
  const auto bytes = Shares(classes, 20'000);
  const double bound = 2'048 + 9'038 + 9'038;
  for (size_t i = 0; i < classes.size(); ++i) {
    for (size_t j = 0; j < classes.size(); ++j) {
      EXPECT_LE(std::abs(bytes[i] / classes[i].weight - bytes[j] / classes[j].weight), bound);
    }
  }
  EXPECT_GT(bytes[0], 20 * bound) << "or the bound would say nothing";
}

TEST(Classes, TwinWithAnotherWeightIsSeen) {
  const std::vector<Share> classes{{1, 1250}, {4, 84}, {2, 9038}};
  const auto bytes = Shares(classes, 20'000);
  EXPECT_GT(std::abs(bytes[0] / 1 - bytes[1] / 3), 2'048 + 9'038 + 9'038);
}

// --- Marking ---------------------------------------------------------------------------------

sim::LinkTrace RunAqm(const AqmSpec& aqm, uint64_t packets, uint8_t flags) {
  DirectionSpec spec = Plain(10_gbps, 0_ns);
  spec.bottleneck.classes[0].aqm = aqm;
  return MustRun(spec, Train(packets, kBytes, 0_ns, 0_ns, {.flags = flags}));
}

std::vector<uint64_t> Marked(const sim::LinkTrace& trace) {
  std::vector<uint64_t> handles;
  for (const PacketRef& p : trace.released) {
    if ((p.flags & link::kMarked) != 0) handles.push_back(p.handle);
  }
  return handles;
}

// 100 packets at once: when packet i > 0 begins service, 99 - i wait behind it.
TEST(Step, MarksWhatLeavesMoreThanTheThresholdBehind) {
  AqmSpec aqm{.kind = AqmKind::kStep, .step_bytes = 40 * kBytes};
  EXPECT_EQ(Marked(RunAqm(aqm, 100, link::kEcnCapable)), Range(1, 59));
  aqm.step_bytes = 40 * kBytes - 1;
  EXPECT_EQ(Marked(RunAqm(aqm, 100, link::kEcnCapable)), Range(1, 60));
}

TEST(Step, WhatCannotBeMarkedIsDroppedOrPassesAsAsked) {
  AqmSpec aqm{.kind = AqmKind::kStep, .step_bytes = 40 * kBytes};
  const sim::LinkTrace dropping = RunAqm(aqm, 100, 0);
  EXPECT_TRUE(Marked(dropping).empty());
  EXPECT_EQ(Dropped(dropping, Cause::kAqm), Range(1, 59));
  // They are dropped as their service would begin, all at once, and use no capacity.
  EXPECT_EQ(Forwarded(dropping).back().due, TimeNs{42 * kService.ns});
  for (const PacketRef& p : dropping.released) {
    if ((p.flags & link::kDropped) != 0) {
      EXPECT_EQ(p.due, kService);
    }
  }
  aqm.drop_not_ect = false;
  EXPECT_EQ(Forwarded(RunAqm(aqm, 100, 0)).size(), 100u);
  aqm.ecn = false;
  EXPECT_EQ(Dropped(RunAqm(aqm, 100, link::kEcnCapable), Cause::kAqm), Range(1, 59));
}

// Between Kmin and Kmax the probability rises to Pmax: the count over the ramp is a sum of
// Bernoulli draws with known mean and variance; below none, above all.
TEST(Red, FollowsItsRamp) {
  constexpr uint64_t kPackets = 40'000;
  constexpr double kPMax = 0.2;
  const AqmSpec aqm{.kind = AqmKind::kRed,
                    .k_min_bytes = 10'000 * kBytes,
                    .k_max_bytes = 30'000 * kBytes,
                    .p_max = kPMax};
  uint64_t below = 0, ramp = 0, above = 0;
  double mean = 0, variance = 0;
  for (const uint64_t handle : Marked(RunAqm(aqm, kPackets, link::kEcnCapable))) {
    const uint64_t behind = kPackets - 1 - handle;
    (behind <= 10'000 ? below : behind <= 30'000 ? ramp : above) += 1;
  }
  for (uint64_t behind = 10'001; behind <= 30'000; ++behind) {
    const double p = kPMax * static_cast<double>(behind - 10'000) / 20'000;
    mean += p;
    variance += p * (1 - p);
  }
  EXPECT_EQ(below, 0u);
  EXPECT_EQ(above, kPackets - 1 - 30'001);
  EXPECT_NEAR(static_cast<double>(ramp), mean, 3.3 * std::sqrt(variance));
  // The twin: a Pmax 10 % larger lies outside.
  EXPECT_LT(static_cast<double>(ramp), 1.1 * mean - 3.3 * std::sqrt(1.1 * variance));
}

// --- CoDel -----------------------------------------------------------------------------------

// A sender that adds one packet to its window per round trip and halves it on a drop (Reno, one
// drop per round trip), 10 ms away, through a queue that could hold 100 ms. Median sojourn in the
// second half.
TimeNs MedianSojourn(const AqmSpec& aqm) {
  constexpr int64_t kRoundTrip = 10'000'000;
  DirectionSpec spec = Plain(100_mbps, 0_ns);  // 100 us a packet, 100 packets a round trip
  spec.bottleneck.classes[0].limit = {.bytes = 1'000 * kBytes};
  spec.bottleneck.classes[0].aqm = aqm;
  auto link = link::Link::Create(spec, {}, {.packets = 4'096}, 0_ns);
  EXPECT_TRUE(link.has_value());
  std::vector<TimeNs> sent;
  std::vector<TimeNs> sojourn;
  std::vector<std::pair<TimeNs, bool>> acks;  // in order of time
  double window = 10;
  uint64_t in_flight = 0;
  size_t acked = 0;
  TimeNs halved = 0_ns;
  for (TimeNs now{}; now < 20_s; now += 50_us) {
    PacketRef out[64];
    while (const size_t n = (*link)->release(now, out)) {
      for (size_t i = 0; i < n; ++i) {
        const bool lost = (out[i].flags & link::kDropped) != 0;
        acks.emplace_back(out[i].due + TimeNs{kRoundTrip}, lost);
        if (!lost && out[i].due > 10_s) sojourn.push_back(out[i].due - sent[out[i].handle]);
      }
    }
    for (; acked < acks.size() && acks[acked].first <= now; ++acked, --in_flight) {
      if (!acks[acked].second) {
        window += 1 / window;
      } else if (now - halved > TimeNs{kRoundTrip}) {
        window = std::max(2.0, window / 2);
        halved = now;
      }
    }
    for (; static_cast<double>(in_flight) + 1 <= window; ++in_flight) {
      const PacketRef packet{.handle = sent.size(), .due = now, .wire_bytes = kBytes};
      sent.push_back(now);
      (*link)->offer(now, {&packet, 1});
    }
  }
  std::nth_element(sojourn.begin(), sojourn.begin() + sojourn.size() / 2, sojourn.end());
  return sojourn[sojourn.size() / 2];
}

// The standing queue stays about the target of 5 ms; without CoDel it is most of the buffer.
TEST(Codel, HoldsItsTarget) {
  const TimeNs held = MedianSojourn({.kind = AqmKind::kCodel});
  EXPECT_LT(held, 10_ms);
  EXPECT_GT(held, 500_us) << "and the link is busy";
  EXPECT_GT(MedianSojourn({}), 30_ms);
}

}  // namespace
}  // namespace farspan::test
