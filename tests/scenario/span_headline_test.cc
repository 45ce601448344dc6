// Span against the bounds that physics sets: 400 Gb/s, 25 ms RTT, 128 MiB in 4096-byte datagrams
// with 98 bytes of headers and framing each, loss independent in both directions.
//
// Times of warm connections with the receive posted, congestion `fixed` at the wire's rate. The
// table over many seeds is tests/bench/span_table; here are enough to see a recovery that is wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/support/link_support.h"
#include "tests/support/span_pair.h"
#include "transports/testbed/theory.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using testbed::MessageOnLink;

constexpr TimeNs kRtt = 25_ms;
constexpr double kWireBytes = 4096 + 98;

struct Case {
  std::string recovery;
  Rate rate = 400_gbps;
  double loss = 0;
  uint64_t datagrams = 32'768;
};

PairOptions Options(const Case& c, uint64_t seed) {
  PairOptions options;
  options.config.recovery = c.recovery;
  options.config.lengths_only = true;
  options.config.controller.rate = c.rate;
  options.there = options.back = Plain(c.rate, TimeNs{kRtt.ns / 2});
  if (c.loss > 0) {
    for (auto* direction : {&options.there, &options.back}) {
      direction->lanes[0].loss.kind = link::LossKind::kBernoulli;
      direction->lanes[0].loss.probability = c.loss;
    }
  }
  options.link_seed = seed;
  options.capacity.packets = 400'000;
  options.sim.granularity = 2_us;
  return options;
}

MessageOnLink Theory(const Case& c) {
  return {c.datagrams, kWireBytes * 8 / static_cast<double>(c.rate.bits_per_s), ToSeconds(kRtt),
          c.loss};
}

TEST(SpanHeadline, AutoStaysWithinFivePerCentOfTheLosslessBounds) {
  const testbed::MessageOnLink lossless = Theory({});
  EXPECT_NEAR(testbed::LosslessReceiver(lossless), 15.25e-3, 0.01e-3);
  EXPECT_NEAR(testbed::LosslessSender(lossless), 27.75e-3, 0.01e-3);
  for (const double loss : {0.0, 1e-5, 1e-3, 1e-2}) {
    SpanPair pair(Options({.recovery = "auto", .loss = loss}, 11));
    ASSERT_TRUE(pair.connect(5_s));
    pair.exchange(uint64_t{32'768} * 4096, kRtt, 1_s);  // learns how lossy the path is
    for (int i = 0; i < 4; ++i) {
      const MessageTimes times = pair.exchange(uint64_t{32'768} * 4096, kRtt, 1_s);
      EXPECT_GE(ToSeconds(times.receiver), testbed::LosslessReceiver(lossless) - 1e-9);
      EXPECT_LE(ToSeconds(times.receiver), 1.05 * testbed::LosslessReceiver(lossless)) << loss;
      EXPECT_LE(ToSeconds(times.sender), 1.05 * testbed::LosslessSender(lossless)) << loss;
    }
    EXPECT_EQ(pair.span_a->counters().stalls, 0u);
  }
}

// Means over `messages` on one connection, at a rate that keeps injection at 2.75 ms.
double MeanSender(const Case& c, int messages) {
  SpanPair pair(Options(c, 5));
  EXPECT_TRUE(pair.connect(5_s));
  pair.exchange(c.datagrams * 4096, kRtt, 60_s);
  double sum = 0;
  for (int i = 0; i < messages; ++i) {
    sum += ToSeconds(pair.exchange(c.datagrams * 4096, kRtt, 60_s).sender);
  }
  // Only where the ACKs of a message's end were all lost is something sent again in vain.
  const transport::SpanCounters& counters = pair.span_a->counters();
  EXPECT_LE(100 * counters.spurious, counters.lost);
  EXPECT_EQ(counters.stalls, 0u);
  return sum / messages;
}

TEST(SpanHeadline, SelectiveRepeatCostsWhatItsFormulaSays) {
  for (const double loss : {1e-3, 1e-2}) {
    const Case c{.recovery = "sr", .rate = 12'500_mbps, .loss = loss, .datagrams = 1'024};
    const double expected = testbed::SelectiveRepeatMean(Theory(c)) + ToSeconds(kRtt) / 2;
    EXPECT_NEAR(MeanSender(c, 600), expected, 0.05 * expected) << loss;
  }
}

TEST(SpanHeadline, GoBackNCostsWhatItsFormulaSays) {
  const Case c{.recovery = "gbn", .rate = 12'500_mbps, .loss = 1e-3, .datagrams = 1'024};
  const double expected = testbed::GoBackNMean(Theory(c));
  EXPECT_NEAR(MeanSender(c, 1'500), expected, 0.05 * expected);
}

TEST(SpanHeadline, ALongMessageHidesItsRepairsUnderInjection) {
  // 8 GiB at 1e-3 with `auto`: only what leaves in the last round trip is coded.
  const Case c{.recovery = "auto", .loss = 1e-3, .datagrams = 2'097'152};
  SpanPair pair(Options(c, 3));
  ASSERT_TRUE(pair.connect(5_s));
  pair.exchange(uint64_t{32'768} * 4096, kRtt, 1_s);
  const uint64_t parity_before = pair.span_a->counters().parity_sent;
  const MessageTimes times = pair.exchange(c.datagrams * 4096, kRtt, 2_s);
  EXPECT_GE(ToSeconds(times.sender), testbed::LosslessSender(Theory(c)));
  EXPECT_LE(ToSeconds(times.sender), 1.03 * testbed::LosslessSender(Theory(c)));
  const double coded = 1.02 * 25e-3 * 400e9 / 8 / kWireBytes;  // datagrams in a round trip
  const auto parity = static_cast<double>(pair.span_a->counters().parity_sent - parity_before);
  EXPECT_LE(parity, coded * 10 / 128);
}

}  // namespace
}  // namespace farspan::test
