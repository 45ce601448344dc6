// The clock's arithmetic on synthetic samples: counters and references with known truth.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "emulator/base/seqlock.h"
#include "emulator/dpdk/clock.h"
#include "emulator/dpdk/spin_gaps.h"
#include "emulator/dpdk/stamp_check.h"

namespace farspan::dpdk {
namespace {

// A counter of `hz` beside a reference that starts at an arbitrary time; samples carry an error
// within their uncertainty.
class Truth {
 public:
  Truth(double hz, double uncertainty_ns) : hz_(hz), uncertainty_ns_(uncertainty_ns) {}

  uint64_t ticks(double seconds) const {
    return kTicksAtStart + static_cast<uint64_t>(std::llround(seconds * hz_));
  }
  ClockSample sample(double seconds) {
    std::uniform_real_distribution<double> error(-uncertainty_ns_, uncertainty_ns_);
    return {.ticks = ticks(seconds),
            .ns = kNsAtStart + std::llround(seconds * 1e9 + error(random_)),
            .uncertainty_ns = uncertainty_ns_ + 1};
  }

 private:
  static constexpr uint64_t kTicksAtStart = uint64_t{1} << 62;  // an old machine
  static constexpr int64_t kNsAtStart = 77'000'000'000'123;
  double hz_;
  double uncertainty_ns_;
  std::mt19937_64 random_{20260801};
};

TEST(ClockMap, IsExactOverDays) {
  // 2.5 GHz: 0.4 ns per tick; 30 days.
  const ClockMap map{
      .base_ticks = 1000, .base_ns = 5, .ns_per_tick_q48 = std::llround(std::ldexp(0.4, 48))};
  const uint64_t ticks = uint64_t{2'500'000'000} * 86'400 * 30;
  EXPECT_NEAR(static_cast<double>(map.at(1000 + ticks).ns), 30.0 * 86'400e9 + 5, 10);
  EXPECT_EQ(map.at(1000), TimeNs{5});
  EXPECT_EQ(map.at(1000 - 25), TimeNs{-5 - 1 + 1});  // before the base: floor(-10) + 5
}

class ClockAcrossCounters : public testing::TestWithParam<double> {};

TEST_P(ClockAcrossCounters, StaysWithinItsOwnBound) {
  Truth truth(GetParam(), 40);
  ClockDiscipline clock(truth.sample(0), truth.sample(1));
  for (int i = 1; i <= 4 * 600; ++i) {
    const double at = 1 + 0.25 * i;
    clock.update(truth.sample(at));
    const double reference = 0.25 * i * 1e9;
    const auto engine = static_cast<double>(clock.map().at(truth.ticks(at)).ns);
    // Two samples fix the origin and the calibration's rate, each within 40 ns.
    ASSERT_NEAR(engine, reference, 200) << "at " << at << " s";
    const double rate = std::ldexp(static_cast<double>(clock.map().ns_per_tick_q48), -48);
    ASSERT_LE(std::abs(rate * GetParam() * 1e-9 - 1) * 1e6, clock.quality().error_ppm() + 1e-3);
    ASSERT_LT(clock.quality().error_ppm(), 5);
  }
  EXPECT_LT(clock.quality().rate_uncertainty_ppm, 0.01);
  EXPECT_NEAR(clock.quality().tick_hz / GetParam(), 1, 1e-8);
}

INSTANTIATE_TEST_SUITE_P(Hz, ClockAcrossCounters,
                         testing::Values(1.0e9, 2.5961123e9, 2.6e9, 5.7e9));

// The twin: the rounded rate that rte_get_tsc_hz() gave for a counter of 2.5961 GHz is out of the
// bound that the discipline keeps.
TEST(ClockAcrossCounters, TheRoundedRateWouldFail) {
  EXPECT_GT(std::abs(2.6e9 / 2.5961e9 - 1) * 1e6, 1'000);
}

TEST(ClockDiscipline, NeverStepsAndSlewsWithinItsLimit) {
  Truth truth(2.6e9, 30);
  ClockDiscipline clock(truth.sample(0), truth.sample(1));
  // From second 10 on the reference is 1 ms ahead of the counter's line, as after a migration.
  for (int i = 1; i <= 4 * 60; ++i) {
    const double at = 1 + 0.25 * i;
    ClockSample sample = truth.sample(at);
    if (at > 10) sample.ns += 1'000'000;
    const ClockMap before = clock.map();
    const ClockMap after = clock.update(sample);
    ASSERT_EQ(after.at(sample.ticks), before.at(sample.ticks)) << "a step at " << at << " s";
    ASSERT_GT(after.ns_per_tick_q48, 0);
    ASSERT_LE(std::abs(clock.quality().slew_ppm), ClockDiscipline::kSlewMax * 1e6 * 1.0001);
  }
  EXPECT_GT(clock.quality().offset_ns_max, 900'000);  // and the certificate would say so
}

TEST(ClockDiscipline, IgnoresWideBracketsAndSamplesFromThePast) {
  Truth truth(2.6e9, 30);
  ClockDiscipline clock(truth.sample(0), truth.sample(1));
  clock.update(truth.sample(1.25));
  const ClockMap before = clock.map();
  ClockSample wide = truth.sample(1.5);
  wide.ns += 50'000;  // the reader was interrupted
  wide.uncertainty_ns = 60'000;
  EXPECT_EQ(clock.update(wide).ns_per_tick_q48, before.ns_per_tick_q48);
  EXPECT_EQ(clock.update(truth.sample(0.5)).base_ticks, before.base_ticks);
  EXPECT_EQ(clock.quality().samples_skipped, 2u);
  // Where all brackets are wide they are used all the same, in the end.
  for (int i = 0; i < 9; ++i) {
    ClockSample sample = truth.sample(2 + 0.25 * i);
    sample.uncertainty_ns = 1'000;
    clock.update(sample);
  }
  EXPECT_EQ(clock.quality().samples, 4u);
}

TEST(ClockReader, FollowsTheMapAndNeverGoesBack) {
  Seqlock<ClockMap> published;
  const uint64_t ticks = ReadTicks();
  published.store({.base_ticks = ticks, .base_ns = 1'000'000, .ns_per_tick_q48 = int64_t{1} << 48});
  ClockReader reader(published);
  const TimeNs first = reader.now();
  EXPECT_GE(first, TimeNs{1'000'000});
  // A map that says earlier must not take the reader back.
  published.store({.base_ticks = ticks, .base_ns = 0, .ns_per_tick_q48 = 1});
  EXPECT_EQ(reader.now(), first);
  // And one that says later must be seen.
  published.store({.base_ticks = ticks, .base_ns = int64_t{1} << 60, .ns_per_tick_q48 = 1});
  EXPECT_EQ(reader.now(), TimeNs{int64_t{1} << 60});
}

TEST(SpinGaps, QuantilesAreBoundsOfTheTrueOnes) {
  SpinGaps gaps;
  for (int i = 0; i < 99'900; ++i) gaps.add({20});
  for (int i = 0; i < 100; ++i) gaps.add({50'000});
  EXPECT_EQ(gaps.count(), 100'000u);
  EXPECT_EQ(gaps.max(), TimeNs{50'000});
  const double total = 99'900 * 20.0 + 100 * 50'000.0;
  EXPECT_DOUBLE_EQ(gaps.share_in_long_gaps(), 100 * 50'000.0 / total);
  EXPECT_GE(gaps.quantile(0.5), TimeNs{20});
  EXPECT_LE(gaps.quantile(0.5), TimeNs{25});
  EXPECT_EQ(gaps.quantile(0.9999), TimeNs{50'000});
}

// One gap of g in a time T of which the rest is fine: a random instant waits longer than x with
// probability (g - x) / T.
TEST(SpinGaps, ExpectedLatenessWeighsByTime) {
  SpinGaps gaps;
  for (int i = 0; i < 900'000; ++i) gaps.add({1});
  gaps.add({100'000});  // a tenth of the time
  const TimeNs p95 = gaps.expected_lateness(0.95);
  EXPECT_GE(p95, TimeNs{50'000});
  EXPECT_LE(p95, TimeNs{50'000 * 5 / 4});
  EXPECT_LE(gaps.expected_lateness(0.5), TimeNs{2});
  EXPECT_LE(gaps.quantile(0.9999), TimeNs{2});  // by count the gap is invisible
}

TEST(SpinGaps, BucketsCoverEverything) {
  for (int i = 0; i + 1 < SpinGaps::kBuckets; ++i) {
    const TimeNs edge = SpinGaps::bound(i);
    ASSERT_LT(edge, SpinGaps::bound(i + 1));
    SpinGaps below;
    below.add({edge.ns - 1});
    ASSERT_EQ(below.bucket_count(i), 1u) << i;
    SpinGaps at;
    at.add(edge);
    ASSERT_EQ(at.bucket_count(i + 1), 1u) << i;
  }
}

TEST(SpinGaps, MeasuresForTheTimeAsked) {
  const SpinGaps gaps = MeasureSpinGaps({2'000'000}, 2.6e9);
  EXPECT_GE(gaps.total(), TimeNs{1'900'000});
  EXPECT_GT(gaps.count(), 1'000u);
}

// --- The way back ----------------------------------------------------------------------------

class ReadingsOfTimes : public testing::TestWithParam<double> {};

TEST_P(ReadingsOfTimes, AreNeverBeforeTheTimeAndNoTwoTicksAfter) {
  const ClockMap map{.base_ticks = uint64_t{1} << 62,
                     .base_ns = 77,
                     .ns_per_tick_q48 = std::llround(std::ldexp(1e9 / GetParam(), 48))};
  Seqlock<ClockMap> published;
  published.store(map);
  MapReader reader(published);
  std::mt19937_64 random(20261122);
  for (int i = 0; i < 100'000; ++i) {
    // Up to 10 us, to 1 s, to a day after the sample; whole ticks among them.
    const int64_t reach = i % 3 == 0 ? 10'000 : i % 3 == 1 ? 1'000'000'000 : 86'400'000'000'000;
    const TimeNs time{map.base_ns + static_cast<int64_t>(random() % static_cast<uint64_t>(reach))};
    const uint64_t ticks = reader.ticks_at(time);
    ASSERT_GE(map.at(ticks), time) << time.ns;
    ASSERT_LT(map.at(ticks - 2), time) << time.ns;
  }
}

INSTANTIATE_TEST_SUITE_P(Hz, ReadingsOfTimes, testing::Values(78.125e6, 156.25e6, 1e9, 2.5961e9));

// A NIC's clock of 156.25 MHz that is 40 ppm fast, for ten minutes: a frame's time, 50 us ahead, in
// the NIC's ticks, against the truth.
TEST(ReadingsOfTimes, FollowADevicesDrift) {
  Truth device(156.25e6 * 1.00004, 50);
  ClockDiscipline clock(device.sample(0), device.sample(1));
  Seqlock<ClockMap> published;
  Seqlock<ClockMap> at_start;
  published.store(clock.map());
  at_start.store(ClockMap{.base_ticks = clock.map().base_ticks,
                          .base_ns = 0,
                          .ns_per_tick_q48 = std::llround(std::ldexp(6.4, 48))});
  MapReader reader(published);
  MapReader twin(at_start);
  double worst = 0;
  double worst_of_twin = 0;
  for (int i = 1; i <= 2'400; ++i) {
    clock.update(device.sample(1 + 0.25 * i));
    published.store(clock.map());
    const double due = 0.25 * i + 0.1 + 50e-6;
    const auto truth = static_cast<int64_t>(device.ticks(1 + due));
    const auto off = [&](MapReader& by) {
      const uint64_t ticks = by.ticks_at({std::llround(due * 1e9)});
      return std::abs(static_cast<double>(static_cast<int64_t>(ticks) - truth)) * 6.4;
    };
    worst = std::max(worst, off(reader));
    worst_of_twin = std::max(worst_of_twin, off(twin));
  }
  EXPECT_LT(worst, 250);  // ns: both samples of the calibration, and two ticks
  // The twin takes the nominal rate: 40 ppm of ten minutes.
  EXPECT_NEAR(worst_of_twin, 24e6, 0.1e6);
}

// --- A device's clock ------------------------------------------------------------------------

TEST(CheckDeviceClock, TakesWhatRunsAndRefusesWhatDoesNot) {
  const ClockSample first{.ticks = 1'000'000, .ns = 50, .uncertainty_ns = 1};
  const auto after_10_ms = [&](uint64_t ticks) {
    return CheckDeviceClock(first, {.ticks = ticks, .ns = 10'000'050, .uncertainty_ns = 1});
  };
  EXPECT_TRUE(after_10_ms(11'000'000));                       // 1 GHz
  EXPECT_TRUE(after_10_ms(1'000'000 + 1'562'500));            // 156.25 MHz
  EXPECT_FALSE(after_10_ms(1'000'000));                       // stands still
  EXPECT_FALSE(after_10_ms(999'999));                         // goes back
  EXPECT_FALSE(after_10_ms(1'000'000 + 100));                 // 10 kHz
  EXPECT_FALSE(after_10_ms(1'000'000 + 10'000'000'000'000));  // 10^15 Hz
}

// A device of 1 GHz whose crystal is 50 ppm fast and whose count is far from the engine's. Packets
// come at any time and are read every 10 us.
class Device {
 public:
  Device() : clock_(truth_.sample(0), truth_.sample(1)) {}

  void discipline(double at) { clock_.update(truth_.sample(at)); }
  // The engine's time of a packet that came at `at`, stamped by a clock that had jumped by `jump`.
  TimeNs stamp(double at, int64_t jump_ns = 0) const {
    return clock_.map().at(truth_.ticks(at)) + TimeNs{jump_ns};
  }
  TimeNs engine(double at) const { return {std::llround((at - 1) * 1e9)}; }
  TimeNs error() const { return StampError(clock_.quality()); }
  // How many of `packets`, from `from` s on, are taken for what they are.
  int plausible(StampCheck& check, double from, int packets, int64_t jump_ns = 0) {
    int count = 0;
    for (int i = 0; i < packets; ++i) {
      const double polled = from + 10e-6 * i;
      const double came = polled + 10e-6 * ((i % 97) / 97.0);
      count += check.judge(stamp(came, jump_ns), engine(polled), engine(polled + 10e-6), error());
    }
    return count;
  }

 private:
  Truth truth_{1.00005e9, 100};
  ClockDiscipline clock_;
};

TEST(StampCheck, StampsOfADisciplinedClockArePlausible) {
  Device device;
  StampCheck check;
  int plausible = 0;
  for (int i = 1; i <= 100; ++i) {
    device.discipline(1 + 0.25 * i);
    plausible += device.plausible(check, 1 + 0.25 * i, 1'000);
    ASSERT_LT(device.error(), TimeNs{1'000});
  }
  EXPECT_EQ(plausible, 100'000);
  EXPECT_FALSE(check.given_up());
  EXPECT_TRUE(check.proven());
}

TEST(StampCheck, AClockThatJumpsIsNotBelieved) {
  for (const int64_t jump_ns : {-1'000'000, -12'000, 12'000, 1'000'000}) {
    Device device;
    StampCheck check;
    device.discipline(1.25);
    EXPECT_EQ(device.plausible(check, 1.25, 1'000, jump_ns), 0) << jump_ns;
    EXPECT_TRUE(check.given_up()) << jump_ns;
    EXPECT_FALSE(check.proven()) << jump_ns;
  }
}

TEST(StampCheck, AFewOddStampsAreReplacedAndForgiven) {
  Device device;
  StampCheck check;
  device.discipline(1.25);
  for (int thousand = 0; thousand < 5; ++thousand) {
    EXPECT_EQ(check.proven(), thousand > 0);
    EXPECT_EQ(device.plausible(check, 1.25, 10, 1'000'000), 0);
    EXPECT_EQ(device.plausible(check, 1.26, 990), 990);
  }
  EXPECT_FALSE(check.given_up());
  // The twin: one more in a thousand.
  device.plausible(check, 1.25, 11, 1'000'000);
  device.plausible(check, 1.26, 989);
  EXPECT_TRUE(check.given_up());
}

}  // namespace
}  // namespace farspan::dpdk
