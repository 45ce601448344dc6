// PoissonTrain: random access agrees with a plain list of the points; counts follow the law.
#include "emulator/link/poisson_train.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/support/statistics.h"

namespace farspan::link {
namespace {

constexpr StreamKey kKey{9};

PoissonTrain Train(double rate, uint32_t stream = 0) {
  return PoissonTrain(kKey, RandomPurpose::kTest, 1, stream, rate);
}

std::vector<Instant> Points(PoissonTrain train, int64_t from, int64_t to) {
  std::vector<Instant> points;
  Instant at{from, 0};
  while (true) {
    const auto [next, found] = train.first(at, {to, 0});
    if (next.ns >= to) return points;
    if (found) points.push_back(next);
    at = found ? next.next() : next;
  }
}

TEST(Instant, CarriesFractions) {
  const Instant half{1, uint64_t{1} << 63};
  EXPECT_EQ(half + half, (Instant{3, 0}));
  EXPECT_EQ((Instant{3, 0} - half), half);
  EXPECT_EQ((Instant{-1, UINT64_MAX}.next()), (Instant{0, 0}));
  EXPECT_EQ((Instant{0, 5} - Instant{1, 7}), (Instant{-2, UINT64_MAX - 1}));
  EXPECT_LT((Instant{1, UINT64_MAX}), (Instant{2, 0}));
  EXPECT_EQ(InstantFromNs(2.25), (Instant{2, uint64_t{1} << 62}));
}

TEST(PoissonTrain, FindsFirstAndLastAnywhere) {
  for (const double rate : {4.0, 1.0, 0.03, 0.001}) {
    const auto points = Points(Train(rate), -50'000, 50'000);
    ASSERT_TRUE(std::is_sorted(points.begin(), points.end()));
    PoissonTrain train = Train(rate);
    for (int64_t t = -20'000; t < 20'000; t += 37) {
      const Instant at{t, static_cast<uint64_t>(t) << 40};
      const auto after = std::lower_bound(points.begin(), points.end(), at);
      const auto [next, found] = train.first(at, {50'000, 0});
      ASSERT_TRUE(found);
      EXPECT_EQ(next, *after) << t << " at rate " << rate;
      EXPECT_EQ(train.last(*after), *after);
      EXPECT_EQ(train.last(at), *std::prev(after)) << t;
    }
  }
}

TEST(PoissonTrain, LooksNoFurtherThanAsked) {
  PoissonTrain rare = Train(1e-9);
  const auto [at, found] = rare.first({0, 0}, {10, 0});
  EXPECT_GE(at, (Instant{10, 0}));
  EXPECT_LE(at.ns, found ? INT64_MAX : 1'000'000'001);
  PoissonTrain none;
  EXPECT_TRUE(none.empty());
  EXPECT_FALSE(none.first({0, 0}, {10, 0}).found);
}

// Counts in windows that do not fit the cells; and the same in the places of the fractions.
TEST(PoissonTrain, CountsFollowTheLaw) {
  for (const double rate : {2.7, 0.2, 0.004}) {
    const double mean = 2.5;
    const int64_t window = std::max<int64_t>(1, std::llround(mean / rate));
    const auto windows = static_cast<int64_t>(testing::Tries(200'000));
    const auto points = Points(Train(rate), 0, window * windows);
    std::vector<uint64_t> in_window(windows);
    std::vector<uint64_t> fractions(16);
    for (const Instant& p : points) {
      ++in_window[p.ns / window];
      ++fractions[p.fraction >> 60];
    }
    std::vector<uint64_t> seen(60);
    for (const uint64_t n : in_window) ++seen[std::min<uint64_t>(n, 59)];
    const auto law = [&](double wrong) {
      std::vector<double> probabilities(60);
      const double m = rate * static_cast<double>(window) * wrong;
      for (int n = 0; n < 60; ++n) {
        probabilities[n] = std::exp(-m + n * std::log(m) - std::lgamma(n + 1.0));
      }
      return probabilities;
    };
    EXPECT_TRUE(testing::ChiSquare(seen, law(1)).fits()) << rate;
    EXPECT_FALSE(testing::ChiSquare(seen, law(testing::Twin(1.03))).fits()) << rate;
    EXPECT_TRUE(testing::ChiSquare(fractions, std::vector<double>(16, 1 / 16.0)).fits()) << rate;
  }
}

TEST(PoissonTrain, StreamsAreUnrelated) {
  const auto a = Points(Train(0.01, 0), 0, 100'000);
  const auto b = Points(Train(0.01, 1), 0, 100'000);
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace farspan::link
