// How long Span waits for an ACK: for the next one too, where another will come; and where none
// will, hardly longer than a round trip.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/support/link_support.h"
#include "tests/support/span_pair.h"
#include "transports/core/recoveries.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using namespace transport;

constexpr TimeNs kRtt{20'000'000};
constexpr TimeNs kLimit{100'000'000'000};

// The twin: waits for one ACK and the margin.
class Impatient final : public Recovery {
 public:
  GroupPlan plan_group(const QueueView&) override { return {}; }
  TimeNs loss_delay(const PathView& path) const override { return path.reordering; }
  TimeNs timeout(const PathView& path, TimeNs) const override {
    return {path.smoothed_rtt.ns + path.smoothed_rtt.ns / 32 + path.smoothed_rtt.ns / 64};
  }
  LossAction on_lost(const LostPacket&) override { return {.copies = 1}; }
};

// `flight` datagrams are a round trip.
PairOptions Options(const std::string& recovery, uint64_t flight) {
  RegisterRecovery("impatient", [](const RecoveryConfig&) { return RecoveryPtr(new Impatient); });
  const Rate rate{flight * 4194 * 8 * 50};
  PairOptions options;
  options.config.recovery = recovery;
  options.config.lengths_only = true;
  options.config.max_connections = 1;
  options.config.controller.rate = rate;
  options.there = options.back = Plain(rate, TimeNs{kRtt.ns / 2});
  options.capacity.packets = 2 * flight + 1'024;
  return options;
}

struct Counts {
  double acks = 0;
  uint64_t lost = 0;  // by the sender's account; nothing was
  uint64_t timeouts = 0;
};

// One ACK in a hundred is lost, and nothing else.
Counts LoseAcks(const std::string& recovery, uint64_t flight) {
  PairOptions options = Options(recovery, flight);
  options.back.lanes[0].loss.kind = link::LossKind::kBernoulli;
  options.back.lanes[0].loss.probability = 1e-2;
  SpanPair pair(options);
  EXPECT_TRUE(pair.connect(kLimit));
  for (int i = 0; i < 3; ++i) pair.exchange(30'000 * 4096, kRtt, kLimit);
  return {static_cast<double>(pair.span_b->counters().control_sent), pair.span_a->counters().lost,
          pair.span_a->counters().timeouts};
}

// Two ACKs in a row must be lost for a time-out; for the twin one will do, where the next comes
// after RTT / 32 (and not after 64 datagrams).
TEST(SpanPatience, ALostAckIsMadeUpForByTheNext) {
  for (const uint64_t flight : {32, 200, 600, 2'500}) {
    const Counts counts = LoseAcks("sr", flight);
    const double expected = counts.acks * 1e-4;
    EXPECT_LE(static_cast<double>(counts.timeouts), expected + 4 * std::sqrt(expected) + 1)
        << flight;
    EXPECT_LE(counts.lost, 2 * counts.timeouts) << flight;
    const Counts twin = LoseAcks("impatient", flight);
    EXPECT_GE(static_cast<double>(twin.timeouts), 0.5 * twin.acks * 1e-2) << flight;
  }
}

// When the receiver has a message of which all was lost once, in round trips.
double AfterACut(const std::string& recovery, uint64_t datagrams) {
  PairOptions options = Options(recovery, 600);
  options.there.timeline.push_back({3_s, false, link::Cut{.duration = 1_ms}});
  SpanPair pair(options);
  EXPECT_TRUE(pair.connect(kLimit));
  // So that the round trip is known to vary by next to nothing.
  for (int i = 0; i < 20; ++i) pair.exchange(600 * 4096, kRtt, kLimit);
  EXPECT_LT(pair.network.now(), 3_s - kRtt);
  pair.network.run_until(3_s - kRtt);  // which exchange() lets pass first
  return ToSeconds(pair.exchange(datagrams * 4096, kRtt, kLimit).receiver) / ToSeconds(kRtt);
}

// Given up after 1 + 1/32 + 1/64 round trips, sent again, and half a round trip on its way.
TEST(SpanPatience, ALostTailIsSentAgainAfterARoundTrip) {
  for (const uint64_t datagrams : {1, 2}) {
    const double took = AfterACut("sr", datagrams);
    EXPECT_GE(took, 1.5) << datagrams;
    EXPECT_LE(took, 1.5 + 1.0 / 32 + 1.0 / 64 + 0.02) << datagrams;
  }
}

}  // namespace
}  // namespace farspan::test
