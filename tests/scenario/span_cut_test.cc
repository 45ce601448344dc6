// A fiber is cut under a full window. All that was under way is lost, nothing later tells of it,
// and while it counts as under way a window forbids to send more.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/shared_bottleneck.h"
#include "transports/congestion/controllers.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;

// Of what the link carries, from the first cut to the second; 10 Gb/s, 5 ms.
double Share(const std::string& congestion, TimeNs cut) {
  transport::RegisterControllers();
  SharedBottleneck network(
      {.rate = 10_gbps, .delay = 2'500_us, .queue_bytes = 6'250'000, .cut = cut});
  network.add(congestion, 5_ms, congestion == "fixed" ? 9'900_mbps : Rate{});
  network.run_until(1_s);
  const uint64_t before = network.delivered(0);
  network.run_until(2_s);
  return static_cast<double>(network.delivered(0) - before) * 8 / 10e9 * 4194 / 4096;
}

TEST(SpanCut, OneQuestionThatGetsThroughTellsAllThatWasLost) {
  struct Row {
    std::string congestion;
    double least;
  };
  for (const Row& row : {Row{"fixed", 0.95}, {"bbr", 0.85}, {"swift", 0.8}, {"cubic", 0.6}}) {
    const double share = Share(row.congestion, 20_ms);
    EXPECT_GE(share, row.least) << row.congestion;
    EXPECT_LE(share, 0.98) << row.congestion;
    EXPECT_GT(Share(row.congestion, {}), 0.985) << row.congestion;
  }
}

// What an outage did to cubic: the window it met, and where slow start ended after it.
struct Outage {
  double window = 0;
  double threshold = 0;
};
std::vector<Outage> outages;

// Cubic that notes that; the twin takes the first time-out of each for an event of its own.
template <bool kTwin>
class Noting final : public transport::Controller {
 public:
  explicit Noting(const transport::ControllerConfig& config)
      : inner_(transport::MakeCubic(config)) {}
  void on_sent(const transport::SentInfo& sent) override { inner_->on_sent(sent); }
  void on_ack(const transport::AckInfo& ack) override {
    const bool slow = inner_->state() == "slow_start";
    inner_->on_ack(ack);
    if (!dark_ || !slow || inner_->state() == "slow_start") return;
    outages.back().threshold = static_cast<double>(window_bytes());
    dark_ = false;
  }
  void on_loss(const transport::LossInfo& loss) override {
    if (loss.first) window_ = static_cast<double>(window_bytes());
    inner_->on_loss(loss);
  }
  void on_timeout(TimeNs now) override {
    if (!dark_) {
      outages.push_back({window_, 0});
      if (kTwin) {
        transport::AckInfo ack;
        ack.now = now;
        ack.packets = 1;
        ack.rtt = ack.smoothed_rtt = TimeNs{1};
        inner_->on_ack(ack);
        transport::LossInfo loss;
        loss.now = loss.sent = now;
        inner_->on_loss(loss);
      }
    }
    dark_ = true;
    inner_->on_timeout(now);
  }
  uint64_t window_bytes() const override { return inner_->window_bytes(); }
  Rate pacing_rate() const override { return inner_->pacing_rate(); }

 private:
  transport::ControllerPtr inner_;
  double window_ = 0;
  bool dark_ = false;
};

template <bool kTwin>
std::vector<Outage> Outages(TimeNs cut, int cuts) {
  transport::RegisterController("noting", [](const transport::ControllerConfig& config) {
    return transport::ControllerPtr(new Noting<kTwin>(config));
  });
  outages.clear();
  SharedBottleneck network({.rate = 100_mbps,
                            .delay = 10_ms,
                            .queue_bytes = 250'000,
                            .payload_bytes = 1'408,
                            .cut = cut,
                            .cuts = cuts});
  network.add("noting", 20_ms);
  network.run_until(TimeNs{(cuts + 3) * int64_t{1'000'000'000}});
  return outages;
}

// RFC 9438, 4.8, and RFC 9002, 7.6: the losses have reduced the threshold to seven tenths, once;
// the time-outs reduce the window, and it comes back to the threshold after each outage.
TEST(SpanCut, AnOutageReducesCubicsThresholdOnce) {
  struct Row {
    TimeNs cut;
    int cuts;
  };
  for (const Row& row : {Row{30_ms, 3}, {50_ms, 3}, {300_ms, 3}, {1_s, 1}}) {
    const std::vector<Outage> found = Outages<false>(row.cut, row.cuts);
    EXPECT_EQ(found.size(), static_cast<size_t>(row.cuts)) << ToText(row.cut);
    for (const Outage& outage : found) {
      EXPECT_NEAR(outage.threshold, 0.7 * outage.window, 1'506) << ToText(row.cut);
    }
    const std::vector<Outage> twice = Outages<true>(row.cut, 1);
    ASSERT_EQ(twice.size(), 1u) << ToText(row.cut);
    EXPECT_LE(twice[0].threshold, 0.5 * twice[0].window) << ToText(row.cut);
  }
}

}  // namespace
}  // namespace farspan::test
