// Scalable TCP (Kelly, "Scalable TCP: improving performance in highspeed wide area networks", CCR
// 33(2), 2003) as a policy in one file: how to add a congestion controller to Span.
//
//   farspan bench all_reduce --net sim --policy ./scalable.so --congestion scalable
//
// The window grows by 1 % of what is acknowledged and shrinks by one eighth when a round trip
// brought a loss or a mark, so that the time to regain a lost window does not depend on the
// window's size: about 13 round trips. Slow start comes before the first loss. Departures are paced
// at 1.25 windows per round trip, or 2 in slow start. A recovery is added in the same way: derive
// from Recovery (transports/core/recovery.h) and call registrar.recovery.
#include <algorithm>

#include "transports/core/policies.h"

namespace {

using namespace farspan;
using namespace farspan::transport;

constexpr double kIncrease = 0.01;
constexpr double kDecrease = 0.125;
constexpr double kInitialPackets = 10;
constexpr double kMinPackets = 2;

class Scalable final : public Controller {
 public:
  explicit Scalable(const ControllerConfig& config)
      : config_(config), window_(kInitialPackets * config.packet_bytes), rtt_(config.initial_rtt) {}

  void on_sent(const SentInfo&) override {}

  void on_ack(const AckInfo& ack) override {
    rtt_ = ack.smoothed_rtt;
    if (ack.ecn_marked > 0) reduce(ack.now, ack.now - ack.smoothed_rtt);
    // A window that is not used says nothing about the path.
    const auto bytes = static_cast<double>(ack.bytes);
    if (static_cast<double>(ack.inflight) + bytes < window_ / 2) return;
    window_ += slow_start_ ? bytes : kIncrease * bytes;
    window_ = std::min(window_, static_cast<double>(config_.max_window));
  }

  // `repaired` is not looked at: the path dropped the packet, whoever makes up for it.
  void on_loss(const LossInfo& loss) override { reduce(loss.now, loss.sent); }

  void on_timeout(TimeNs now) override {
    reduce(now, now);
    window_ = kMinPackets * config_.packet_bytes;
  }

  uint64_t window_bytes() const override { return static_cast<uint64_t>(window_); }

  Rate pacing_rate() const override {
    if (rtt_.ns == 0) return config_.rate;
    const double gain = slow_start_ ? 2 : 1.25;
    const auto rate = static_cast<uint64_t>(gain * window_ * 8 / ToSeconds(rtt_));
    const uint64_t ceiling = config_.rate.bits_per_s;
    return {ceiling > 0 ? std::min(rate, ceiling) : rate};
  }

 private:
  // Once per round trip: a packet that left before the last reduction tells of the past.
  void reduce(TimeNs now, TimeNs packet_sent) {
    if (packet_sent < reduced_) return;
    reduced_ = now;
    slow_start_ = false;
    window_ = std::max(window_ * (1 - kDecrease), kMinPackets * config_.packet_bytes);
  }

  ControllerConfig config_;
  double window_;
  TimeNs rtt_;
  TimeNs reduced_{};
  bool slow_start_ = true;
};

ControllerPtr MakeScalable(const ControllerConfig& config) {
  return std::make_unique<Scalable>(config);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void farspan_register_policies(
    const PolicyRegistrar& registrar) {
  registrar.controller("scalable", MakeScalable);
}
