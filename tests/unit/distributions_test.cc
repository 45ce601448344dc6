// Distributions against closed forms and published values.
#include "emulator/base/distributions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/support/statistics.h"

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

// Counts of a million draws against the law of 0, 1, 2, ...
template <typename Count, typename Law>
testing::ChiSquareResult AgainstLaw(Count count, Law law) {
  std::vector<uint64_t> seen(200);
  std::vector<double> probabilities;
  for (int n = 0; n < 100; ++n) probabilities.push_back(law(n));
  for (uint64_t i = 0; i < 1'000'000; ++i) {
    ++seen[std::min<uint64_t>(static_cast<uint64_t>(count(Word(i))), seen.size() - 1)];
  }
  return testing::ChiSquare(seen, probabilities);
}

TEST(Geometric, FollowsItsLaw) {
  const auto law = [](int n) { return 0.2 * std::pow(0.8, n); };
  EXPECT_TRUE(AgainstLaw(Geometric(0.2), law).fits());
  EXPECT_FALSE(AgainstLaw(Geometric(0.203), law).fits());
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
    const auto law = [mean](int n) {
      return std::exp(-mean + n * std::log(mean) - std::lgamma(n + 1.0));
    };
    EXPECT_TRUE(AgainstLaw(PoissonCount(mean), law).fits()) << mean;
    const PoissonCount wrong(mean == 4 ? 3.98 : mean * 1.05);
    EXPECT_FALSE(AgainstLaw(wrong, law).fits()) << mean;
  }
  EXPECT_EQ(PoissonCount(0)(~0ull - 1), 0);
  EXPECT_EQ(PoissonCount(4)(~0ull), PoissonCount::kMax);
}

}  // namespace
}  // namespace farspan
