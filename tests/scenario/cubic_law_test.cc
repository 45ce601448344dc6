// The TCP model under CUBIC against RFC 9438's closed form and, where loss is random and no closed
// form holds, against the law written down once more.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "emulator/base/random.h"
#include "tests/support/endpoint_pair.h"
#include "tests/support/link_support.h"
#include "tests/support/tcp_flow.h"
#include "transports/baselines/model_endpoint.h"
#include "transports/congestion/controllers.h"
#include "transports/testbed/theory.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;

constexpr double kC = 0.4, kBeta = 0.7, kReno = 3 * (1 - kBeta) / (1 + kBeta);

// RFC 9438, packet by packet: growth for an RTT after a loss, until it is known; then the cut, and
// an RTT of recovery. Reno's window grows by kReno per RTT for ever, as in Linux.
double LawWindow(double rtt_s, double loss, int losses, uint64_t seed) {
  double window = testbed::CubicWindow(rtt_s, loss), reno = window, most = window;
  double now = 0, react_at = 1e300, grow_from = 0;
  const auto packets = static_cast<uint64_t>(losses / loss);
  for (uint64_t n = 0; n < packets; ++n) {
    now += rtt_s / window;
    if (now >= react_at) {
      most = window < most ? window * (1 + kBeta) / 2 : window;
      window = reno = kBeta * window;
      grow_from = react_at + rtt_s;
      react_at = 1e300;
    }
    const bool lost = ToUnit(Draw({seed}, RandomPurpose::kTest, n).lo) < loss;
    if (lost && react_at == 1e300 && now >= grow_from - rtt_s) react_at = now + rtt_s;
    if (now < grow_from) continue;
    const double from_most = now - grow_from + rtt_s - std::cbrt((most - kBeta * most) / kC);
    reno += kReno / window;
    const double cubic = std::min(kC * std::pow(from_most, 3) + most, 1.5 * window);
    window = std::max({window + std::max(0.0, cubic - window) / window, reno});
  }
  return static_cast<double>(packets) * rtt_s / now;
}

// The form knows neither the round trip of recovery nor fast convergence: what it leaves out takes
// a few percent (at 20 ms and 1e-4: 1.7 in 300 losses), most of it where a run is short.
TEST(CubicLaw, PeriodicLossGivesTheMeanWindowOfTheRfc) {
  for (const auto& [rtt, loss] : {std::pair{100_ms, 3e-4}, {100_ms, 1e-3}, {10_ms, 1e-3}}) {
    const double law = testbed::CubicWindow(ToSeconds(rtt), loss);
    const double window = MeanWindow({.rtt = rtt, .loss = loss, .losses = 60});
    EXPECT_GE(window, 0.87 * law) << ToText(rtt) << " " << loss;
    EXPECT_LE(window, 1.01 * law) << ToText(rtt) << " " << loss;
  }
}

TEST(CubicLaw, RandomLossGivesWhatTheLawGives) {
  for (const auto& [rtt, loss] : {std::pair{100_ms, 1e-3}, {20_ms, 1e-3}}) {
    const double law = LawWindow(ToSeconds(rtt), loss, 1'000, 1);
    const double window = MeanWindow({.rtt = rtt, .loss = loss, .random = true, .losses = 150});
    EXPECT_NEAR(window, law, 0.08 * law) << ToText(rtt) << " " << loss;
  }
}

// As Linux does it: without a loss, although the queue holds no more than the path.
TEST(CubicLaw, SlowStartEndsBeforeTheQueueIsFull) {
  transport::RegisterControllers();
  baselines::ModelConfig config;
  config.model = "tcp";
  config.congestion = "cubic";
  config.payload_bytes = 1448;
  config.lengths_only = true;
  WireOptions wire;
  wire.there = wire.back = Plain(100_mbps, 10_ms);
  wire.there.bottleneck.classes[0].limit.time = 20_ms;
  auto sender = Must(baselines::ModelEndpoint::Create(config));
  const baselines::ModelCounters& counters = sender->counters();
  EndpointPair pair(wire, std::move(sender), Must(baselines::ModelEndpoint::Create(config)));
  ASSERT_TRUE(pair.connect(1_s));
  const double took = ToSeconds(pair.exchange(3'000'000, 20_ms, 5_s).receiver);
  EXPECT_EQ(counters.data_resent, 0u);
  EXPECT_GE(took, 3e6 * 8 / 100e6 * 1538 / 1448);
  EXPECT_LE(took, 0.4);  // 0.15 s more: five round trips of slow start, and its end too early
}

}  // namespace
}  // namespace farspan::test
