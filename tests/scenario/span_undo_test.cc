// Losses that were none, and losses: what Span's controllers make of hosts that stand still, of
// packets that are overtaken, of a cut and of random loss. 100 Mb/s, 20 ms, a queue of one such
// product, datagrams for an MTU of 1500.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tests/support/shared_bottleneck.h"
#include "transports/congestion/controllers.h"
#include "transports/testbed/theory.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using namespace transport;

constexpr double kMost = 100e6 * 1'408 / 1'506;  // of payload

// The twin: as Make makes it, but that it takes nothing back.
template <ControllerPtr (*Make)(const ControllerConfig&)>
class Keeping final : public Controller {
 public:
  explicit Keeping(const ControllerConfig& config) : inner_(Make(config)) {}
  void on_sent(const SentInfo& sent) override { inner_->on_sent(sent); }
  void on_ack(const AckInfo& ack) override { inner_->on_ack(ack); }
  void on_loss(const LossInfo& loss) override { inner_->on_loss(loss); }
  void on_timeout(TimeNs now) override { inner_->on_timeout(now); }
  uint64_t window_bytes() const override { return inner_->window_bytes(); }
  Rate pacing_rate() const override { return inner_->pacing_rate(); }

 private:
  ControllerPtr inner_;
};

template <ControllerPtr (*Make)(const ControllerConfig&)>
void RegisterTwin(std::string_view name) {
  RegisterController(name, [](const ControllerConfig& config) -> ControllerPtr {
    return std::make_unique<Keeping<Make>>(config);
  });
}

// Payload of one flow in bits/s, from the fifth second to the 25th.
double Goodput(const std::string& congestion, BottleneckOptions options) {
  RegisterTwin<MakeCubic>("keeping cubic");
  RegisterTwin<MakeBbr>("keeping bbr");
  RegisterTwin<MakeSwift>("keeping swift");
  RegisterTwin<MakeDcqcn>("keeping dcqcn");
  options.rate = 100_mbps;
  options.delay = 10_ms;
  options.queue_bytes = 250'000;
  options.payload_bytes = 1'408;
  SharedBottleneck network(options);
  network.add(congestion, 20_ms, congestion.ends_with("dcqcn") ? 99_mbps : Rate{});
  network.run_until(5_s);
  const uint64_t before = network.delivered(0);
  network.run_until(25_s);
  return static_cast<double>(network.delivered(0) - before) * 8 / 20;
}

// The link carries nothing for as long as the receiver stands still, at worst.
TEST(SpanUndo, CubicGetsWhatAStandingReceiverLeavesOfTheLink) {
  for (const TimeNs stall : {25_ms, 40_ms}) {
    const double most = kMost * (1 - ToSeconds(stall));
    EXPECT_GE(Goodput("cubic", {.stall = stall}), 0.99 * most) << ToText(stall);
    EXPECT_LE(Goodput("cubic", {.stall = stall}), kMost) << ToText(stall);
    EXPECT_LE(Goodput("keeping cubic", {.stall = stall}), 0.55 * most) << ToText(stall);
  }
}

// 1 ms of packets is overtaken by more than a round trip, and has been sent again by then.
TEST(SpanUndo, CubicGetsAllOfALinkThatReorders) {
  EXPECT_GE(Goodput("cubic", {.detour = 25_ms}), 0.99 * kMost);
  EXPECT_LE(Goodput("keeping cubic", {.detour = 25_ms}), 0.7 * kMost);
}

// To these a loss is worth less, or they hear of a stall by its delay too: swift gains nothing by
// it, and where the receiver stands still it gets a percent or two less than the twin.
TEST(SpanUndo, TheOthersLoseLittleByIt) {
  struct Row {
    std::string congestion;
    double stall, detour;  // least parts of the link
    bool gains;
  };
  for (const Row& row :
       {Row{"bbr", 0.97, 0.98, true}, {"swift", 0.9, 0.98, false}, {"dcqcn", 0.97, 0.98, true}}) {
    for (const bool detour : {false, true}) {
      const BottleneckOptions options =
          detour ? BottleneckOptions{.detour = 25_ms} : BottleneckOptions{.stall = 25_ms};
      const double goodput = Goodput(row.congestion, options);
      EXPECT_GE(goodput, (detour ? row.detour : row.stall) * kMost) << row.congestion;
      const double kept = Goodput("keeping " + row.congestion, options);
      EXPECT_GE(goodput, row.gains ? std::nextafter(kept, 1e12) : 0.97 * kept) << row.congestion;
    }
  }
}

// RFC 9438, 5.1, and not a byte more than the twin.
TEST(SpanUndo, RealLossesKeepTheirReductions) {
  const double law = testbed::CubicWindow(20e-3, 1e-3) * 1'408 * 8 / 20e-3;
  const double lossy = Goodput("cubic", {.loss = 1e-3});
  EXPECT_EQ(lossy, Goodput("keeping cubic", {.loss = 1e-3}));
  EXPECT_NEAR(lossy, law, 0.15 * law);
  // Nor do stalls hide them, where each would cost a reduction of its own.
  const BottleneckOptions both{.stall = 25_ms, .loss = 1e-3};
  EXPECT_NEAR(Goodput("cubic", both), lossy, 0.05 * lossy);
  EXPECT_LE(Goodput("keeping cubic", both), 0.9 * lossy);
}

// A flight and what was to follow it, told by time-outs and by what came after.
TEST(SpanUndo, LostFlightsKeepTheirReductions) {
  const BottleneckOptions cut{.cut = 30_ms};
  for (const std::string name : {"cubic", "bbr", "swift", "dcqcn"}) {
    EXPECT_EQ(Goodput(name, cut), Goodput("keeping " + name, cut)) << name;
  }
  EXPECT_LE(Goodput("cubic", cut), 0.6 * kMost);
}

}  // namespace
}  // namespace farspan::test
