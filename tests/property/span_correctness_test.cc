// Every byte once, in posting order, whatever the link does: random scenarios in virtual time, for
// every recovery and every controller, each run twice with equal traces.
//
// FARSPAN_SEED=n runs that one alone, FARSPAN_CASES=n as many per recovery and controller,
// FARSPAN_FIRST=n those from n on.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>

#include "tests/support/span_scenario.h"

namespace farspan::test {
namespace {

uint64_t Setting(const char* name, uint64_t usual) {
  const char* text = std::getenv(name);
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

constexpr uint64_t kWholeCases = 500;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kCases = 12;
#else
constexpr uint64_t kCases = kWholeCases;
#endif

void Check(uint64_t seed) {
  const SpanScenario scenario = RandomScenario(seed);
  SCOPED_TRACE("FARSPAN_SEED=" + std::to_string(seed) + ": " + Describe(scenario));
  const ScenarioResult first = RunScenario(scenario);
  EXPECT_EQ(first.failure, "");
  const ScenarioResult second = RunScenario(scenario);
  EXPECT_EQ(first.hash, second.hash);
}

class SpanCorrectness : public testing::TestWithParam<uint64_t> {};

TEST_P(SpanCorrectness, EveryByteOnceAndInOrder) {
  const char* only = std::getenv("FARSPAN_SEED");
  if (only != nullptr) {
    const uint64_t seed = std::strtoull(only, nullptr, 10);
    if (seed % kPairs == GetParam()) Check(seed);
    return;
  }
  const uint64_t first = Setting("FARSPAN_FIRST", 0) / kPairs;
  const uint64_t cases = Setting("FARSPAN_CASES", kCases);
  for (uint64_t i = first; i < first + cases && !HasFailure(); ++i) Check(GetParam() + kPairs * i);
}

// What the 10,000 meet, of which each runs above; without it they would say little.
TEST(SpanScenarios, BringEveryImpairmentToEveryPair) {
  for (uint64_t pair = 0; pair < kPairs; ++pair) {
    std::array<uint64_t, 8> met{};
    for (uint64_t i = 0; i < kWholeCases; ++i) {
      const Impairments had = ImpairmentsOf(RandomScenario(pair + kPairs * i));
      const std::array<bool, 7> each{had.loss,       had.bursts, had.reordering, had.duplication,
                                     had.corruption, had.outage, had.rehash};
      for (size_t k = 0; k < each.size(); ++k) met[k] += each[k] ? 1 : 0;
      met[7] += std::count(each.begin(), each.end(), false) == 0 ? 1 : 0;
    }
    for (size_t k = 0; k < 7; ++k) EXPECT_GE(met[k], 30u) << "pair " << pair << ", " << k;
    EXPECT_GE(met[7], 10u) << "pair " << pair;
    EXPECT_LE(*std::max_element(met.begin(), met.end()), kWholeCases * 9 / 10) << "pair " << pair;
  }
}

// Round trips far shorter than the time between two departures, as on a loopback: an answer finds
// groups of which some blocks have left whole and others have not. (It once freed a block twice.)
TEST(SpanGroups, AnswersThatComeBetweenTheSymbolsOfAGroup) {
  for (uint64_t seed = 1; seed <= 400 && !HasFailure(); ++seed) {
    SpanScenario scenario = RandomScenario(seed, 500);
    scenario.pair.config.recovery = "ec";
    scenario.pair.config.policy.block_data = 4;
    scenario.round_trips_count = false;
    for (link::DirectionSpec* direction : {&scenario.pair.there, &scenario.pair.back}) {
      direction->timeline.clear();
      for (link::LaneSpec& lane : direction->lanes) {
        lane.path.delay = TimeNs{100};
        lane.rate = Rate{50'000'000};
        lane.loss = {};
        lane.loss.kind = link::LossKind::kBernoulli;
        lane.loss.keying = link::Keying::kPacket;
        lane.loss.probability = 0.3;
      }
    }
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + Describe(scenario));
    EXPECT_EQ(RunScenario(scenario).failure, "");
  }
}

INSTANTIATE_TEST_SUITE_P(Pairs, SpanCorrectness, testing::Range<uint64_t>(0, kPairs));

}  // namespace
}  // namespace farspan::test
