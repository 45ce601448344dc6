// Jitter: mean, deviation and distribution as asked, in order and drawn; a process that depends on
// the key and on wire time alone.
#include "emulator/link/jitter.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "emulator/base/distributions.h"
#include "tests/support/statistics.h"

namespace farspan::link {
namespace {

using namespace farspan::testing;   // NOLINT(google-build-using-namespace)
using namespace farspan::literals;  // NOLINT(google-build-using-namespace)
using enum JitterDistribution;

constexpr StreamKey kKey{0x5eed};
constexpr int64_t kDeviation = 20'000;
constexpr int64_t kTau = 10 * kDeviation;
const std::vector<JitterDistribution> kClosed{kUniform, kNormal, kPareto, kParetoNormal};

JitterSpec Spec(JitterDistribution distribution, TimeNs deviation = {kDeviation}) {
  JitterSpec spec;
  spec.deviation = deviation;
  spec.distribution = distribution;
  return spec;
}

// --- The distributions, independently of the model: quantile of mean 0 and deviation 1 -----------

// Pareto of shape 3, cut at c = 4.5 (4 of tc's units): upper tail w, value min(w^(-1/3), c).
double CutPareto(double upper_tail) { return std::min(std::pow(upper_tail, -1.0 / 3), 4.5); }

double Shape(JitterDistribution distribution, double u) {
  switch (distribution) {
    case kUniform:
      return u;
    case kNormal:
      return NormalQuantile(u);
    case kPareto:
      return CutPareto(1 - u);
    default:
      return (NormalQuantile(u) + 4 * (CutPareto(1 - u) - 1.5)) / 4;
  }
}

struct Moments {
  double mean;
  double deviation;
};

Moments MomentsOf(JitterDistribution distribution) {
  if (distribution == kUniform) return {0.5, 1 / std::sqrt(12)};
  if (distribution == kNormal) return {0, 1};
  const double w = std::pow(4.5, -3);  // the tail that is cut
  const double mean = 1.5 * (1 - std::pow(w, 2.0 / 3)) + 4.5 * w;
  const double square = 3 * (1 - std::cbrt(w)) + 4.5 * 4.5 * w;
  if (distribution == kPareto) return {mean, std::sqrt(square - mean * mean)};
  // (z + 4 (v - 1.5)) / 4; E z v = E dv/dz = integral of v'(u) phi(z(u)) du, in small steps.
  double product = 0;
  constexpr int kSteps = 1'000'000;
  for (int i = 0; i < kSteps; ++i) {
    const double u = (i + 0.5) / kSteps;
    product += NormalQuantile(u) * CutPareto(1 - u) / kSteps;
  }
  return {mean - 1.5, std::sqrt(1.0 / 16 + square - mean * mean + product / 2)};
}

// --- Mean and deviation ----------------------------------------------------------------------

struct Seen {
  Moments ordered;
  double clamped_mean;  // where departures that would overtake wait instead
  double clamped_share;
};

Seen Watch(JitterModel& model, int64_t spacing, int64_t duration) {
  double sum = 0;
  double squares = 0;
  double clamped = 0;
  int64_t clamps = 0;
  int64_t departed = INT64_MIN;
  for (int64_t t = 0; t < duration; t += spacing) {
    const int64_t jitter = model.ordered({t}).ns;
    sum += static_cast<double>(jitter);
    squares += static_cast<double>(jitter) * static_cast<double>(jitter);
    clamps += t + jitter < departed;
    departed = std::max(departed, t + jitter);
    clamped += static_cast<double>(departed - t);
  }
  const double n = static_cast<double>(duration) / static_cast<double>(spacing);
  const double mean = sum / n;
  return {
      {mean, std::sqrt(squares / n - mean * mean)}, clamped / n, static_cast<double>(clamps) / n};
}

constexpr int64_t kSpacing = kSanitized ? 20 * 83 : 83;
constexpr int64_t kDuration = 8'000'000'000;
// The mean over m nodes of the normal process has variance (4 / pi)^2 / m; mapped ones have less.
const double kMeanInterval = kInterval999 * kDeviation * 4 / std::numbers::pi *
                             std::sqrt(static_cast<double>(kTau) / kDuration);

class Ordered : public ::testing::TestWithParam<JitterDistribution> {};

TEST_P(Ordered, HasTheMeanAndDeviationAskedFor) {
  JitterModel model(Spec(GetParam()), kKey);
  const Seen seen = Watch(model, kSpacing, kDuration);
  ASSERT_LT(kMeanInterval, 1000);
  EXPECT_NEAR(seen.ordered.mean, 0, kMeanInterval);
  EXPECT_NEAR(seen.ordered.deviation, kDeviation, 0.03 * kDeviation);
  // Kept in order, it is still within a microsecond, and hardly anything waits.
  EXPECT_NEAR(seen.clamped_mean, 0, 1000);
  const bool heavy = GetParam() == kPareto || GetParam() == kParetoNormal;
  EXPECT_LT(seen.clamped_share, heavy ? 0.01 : 1e-5);
}

INSTANTIATE_TEST_SUITE_P(, Ordered, ::testing::ValuesIn(kClosed), [](const auto& info) {
  return "distribution" + std::to_string(static_cast<int>(info.param));
});

// Why not independent draws, clamped: the mean of what departs is far off.
TEST(InOrder, IsNotIndependentDrawsInOrder) {
  JitterModel model(Spec(kNormal), kKey);
  int64_t departed = INT64_MIN;
  double sum = 0;
  constexpr int64_t kPackets = 1'000'000;
  for (int64_t i = 0; i < kPackets; ++i) {
    departed = std::max(departed, i * 83 + model.drawn(static_cast<uint64_t>(i)).ns);
    sum += static_cast<double>(departed - i * 83);
  }
  EXPECT_GT(sum / kPackets, 2 * kDeviation);
}

TEST(InOrder, HasItsDeviationAtOtherScalesAndCorrelations) {
  for (const auto& [deviation, correlation] :
       std::vector<std::pair<int64_t, int64_t>>{{3, 0}, {500, 0}, {500, 100'000}, {5'000'000, 0}}) {
    JitterSpec spec = Spec(kNormal, {deviation});
    spec.correlation = {correlation};
    JitterModel model(spec, kKey);
    const int64_t tau = std::max(10 * deviation, correlation);
    const Seen seen = Watch(model, std::max<int64_t>(1, tau / 50), tau * 20'000);
    EXPECT_NEAR(seen.ordered.mean, 0, 0.05 * static_cast<double>(deviation)) << deviation;
    // Whole nanoseconds add 1/12 to the variance.
    EXPECT_NEAR(seen.ordered.deviation, std::hypot(deviation, std::sqrt(1.0 / 12)),
                0.03 * static_cast<double>(deviation));
  }
}

// Between t and t + tau the nodes in common leave cos x sin of the phase: 1 / pi on average; from 2
// tau on nothing is in common.
TEST(InOrder, ForgetsAfterTwoNodes) {
  JitterModel model(Spec(kNormal), kKey);
  const int64_t tau = (kTau + 63) / 64 * 64;
  double near = 0;
  double far = 0;
  constexpr int kCount = 200'000;
  for (int i = 0; i < kCount; ++i) {
    const int64_t t = int64_t{i} * (tau / 2 + 777);
    const double x = static_cast<double>(model.ordered({t}).ns) / kDeviation;
    near += x * static_cast<double>(model.ordered({t + tau}).ns) / kDeviation;
    far += x * static_cast<double>(model.ordered({t + 2 * tau}).ns) / kDeviation;
  }
  EXPECT_NEAR(near / kCount, 1 / std::numbers::pi, 0.02);
  EXPECT_NEAR(far / kCount, 0, 0.02);
}

// --- Distribution --------------------------------------------------------------------------------

// Chi-square over 64 equally likely classes of what `next` gives; `stretch` makes the law wrong.
template <typename Next>
ChiSquareResult AgainstLaw(JitterDistribution distribution, Next next, double stretch = 1) {
  constexpr int kClasses = 64;
  const Moments moments = MomentsOf(distribution);
  std::vector<double> edges;
  for (int i = 1; i < kClasses; ++i) {
    const double x =
        (Shape(distribution, static_cast<double>(i) / kClasses) - moments.mean) / moments.deviation;
    edges.push_back(x * stretch * kDeviation);
  }
  std::vector<uint64_t> seen(kClasses);
  for (uint64_t i = 0; i < Tries(1'000'000); ++i) {
    const double value = static_cast<double>(next(i));
    ++seen[std::upper_bound(edges.begin(), edges.end(), value) - edges.begin()];
  }
  return ChiSquare(seen, std::vector<double>(kClasses, 1.0 / kClasses));
}

class Marginal : public ::testing::TestWithParam<JitterDistribution> {};

TEST_P(Marginal, FitsInOrder) {
  JitterModel model(Spec(GetParam()), kKey);
  // More than two nodes apart, hence independent; at every phase between nodes.
  const auto next = [&](uint64_t i) {
    return model.ordered({static_cast<int64_t>(i) * (2 * kTau + 123'606)}).ns;
  };
  const ChiSquareResult fit = AgainstLaw(GetParam(), next);
  EXPECT_LE(fit.value, fit.limit) << "key " << kKey.value;
  EXPECT_FALSE(AgainstLaw(GetParam(), next, Twin(1.02)).fits());
}

TEST_P(Marginal, FitsWhenDrawn) {
  const JitterModel model(Spec(GetParam()), kKey);
  const auto next = [&](uint64_t i) { return model.drawn(i).ns; };
  const ChiSquareResult fit = AgainstLaw(GetParam(), next);
  EXPECT_LE(fit.value, fit.limit) << "key " << kKey.value;
  EXPECT_FALSE(AgainstLaw(GetParam(), next, Twin(1.02)).fits());
}

TEST_P(Marginal, HasDrawnMomentsAndNoMemory) {
  const JitterModel model(Spec(GetParam()), kKey);
  const uint64_t count = Tries(2'000'000);
  const double n = static_cast<double>(count);
  double sum = 0;
  double squares = 0;
  double products = 0;
  double last = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const double x = static_cast<double>(model.drawn(i).ns) / kDeviation;
    sum += x;
    squares += x * x;
    products += x * last;
    last = x;
  }
  EXPECT_NEAR(sum / n, 0, kInterval999 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, kInterval999 * std::sqrt(9 / n));  // kurtosis below 10
  EXPECT_NEAR(products / n, 0, kInterval999 / std::sqrt(n));
}

// The tabulated map against the exact quantile: the error that jitter.h states.
TEST_P(Marginal, IsMappedAsExactlyAsStated) {
  const double cut = NormalQuantile(1 - std::pow(4.5, -3));
  const JitterModel model(Spec(GetParam(), 10_s), kKey);
  const Moments moments = MomentsOf(GetParam());
  for (uint64_t i = 0; i < 100'000; ++i) {
    const double u = ToUnit(Draw(kKey, RandomPurpose::kJitter, i, 1).lo);
    const double exact = (Shape(GetParam(), u) - moments.mean) / moments.deviation;
    const bool at_cut = std::fabs(NormalQuantile(u) - cut) < 1.0 / 256;
    ASSERT_NEAR(static_cast<double>(model.drawn(i).ns) * 1e-10, exact, at_cut ? 0.007 : 1e-4) << u;
  }
}

INSTANTIATE_TEST_SUITE_P(, Marginal, ::testing::ValuesIn(kClosed), [](const auto& info) {
  return "distribution" + std::to_string(static_cast<int>(info.param));
});

TEST(Table, IsTakenAsItIs) {
  JitterSpec spec = Spec(kTable);
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < 4096; ++i) {  // a skewed table, mean and deviation its own
    const double u = (i + 0.5) / 4096;
    spec.table.push_back(static_cast<int16_t>(8192 * (3 * u * u - 0.5)));
    sum += spec.table.back() / 8192.0;
    squares += spec.table.back() / 8192.0 * spec.table.back() / 8192.0;
  }
  ASSERT_TRUE(Validate(spec));
  const double mean = sum / 4096;
  const double deviation = std::sqrt(squares / 4096 - mean * mean);
  JitterModel model(spec, kKey);
  const Seen seen = Watch(model, 10 * kSpacing, kDuration);
  EXPECT_NEAR(seen.ordered.mean, mean * kDeviation, kMeanInterval);
  EXPECT_NEAR(seen.ordered.deviation, deviation * kDeviation, 0.03 * kDeviation);
  for (uint64_t i = 0; i < 10'000; ++i) {
    EXPECT_GE(model.drawn(i).ns, -kDeviation / 2 - 1);
    EXPECT_LE(model.drawn(i).ns, kDeviation * 5 / 2);
  }
}

// --- A function of key and wire time -------------------------------------------------------------

RC_GTEST_PROP(JitterProcess, IsTheSameHoweverItIsAsked, ()) {
  JitterSpec spec = Spec(*rc::gen::elementOf(kClosed), {*rc::gen::inRange<int64_t>(1, 100'000)});
  spec.correlation = {*rc::gen::inRange<int64_t>(0, 2'000'000)};
  const StreamKey key{*rc::gen::arbitrary<uint64_t>()};
  const int64_t origin = *rc::gen::element<int64_t>(0, -5, 1'000'000'007);
  JitterModel steady(spec, key);
  JitterModel hopping(spec, key);
  JitterModel twice(spec, key);
  hopping.start_epoch({origin});
  for (int64_t t = 0; t < 100'000; t += 97) twice.ordered({t});
  twice.start_epoch({0});
  std::vector<int64_t> times(1000, 3'600'000'000'000);  // the last one after an idle hour
  for (int i = 0; i < 999; ++i) times[i] = *rc::gen::inRange<int64_t>(-1'000'000, 100'000'000);
  std::vector<int64_t> sorted = times;
  std::sort(sorted.begin(), sorted.end());
  std::vector<TimeNs> in_order(sorted.size());
  for (size_t i = 0; i < sorted.size(); ++i) in_order[i] = steady.ordered({sorted[i]});
  for (const int64_t t : times) {
    const auto at = std::lower_bound(sorted.begin(), sorted.end(), t) - sorted.begin();
    RC_ASSERT(hopping.ordered({origin + t}) == in_order[at]);
    RC_ASSERT(twice.ordered({t}) == in_order[at]);
  }
}

TEST(JitterProcess, DiffersByKey) {
  JitterModel a(Spec(kNormal), {1});
  JitterModel b(Spec(kNormal), {2});
  EXPECT_NE(a.ordered({5000}), b.ordered({5000}));
  EXPECT_NE(a.drawn(0), b.drawn(0));
}

TEST(JitterProcess, IsAbsentWithoutDeviation) {
  JitterModel model(JitterSpec{}, kKey);
  EXPECT_EQ(model.ordered(12345_ns), 0_ns);
  EXPECT_EQ(model.drawn(7), 0_ns);
}

// No jump from one nanosecond to the next, over nodes and chords: below deviation / tau x 8 sigma.
TEST(JitterProcess, IsContinuous) {
  for (const JitterDistribution distribution : kClosed) {
    JitterModel model(Spec(distribution, {10'000}), kKey);
    int64_t last = model.ordered({0}).ns;
    for (int64_t t = 1; t < 2'000'000; ++t) {
      const int64_t next = model.ordered({t}).ns;
      ASSERT_LE(std::abs(next - last), 3) << t;
      last = next;
    }
  }
}

TEST(JitterSpecCheck, SaysWhatIsWrong) {
  EXPECT_TRUE(Validate(JitterSpec{}));
  JitterSpec spec = Spec(kNormal, {-1});
  EXPECT_NE(Validate(spec).error().message.find("deviation"), std::string::npos);
  spec = Spec(kNormal, {10'000'000'001});
  EXPECT_FALSE(Validate(spec));
  spec = Spec(kNormal);
  spec.correlation = {-5};
  EXPECT_NE(Validate(spec).error().message.find("correlation"), std::string::npos);
  spec = Spec(kTable);
  spec.table = {1};
  EXPECT_NE(Validate(spec).error().message.find("table"), std::string::npos);
  spec.table = {-8192, 8192};
  EXPECT_TRUE(Validate(spec));
}

}  // namespace
}  // namespace farspan::link
