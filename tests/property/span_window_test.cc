// Windows of long fat paths, and numbers that wrap while they are full: lengths only.
//
// 400 Gb/s and 25 ms hold 305,000 datagrams in flight; each case sends more than that, so that
// packet numbers (32 bits on the wire), messages (16 bits) and rings wrap under load.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/link_support.h"
#include "tests/support/span_pair.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;

struct WindowCase {
  const char* recovery;
  double loss;
  uint32_t paths;
  uint32_t first_number;
};

class SpanWindow : public testing::TestWithParam<WindowCase> {};

TEST_P(SpanWindow, HoldsABandwidthDelayProductAndWraps) {
  const WindowCase& c = GetParam();
  PairOptions options;
  options.config.recovery = c.recovery;
  options.config.lengths_only = true;
  options.config.controller.rate = {400'000'000'000u / c.paths};
  options.config.window_packets = 1u << 19;
  options.config.first_number = c.first_number;
  options.config.first_message = 65'535;
  options.config.max_connections = 1;
  options.there = options.back = Plain(400_gbps, 12'500'000_ns);
  for (auto* direction : {&options.there, &options.back}) {
    direction->lanes[0].loss.kind = link::LossKind::kBernoulli;
    direction->lanes[0].loss.probability = c.loss;
  }
  options.capacity.packets = 700'000;
  options.paths = c.paths;
  options.sim.granularity = 5_us;
  SpanPair pair(options);
  ASSERT_TRUE(pair.connect(5_s));
  constexpr uint64_t kDatagrams = 350'000;
  const MessageTimes times = pair.exchange(kDatagrams * 4096, 25_ms, 20_s);
  ASSERT_NE(times.sender, kNever);
  // Never faster than the wire; without a repair outside injection where there is parity for it.
  const double wire = kDatagrams * 4194.0 * 8 / 400e9;
  EXPECT_GE(ToSeconds(times.receiver), wire + 12.5e-3 - 1e-6);
  const double rounds = std::string(c.recovery) == "sr" ? 4 * 25e-3 : 0;
  EXPECT_LE(ToSeconds(times.sender), 1.1 * wire + 25e-3 + rounds);
  const auto& counters = pair.span_a->counters();
  EXPECT_EQ(counters.data_sent, kDatagrams);
  EXPECT_EQ(counters.stalls, 0u);
  EXPECT_EQ(pair.network.counters(pair.there)
                .dropped_packets[static_cast<size_t>(link::Cause::kStoreFull)],
            0u);
  // A second one, whose number has wrapped.
  EXPECT_NE(pair.exchange(1'000'000, 25_ms, 5_s).sender, kNever);
}

// 20 of them: every recovery that fills a long path, one path and several, numbers about to wrap.
std::vector<WindowCase> Cases() {
  std::vector<WindowCase> cases;
  for (const char* recovery : {"sr", "ec", "auto"}) {
    for (const double loss : {0.0, 1e-4, 1e-3}) {
      for (const uint32_t paths : {1u, 4u}) {
        cases.push_back({recovery, loss, paths, paths == 1 ? ~0u - 100'000 : ~0u - 10'000});
      }
    }
  }
  cases.push_back({"gbn", 0.0, 1, ~0u - 200'000});
  cases.push_back({"auto", 1e-2, 1, ~0u});
  return cases;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kSample = 7;
#else
constexpr size_t kSample = 1;
#endif

std::vector<WindowCase> Sample() {
  std::vector<WindowCase> sample;
  for (size_t i = 0; i < Cases().size(); i += kSample) sample.push_back(Cases()[i]);
  return sample;
}

INSTANTIATE_TEST_SUITE_P(Paths, SpanWindow, testing::ValuesIn(Sample()));

}  // namespace
}  // namespace farspan::test
