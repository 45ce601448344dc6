// The model of losses against the packet simulator: the same messages, as many samples of the model
// as cost nothing. Messages are small, and the link slow, so that a round trip is 2,800 datagrams,
// or 600. tests/bench/model_check has more, at 400 Gb/s.
//
// Two things are compared: the law of the times (Kolmogorov and Smirnov, at 99.9 %), and the mean
// number of datagrams sent again. The twins are models that are wrong in one thing.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/span_cross_check.h"
#include "tests/support/statistics.h"
#include "transports/core/recoveries.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;

// The simulator's round trip begins and ends at whole nanoseconds and has the ACK's own time.
constexpr double kSlack = 1e-4;
constexpr uint64_t kSamplesOfModel = 10'000;

CrossCase Slow(const std::string& recovery, uint64_t datagrams, double loss, uint64_t messages) {
  return {.recovery = recovery,
          .datagrams = datagrams,
          .loss = loss,
          .rate = 12'500_mbps,
          .rtt = TimeNs{7'500'000},
          .seeds = testing::Tries(200),
          .messages = messages,
          .warm_up = recovery == "sr" || recovery == "gbn" ? 64 : datagrams,
          .granularity = TimeNs{}};
}

CrossCase ForModel(CrossCase c) {
  c.seeds = kSamplesOfModel / c.messages;
  return c;
}

struct Verdict {
  double distance = 0;
  double limit = 0;
  testbed::Estimate resent;
  bool holds() const { return distance <= limit && resent.low <= 0 && resent.high >= 0; }
};

Verdict Judge(const CrossSamples& simulated, const CrossSamples& modelled) {
  return {std::max(Distance(simulated.receiver_s, modelled.receiver_s, kSlack),
                   Distance(simulated.sender_s, modelled.sender_s, kSlack)),
          DistanceLimit999(simulated.sender_s.size(), modelled.sender_s.size()),
          CountDifference(simulated.resent, modelled.resent)};
}

std::ostream& operator<<(std::ostream& out, const Verdict& v) {
  return out << "distance " << v.distance << " of " << v.limit << ", resent differs by "
             << v.resent.value << " (" << v.resent.low << " to " << v.resent.high << ")";
}

void ExpectOneLaw(const CrossCase& c) {
  const Verdict verdict = Judge(Simulated(c), Modelled(ForModel(c)));
  EXPECT_TRUE(verdict.holds()) << c.recovery << ", " << c.datagrams << ": " << verdict;
}

TEST(SpanModel, SelectiveRepeatIsTheSimulators) {
  ExpectOneLaw(Slow("sr", 256, 1e-2, 4));
  ExpectOneLaw(Slow("sr", 1'024, 1e-3, 4));
  ExpectOneLaw(Slow("sr", 64, 5e-2, 10));
}

TEST(SpanModel, SelectiveRepeatInAWindowThatRepairsHoldBack) {
  CrossCase c = Slow("sr", 8'192, 1e-2, 1);
  c.window = 4'096;
  ExpectOneLaw(c);
}

// The next ACK comes after RTT / 32, not after 64 datagrams.
TEST(SpanModel, WithFewAcksToARoundTripToo) {
  CrossCase c = Slow("sr", 1'024, 1e-2, 4);
  c.rate = 2'700_mbps;
  ExpectOneLaw(c);
}

TEST(SpanModel, GoBackNIsTheSimulators) { ExpectOneLaw(Slow("gbn", 256, 1e-2, 4)); }

TEST(SpanModel, AutoIsTheSimulators) {
  ExpectOneLaw(Slow("auto", 1'024, 1e-2, 4));
  ExpectOneLaw(Slow("auto", 6'144, 1e-2, 1));
  CrossCase c = Slow("auto", 24'576, 1e-2, 1);  // nine round trips: repairs of repairs
  c.warm_up = 1'024;
  c.seeds = testing::Tries(40);
  ExpectOneLaw(c);
}

TEST(SpanModel, ErasureCodingIsTheSimulators) { ExpectOneLaw(Slow("ec", 1'024, 5e-2, 4)); }

// Repairs that are never lost: so many copies of each that one arrives.
class Certain final : public transport::Recovery {
 public:
  transport::GroupPlan plan_group(const transport::QueueView&) override { return {}; }
  TimeNs loss_delay(const transport::PathView&) const override { return {}; }
  transport::LossAction on_lost(const transport::LostPacket&) override { return {.copies = 8}; }
};

TEST(SpanModel, ATwinWhoseRepairsAreNeverLostIsFoundOut) {
  transport::RegisterRecovery("certain", [](const transport::RecoveryConfig&) {
    return transport::RecoveryPtr(new Certain);
  });
  CrossCase c = Slow("sr", 256, 5e-2, 20);
  c.seeds = 40;
  const CrossSamples simulated = Simulated(c);
  const CrossSamples twin =
      Modelled(ForModel(c), [](auto& options) { options.config.recovery = "certain"; });
  const Verdict verdict = Judge(simulated, twin);
  EXPECT_GT(verdict.distance, verdict.limit) << verdict;
}

TEST(SpanModel, ATwinWhoseAcksAreNeverLostIsFoundOut) {
  CrossCase c = Slow("sr", 64, 5e-2, 50);
  c.seeds = 40;
  const CrossSamples simulated = Simulated(c);
  const CrossSamples twin = Modelled(ForModel(c), [](auto& options) { options.loss_back = 0; });
  const Verdict verdict = Judge(simulated, twin);
  EXPECT_GT(verdict.distance, verdict.limit) << verdict;
}

}  // namespace
}  // namespace farspan::test
