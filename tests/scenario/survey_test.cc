// The survey's rows: they pass for a link that is what was asked for, and fail for one that is not.
#include "emulator/survey/survey.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "emulator/survey/interval.h"
#include "emulator/survey/rows.h"

namespace farspan::survey {
namespace {

using namespace farspan::literals;

// 1,000 km, 100 Mb/s, 20 ms of queue: the quickstart's.
SurveySpec Quickstart() {
  SurveySpec spec;
  spec.ab.lanes[0].path.length = 1000_km;
  spec.ab.lanes[0].rate = 100_mbps;
  spec.ab.bottleneck.classes[0].limit.time = 20_ms;
  spec.ba = spec.ab;
  return spec;
}

void Both(SurveySpec& spec, const std::function<void(link::DirectionSpec&)>& change) {
  change(spec.ab);
  change(spec.ba);
}

struct Case {
  const char* name;
  std::function<void(link::DirectionSpec&)> change;
  const char* row;  // that must fail where the link has the change and the asked has not
};

const Case kCases[] = {
    {"nothing", [](auto&) {}, nullptr},
    {"length", [](auto& d) { d.lanes[0].path.length.mm += 1'000'000; }, "delay"},
    {"delay", [](auto& d) { d.lanes[0].path.delay += TimeNs{1}; }, "RTT"},
    {"rate", [](auto& d) { d.lanes[0].rate.bits_per_s = 99'000'000; }, "rate"},
    {"overhead", [](auto& d) { d.bottleneck.overhead_bytes = 20; }, "delay"},
    {"bernoulli",
     [](auto& d) {
       d.lanes[0].loss.kind = link::LossKind::kBernoulli;
       d.lanes[0].loss.probability = 1e-3;
     },
     "loss"},
    {"bernoulli in wire time",
     [](auto& d) {
       d.lanes[0].loss.kind = link::LossKind::kBernoulli;
       d.lanes[0].loss.keying = link::Keying::kWireTime;
       d.lanes[0].loss.probability = 1e-3;
     },
     "loss"},
    {"bursts",
     [](auto& d) {
       d.lanes[0].loss.kind = link::LossKind::kGilbertElliott;
       d.lanes[0].loss.ge_p = 1e-3;
       d.lanes[0].loss.ge_r = 0.1;
     },
     "loss"},
    {"bit errors",
     [](auto& d) {
       d.lanes[0].loss.kind = link::LossKind::kBitError;
       d.lanes[0].loss.bit_error_rate = 1e-7;
     },
     "loss"},
    {"jitter", [](auto& d) { d.jitter.deviation = 200_us; }, "jitter"},
    {"uniform jitter",
     [](auto& d) {
       d.jitter.deviation = 50_us;
       d.jitter.distribution = link::JitterDistribution::kUniform;
     },
     "jitter"},
    {"reordering jitter",
     [](auto& d) {
       d.jitter.deviation = 200_us;
       d.jitter.reorder = true;
     },
     "reordered"},
    {"duplicates", [](auto& d) { d.duplicate = 0.01; }, "duplicated"},
    {"corruption", [](auto& d) { d.corrupt = 0.01; }, "corrupted"},
};

class Survey : public ::testing::TestWithParam<Case> {};

std::vector<std::string> Failing(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  for (const Row& row : rows) {
    if (!row.pass()) names.push_back(row.name);
  }
  return names;
}

TEST_P(Survey, PassesForTheLinkAskedForAndFailsForAnother) {
  SurveySpec changed = Quickstart();
  Both(changed, GetParam().change);
  const auto report = RunSurvey(changed);
  ASSERT_TRUE(report.has_value()) << report.error().text();
  const std::vector<Row> rows = Judge(changed, *report);
  EXPECT_TRUE(AllPass(rows)) << TableText(rows);
  EXPECT_EQ(rows.size(), 17u);
  if (GetParam().row == nullptr) return;
  const auto failing = Failing(Judge(Quickstart(), *report));
  EXPECT_TRUE(std::any_of(failing.begin(), failing.end(), [&](const std::string& name) {
    return name.rfind(GetParam().row, 0) == 0;
  })) << TableText(Judge(Quickstart(), *report));
}

INSTANTIATE_TEST_SUITE_P(Links, Survey, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return "case" + std::to_string(info.index); });

TEST(SurveyRows, WithoutABottleneckAndWithEvents) {
  SurveySpec spec = Quickstart();
  Both(spec, [](auto& d) { d.lanes[0].rate = {}; });
  auto report = RunSurvey(spec);
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(AllPass(Judge(spec, *report)));
  EXPECT_EQ(Judge(spec, *report).size(), 15u) << "no rate rows";

  spec.ab.timeline.push_back({.at = 1_s, .change = link::SetPath{.path = {.delay = 1_ms}}});
  report = RunSurvey(spec);
  ASSERT_TRUE(report.has_value());
  const auto rows = Judge(spec, *report);
  EXPECT_TRUE(AllPass(rows));
  EXPECT_FALSE(rows[0].asked.has_value()) << "a link that changes is reported, not judged";
  EXPECT_TRUE(rows.back().asked.has_value()) << "its other direction does not change";

  spec.ab.timeline[0].at = 3600_s;
  EXPECT_TRUE(Judge(spec, *RunSurvey(spec))[0].asked.has_value()) << "long after the survey";
}

TEST(SurveyRows, JudgeTheLaneThatTheFlowTakes) {
  SurveySpec spec = Quickstart();
  Both(spec, [](auto& d) {
    d.lanes.resize(3, d.lanes[0]);
    d.lanes[0].path.length = 1100_km;
    d.lanes[0].rate = 50_mbps;
    d.lanes[2].path.length = 1200_km;
    d.lanes[2].rate = 200_mbps;
  });
  const auto rows = Judge(spec, *RunSurvey(spec));
  EXPECT_TRUE(AllPass(rows)) << TableText(rows);
  EXPECT_TRUE(rows[0].asked.has_value());
}

TEST(SurveyRows, AreTheSameTwiceAndOthersForAnotherSeed) {
  SurveySpec spec = Quickstart();
  Both(spec, [](auto& d) { d.jitter.deviation = 200_us; });
  const auto once = TableJson(Judge(spec, *RunSurvey(spec)), spec.seed);
  EXPECT_EQ(once, TableJson(Judge(spec, *RunSurvey(spec)), spec.seed));
  SurveySpec other = spec;
  other.seed = 2;
  EXPECT_NE(TableText(Judge(spec, *RunSurvey(spec))), TableText(Judge(other, *RunSurvey(other))));
}

TEST(SurveyRows, JsonSaysWhatItIs) {
  const SurveySpec spec = Quickstart();
  const auto json = nlohmann::json::parse(TableJson(Judge(spec, *RunSurvey(spec)), spec.seed));
  EXPECT_EQ(json["schema"], "farspan.simulate.v1");
  EXPECT_EQ(json["label"], "virtual");
  EXPECT_EQ(json["pass"], true);
  EXPECT_EQ(json["rows"][0]["unit"], "ms");
  EXPECT_DOUBLE_EQ(json["rows"][0]["asked"], 2 * (4.897388 + 0.00976));
}

// Tabulated: Clopper-Pearson for 0 of n is 1 - 0.0005^(1/n); for 5 of 10 at 99.9 % 0.0903 to 0.9097
// (by the incomplete beta function's definition, in exact arithmetic).
TEST(Intervals, OfAProportion) {
  EXPECT_EQ(ProportionInterval(0, 1'000).low, 0);
  EXPECT_NEAR(ProportionInterval(0, 1'000).high, 1 - std::pow(0.0005, 1e-3), 1e-12);
  EXPECT_NEAR(ProportionInterval(1'000, 1'000).low, std::pow(0.0005, 1e-3), 1e-12);
  EXPECT_EQ(ProportionInterval(1'000, 1'000).high, 1);
  const Interval half = ProportionInterval(5, 10);
  EXPECT_NEAR(half.low + half.high, 1, 1e-12);
  double below = 0;  // P(X >= 5 | low) is the tail
  for (int k = 5; k <= 10; ++k) {
    const double ways = std::tgamma(11) / std::tgamma(k + 1) / std::tgamma(11 - k);
    below += ways * std::pow(half.low, k) * std::pow(1 - half.low, 10 - k);
  }
  EXPECT_NEAR(below, 0.0005, 1e-9);
}

TEST(Intervals, OfAMeanKnowCorrelation) {
  std::vector<double> constant(1'000, 7.0);
  EXPECT_EQ(MeanInterval(constant).low, 7.0);
  EXPECT_EQ(MeanInterval(constant).high, 7.0);
  // Blocks of 32: means 0 and 1 alternate; error sqrt(0.25 x 32/31 / 32), t(31) at 0.9995 3.633.
  std::vector<double> blocks;
  for (int i = 0; i < 32 * 50; ++i) blocks.push_back(i / 50 % 2);
  EXPECT_NEAR(MeanInterval(blocks).high, 0.5 + 3.633 * std::sqrt(0.25 / 31), 1e-4);
}

}  // namespace
}  // namespace farspan::survey
