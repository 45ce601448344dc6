// Distributions against closed forms and published values.
#include "emulator/base/distributions.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace farspan {
namespace {

constexpr StreamKey kKey{0x0123456789abcdef};

uint64_t Word(uint64_t i) { return Draw(kKey, RandomPurpose::kTest, i).lo; }

TEST(NormalQuantile, HasPublishedValues) {
  // Abramowitz and Stegun, table 26.1 and 26.5; Wichura's own check values.
  EXPECT_NEAR(NormalQuantile(0.25), -0.6744897501960817, 1e-15);
  EXPECT_NEAR(NormalQuantile(0.001), -3.090232306167814, 1e-14);
  EXPECT_NEAR(NormalQuantile(1e-20), -9.262340089798408, 1e-13);
  EXPECT_EQ(NormalQuantile(0.5), 0);
  EXPECT_NEAR(NormalQuantile(0.975), 1.959963984540054, 1e-14);
}

TEST(NormalQuantile, InvertsTheDistributionFunction) {
  for (double x = -8; x <= 5; x += 0.001) {
    ASSERT_NEAR(NormalQuantile(NormalCdf(x)), x, 1e-9) << x;  // near 1, doubles are the limit
  }
  EXPECT_NEAR(NormalCdf(-8), 6.220960574271785e-16, 1e-29);
}

TEST(Exponential, HasMeanAndVarianceOne) {
  constexpr int kCount = 1'000'000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kCount; ++i) {
    const double x = Exponential(Word(i));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kCount, 1, 3.3 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 2, 3.3 * std::sqrt(20.0 / kCount));  // E x^4 - (E x^2)^2 = 20
}

// Chi-square against the law, its 99.9 % quantile by Wilson and Hilferty.
double ChiSquareLimit(double degrees) {
  const double h = 2 / (9 * degrees);
  return degrees * std::pow(1 - h + 3.0902 * std::sqrt(h), 3);
}

double ChiSquare(const std::vector<double>& seen, const std::vector<double>& expected) {
  double sum = 0;
  for (size_t i = 0; i < seen.size(); ++i) {
    sum += (seen[i] - expected[i]) * (seen[i] - expected[i]) / expected[i];
  }
  return sum;
}

template <typename Count, typename Law>
double DistanceFromLaw(int classes, Count count, Law law) {
  constexpr int kDraws = 1'000'000;
  std::vector<double> seen(classes + 1);
  std::vector<double> expected(classes + 1);
  for (int i = 0; i < kDraws; ++i) {
    const auto value = static_cast<uint64_t>(count(Word(i)));
    ++seen[std::min<uint64_t>(value, classes)];
  }
  double left = 1;
  for (int n = 0; n < classes; left -= law(n), ++n) expected[n] = kDraws * law(n);
  expected[classes] = kDraws * left;
  return ChiSquare(seen, expected);
}

TEST(Geometric, FollowsItsLaw) {
  const auto law = [](int n) { return 0.2 * std::pow(0.8, n); };
  EXPECT_LT(DistanceFromLaw(40, Geometric(0.2), law), ChiSquareLimit(40));
  EXPECT_GT(DistanceFromLaw(40, Geometric(0.203), law), ChiSquareLimit(40));
}

TEST(Geometric, HasItsEnds) {
  for (uint64_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(Geometric(1)(Word(i)), 0u);
    EXPECT_EQ(Geometric(0)(Word(i)), Geometric::kNone);
    EXPECT_GT(Geometric(1e-15)(Word(i)), 1'000'000'000u);
  }
  EXPECT_EQ(Geometric(0.5)(0), 54u);  // ToUnit(0) = 2^-54
  EXPECT_EQ(Geometric(0.5)(~0ull), 0u);
}

TEST(PoissonCount, FollowsItsLaw) {
  for (const double mean : {0.01, 1.0, 4.0}) {
    const int classes = mean < 0.1 ? 2 : static_cast<int>(mean) + 6;
    const auto law = [mean](int n) {
      return std::exp(-mean + n * std::log(mean) - std::lgamma(n + 1.0));
    };
    EXPECT_LT(DistanceFromLaw(classes, PoissonCount(mean), law), ChiSquareLimit(classes)) << mean;
    const PoissonCount wrong(mean == 4 ? 3.98 : mean * 1.05);
    EXPECT_GT(DistanceFromLaw(classes, wrong, law), ChiSquareLimit(classes)) << mean;
  }
  EXPECT_EQ(PoissonCount(0)(~0ull - 1), 0);
  EXPECT_EQ(PoissonCount(4)(~0ull), PoissonCount::kMax);
}

}  // namespace
}  // namespace farspan
