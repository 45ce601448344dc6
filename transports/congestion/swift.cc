// Swift (Kumar et al., SIGCOMM'20): a window steered by delay, for paths of any length.
//
// Per acknowledgement: below the target delay the window grows additively, above it shrinks once
// per round trip in proportion to the excess, by half at most; a loss shrinks it by half at most
// once per round trip. The paper's targets know the fabric's delay; on a long path that is the
// measured minimum, so the target is minimum + queue, with the paper's flow scaling (small windows
// get a longer target, which is what makes equal flows equal).
// Added for long paths, where one packet per round trip would take minutes: slow start until the
// target is first reached, and growth that doubles with every round trip below the target after the
// first kFastRounds (TIMELY's hyperactive increase, SIGCOMM'15, section 4.4, made geometric). The
// minimum is refreshed every 10 s by a round trip at kDrainGain of the window (as BBR's ProbeRTT),
// or a flow that comes late would take a standing queue for distance; a time-out forgets it, for
// the path may be another now (RFC 9002, 5.2). What losses did that were none is undone, unless the
// delay has had its say since. Not modelled: separate end-host delay and window; windows below one
// packet.
#include <algorithm>
#include <cmath>
#include <optional>

#include "transports/congestion/controllers.h"
#include "transports/congestion/rounds.h"

namespace farspan::transport {
namespace {

constexpr double kBeta = 0.8;  // of the relative excess
constexpr double kMaxDecrease = 0.5;
constexpr double kMinPackets = 2;
constexpr double kInitialPackets = 10;
constexpr TimeNs kQueueTarget{1'000'000};
constexpr int kFastRounds = 5;
constexpr TimeNs kMinimumAge{10'000'000'000};
constexpr double kDrainGain = 0.6;

class Swift final : public Controller {
 public:
  explicit Swift(const ControllerConfig& config)
      : config_(config),
        packet_(config.packet_bytes),
        window_(kInitialPackets * packet_),
        rtt_(config.initial_rtt) {}

  void on_sent(const SentInfo& sent) override { use_.on_sent(sent, packet_, usable_window()); }

  void on_ack(const AckInfo& ack) override {
    rtt_ = ack.smoothed_rtt;
    const bool full = use_.full(ack);
    if (rounds_.on_ack(ack)) begin_round(ack.now);
    if (ack.rtt == kNever) return;
    if (ack.rtt <= minimum_) {
      minimum_ = ack.rtt;
      minimum_seen_ = ack.now;
    }
    drain_minimum_ = std::min(drain_minimum_, ack.rtt);
    const TimeNs target = minimum_ + queue_target();
    const TimeNs sent = ack.now - ack.rtt;
    if (ack.rtt > target) {
      slow_start_ = false;
      calm_rounds_ = 0;
      const double excess =
          static_cast<double>((ack.rtt - target).ns) / static_cast<double>(ack.rtt.ns);
      if (guard_.may_react(sent)) {
        decrease(ack.now, 1 - kBeta * excess);
        before_.reset();
      }
    } else if (full) {
      increase(static_cast<double>(ack.bytes));
    }
  }

  void on_loss(const LossInfo& loss) override {
    if (loss.first) before_ = {window_, slow_start_, calm_rounds_, guard_};
    slow_start_ = false;
    calm_rounds_ = 0;
    if (guard_.may_react(loss.sent)) decrease(loss.now, 1 - kMaxDecrease);
  }

  void on_timeout(TimeNs now) override {
    slow_start_ = false;
    minimum_ = kNever;
    draining_ = 0;
    decrease(now, 0);
  }

  void on_spurious(TimeNs /*now*/) override {
    if (!before_ || window_ >= before_->window) return;
    window_ = before_->window;
    slow_start_ = before_->slow_start;
    calm_rounds_ = before_->calm_rounds;
    guard_ = before_->guard;
  }

  uint64_t window_bytes() const override { return static_cast<uint64_t>(usable_window()); }

  Rate pacing_rate() const override {
    return PaceOf(usable_window(), slow_start_ ? 2 : 1.1, rtt_, config_.rate);
  }

 private:
  struct Before {  // what a loss changes
    double window;
    bool slow_start;
    int calm_rounds;
    ReactionGuard guard;
  };

  double usable_window() const { return draining_ ? kDrainGain * window_ : window_; }

  // The same for every distance, or flows of unequal length could not share a queue. The paper's
  // flow scaling, alpha / sqrt(packets), doubles it for a window of 16 packets and fades for
  // thousands.
  TimeNs queue_target() const {
    const double scaling = 4 / std::sqrt(window_ / packet_);
    return {static_cast<int64_t>(static_cast<double>(kQueueTarget.ns) * (1 + scaling))};
  }

  void begin_round(TimeNs now) {
    ++calm_rounds_;
    if (draining_) {
      if (--draining_ == 0) {
        minimum_ = drain_minimum_;
        minimum_seen_ = now;
      }
    } else if (minimum_ != kNever && now - minimum_seen_ > kMinimumAge) {
      draining_ = 3;  // one round to shrink, one to see it, one to be sure
      drain_minimum_ = kNever;
    }
  }

  void increase(double acked) {
    if (slow_start_) {
      window_ += acked;
    } else {
      const double doublings = std::clamp(calm_rounds_ - kFastRounds, 0, 40);
      const double per_round =
          std::min(packet_ * std::exp2(doublings), std::max(window_ / 4, packet_));
      window_ += per_round * acked / window_;
    }
    window_ = std::min(window_, static_cast<double>(config_.max_window));
  }

  void decrease(TimeNs now, double factor) {
    guard_.react(now);
    window_ = std::max(window_ * std::max(factor, 1 - kMaxDecrease), kMinPackets * packet_);
  }

  ControllerConfig config_;
  double packet_;  // bytes, as the window
  double window_;
  bool slow_start_ = true;
  int calm_rounds_ = 0;  // below the target, in a row
  int draining_ = 0;     // rounds to go
  TimeNs minimum_ = kNever;
  TimeNs minimum_seen_{};
  TimeNs drain_minimum_ = kNever;
  TimeNs rtt_;
  RoundCounter rounds_;
  WindowUse use_;
  ReactionGuard guard_;
  std::optional<Before> before_;  // the present episode of losses
};

}  // namespace

ControllerPtr MakeSwift(const ControllerConfig& config) { return std::make_unique<Swift>(config); }

}  // namespace farspan::transport
