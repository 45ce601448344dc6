// Two flows of Span over one bottleneck of 1 Gb/s, 20 ms and a queue of one such product.
//
// Seed-free: nothing here is random but the controllers' own choices. tests/bench/span_fairness
// prints the same for unequal round trips, where nothing is asked for.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/shared_bottleneck.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;

struct Share {
  double first = 0, second = 0;  // payload, bits/s
};

Share Measure(SharedBottleneck& network, TimeNs from, TimeNs to) {
  network.run_until(from);
  const uint64_t a = network.delivered(0), b = network.delivered(1);
  network.run_until(to);
  const double bits = 8 / ToSeconds(to - from);
  return {static_cast<double>(network.delivered(0) - a) * bits,
          static_cast<double>(network.delivered(1) - b) * bits};
}

class EqualFlows : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Span, EqualFlows, testing::Values("bbr", "cubic", "swift"));

TEST_P(EqualFlows, ShareTheBottleneckAndFillIt) {
  SharedBottleneck network({});
  network.add(GetParam(), 20_ms);
  network.add(GetParam(), 20_ms);
  const Share share = Measure(network, 4_s, 16_s);
  EXPECT_GE(JainIndex(share.first, share.second), 0.98) << share.first << " " << share.second;
  // Payload's part of the wire is 4096 of 4194 bytes.
  const double most = 1e9 * 4096 / 4194;
  EXPECT_GE(share.first + share.second, 0.93 * most);
  EXPECT_LE(share.first + share.second, 1.001 * most);
}

// The lab's link: 200 Mb/s, 20 ms, a queue of one round trip, datagrams for an MTU of 1500. Where
// everything stands still for longer than a round trip once a second, Span takes back what it does
// about the silence, and TCP waits for 200 ms before it does anything.
struct Beside {
  TimeNs stall;
  double least, most;  // Span's part
};
class BesideTcp : public testing::TestWithParam<Beside> {};
INSTANTIATE_TEST_SUITE_P(Span, BesideTcp,
                         testing::Values(Beside{0_ms, 0.15, 0.6}, Beside{25_ms, 0.3, 0.7}));

TEST_P(BesideTcp, CubicDoesNotStarveBesideTheKernels) {
  SharedBottleneck network({200_mbps, 10_ms, 500'000, 1'408, GetParam().stall});
  network.add_tcp("cubic", 20_ms);
  network.add("cubic", 20_ms);
  const Share share = Measure(network, 5_s, 30_s);
  const double sum = share.first + share.second;
  EXPECT_GE(sum, 0.85 * 200e6);
  EXPECT_LE(sum, 200e6);
  EXPECT_GE(share.second, GetParam().least * sum) << share.first << " " << share.second;
  EXPECT_LE(share.second, GetParam().most * sum) << share.first << " " << share.second;
}

// The twin: what does not react takes what it asks for, and the index says so.
TEST(UnequalFlows, AFlowThatIgnoresLossTakesMore) {
  SharedBottleneck network({});
  network.add("fixed", 20_ms, 900_mbps);
  network.add("cubic", 20_ms);
  const Share share = Measure(network, 4_s, 8_s);
  EXPECT_GE(share.first, 0.8e9);
  EXPECT_LT(JainIndex(share.first, share.second), 0.8);
}

}  // namespace
}  // namespace farspan::test
