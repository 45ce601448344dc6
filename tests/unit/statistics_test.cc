// What is said of samples: known values, and intervals that hold the truth as often as promised.
#include "transports/testbed/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "emulator/base/distributions.h"
#include "emulator/base/random.h"

namespace farspan::testbed {
namespace {

TEST(Statistics, KnownValues) {
  const Summary summary = Summarise({1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  EXPECT_DOUBLE_EQ(summary.mean, 5.5);
  // s = 3.02765, t(9, 97.5 %) = 2.26216: reach 2.16585.
  EXPECT_NEAR(summary.mean_interval->high, 7.66585, 1e-4);
  EXPECT_NEAR(summary.mean_interval->low, 3.33415, 1e-4);
  EXPECT_EQ(summary.p50->value, 5);
}

TEST(Statistics, AQuantileNeedsItsSamples) {
  std::vector<double> samples(9'999);
  std::iota(samples.begin(), samples.end(), 1.0);
  const auto of = [&](size_t n) { return Summarise({samples.begin(), samples.begin() + n}); };
  EXPECT_FALSE(of(1).mean_interval);
  EXPECT_TRUE(of(2).mean_interval);
  EXPECT_FALSE(of(9).p50);
  EXPECT_FALSE(of(999).p99);
  ASSERT_TRUE(of(1'000).p99);
  EXPECT_EQ(of(1'000).p99->value, 990);
  EXPECT_FALSE(of(9'999).p999);
  samples.push_back(10'000);
  ASSERT_TRUE(of(10'000).p999);
  EXPECT_EQ(of(10'000).p999->value, 9'990);
}

// Of 2,000 experiments, 95 % must hold the truth; an interval half as wide is the twin that fails.
TEST(Statistics, IntervalsHoldTheTruthAsOftenAsTheySay) {
  constexpr int kRuns = 2'000, kSamples = 1'000;
  int mean = 0, half = 0, p99 = 0;
  const double true_p99 = -std::log(0.01);  // of an exponential with mean 1
  for (int run = 0; run < kRuns; ++run) {
    std::vector<double> samples;
    for (int i = 0; i < kSamples; ++i) {
      const RandomWords words = Draw({7}, RandomPurpose::kTest, uint64_t(run) * kSamples + i);
      samples.push_back(-std::log(ToUnit(words.lo)));
    }
    const Summary summary = Summarise(std::move(samples));
    const auto holds = [](const Estimate& e, double truth) {
      return e.low <= truth && truth <= e.high;
    };
    mean += holds(*summary.mean_interval, 1);
    const double reach = (summary.mean_interval->high - summary.mean) / 2;
    half += std::abs(summary.mean - 1) <= reach;
    p99 += holds(*summary.p99, true_p99);
  }
  EXPECT_NEAR(mean, 0.95 * kRuns, 45);  // 4.6 standard deviations
  EXPECT_LT(half, 0.75 * kRuns);
  EXPECT_GE(p99, 0.95 * kRuns - 45);  // of order statistics: at least
  EXPECT_LE(p99, 0.985 * kRuns);
}

}  // namespace
}  // namespace farspan::testbed
