// CUBIC (RFC 9438) with HyStart++ (RFC 9406), paced.
//
// A loss, or a CE mark, reduces the window once per congestion event, which lasts until something
// that left after the reaction is acknowledged (RFC 9002, 7.3.2): an outage is one, however often
// the timer goes off in it. A time-out reduces nothing by itself, for its losses have been told; it
// begins slow start anew, to the threshold of the event (RFC 9438, 4.8). Pacing is at 2 x window /
// RTT in slow start and 1.2 x in congestion avoidance, as Linux does. A reduction by losses that
// were none is undone (4.9.2, after time-outs too), slow start included. Not modelled: proportional
// rate reduction (RFC 6937; the endpoint is paced, so a halved window does not burst).
//
// `cubic-linux` is what tcp_cubic.c of Linux 6.18 does where no qdisc paces (fq does, and little
// else): nothing is paced; slow start ends for good at the first sign of HyStart, which also looks
// at how long the ACKs of a round trip come without a pause (Ha & Rhee, "Taming the elephants",
// 2011); from there to the first loss the window grows by a twentieth per round trip at least; and
// RFC 9438's faster Reno (4.3: one packet per round trip once the last maximum is reached again) is
// never taken: under random loss that is a quarter less. Not modelled: time in jiffies, windows in
// whole packets.
#include <algorithm>
#include <cmath>
#include <optional>

#include "transports/congestion/controllers.h"
#include "transports/congestion/rounds.h"

namespace farspan::transport {
namespace {

constexpr double kC = 0.4;              // packets / s^3
constexpr double kBeta = 0.7;           // what a reduction leaves
constexpr double kInitialPackets = 10;  // RFC 6928
constexpr double kMinPackets = 2;
constexpr double kUnknown = 1e300;                       // a threshold
constexpr double kReno = 3 * (1 - kBeta) / (1 + kBeta);  // packets per round trip, RFC 9438, 4.3

// By how much a round trip has to grow until slow start is over, and how many samples tell.
TimeNs Threshold(TimeNs least) {
  return std::clamp(TimeNs{least.ns / 8}, TimeNs{4'000'000}, TimeNs{16'000'000});
}
constexpr int kSamples = 8;

// HyStart++: leaves slow start when the round trip grows, before the queue is full.
class HyStart {
 public:
  bool conservative() const { return conservative_rounds_ > 0; }

  // True where slow start is over.
  bool on_ack(const AckInfo& ack, bool new_round) {
    if (new_round) {
      last_min_ = current_min_;
      current_min_ = kNever;
      samples_ = 0;
      if (conservative() && ++conservative_rounds_ > kConservativeRounds) return true;
    }
    if (ack.rtt == kNever) return false;
    current_min_ = std::min(current_min_, ack.rtt);
    if (++samples_ < kSamples || last_min_ == kNever) return false;
    if (conservative()) {
      if (current_min_ < baseline_min_) conservative_rounds_ = 0;  // it was noise
      return false;
    }
    if (current_min_ >= last_min_ + Threshold(last_min_)) {
      baseline_min_ = current_min_;
      conservative_rounds_ = 1;
    }
    return false;
  }

 private:
  static constexpr int kConservativeRounds = 5;

  TimeNs last_min_ = kNever;
  TimeNs current_min_ = kNever;
  TimeNs baseline_min_ = kNever;
  int samples_ = 0;
  int conservative_rounds_ = 0;  // 0: plain slow start
};

// Linux's HyStart. A train of ACKs as long as the way there has filled the path.
class LinuxHyStart {
 public:
  // True where slow start is over.
  bool on_ack(const AckInfo& ack, bool new_round) {
    if (new_round) {
      round_start_ = last_ack_ = ack.now;
      current_min_ = kNever;
      samples_ = 0;
    }
    if (ack.now - last_ack_ <= kAckGap) {
      last_ack_ = ack.now;
      if (ack.now - round_start_ > TimeNs{ack.min_rtt.ns / 2}) return true;
    }
    if (ack.rtt == kNever) return false;
    current_min_ = std::min(current_min_, ack.rtt);
    return ++samples_ > kSamples && current_min_ > ack.min_rtt + Threshold(ack.min_rtt);
  }

  static constexpr double kLowPackets = 16;  // of window, where it begins

 private:
  static constexpr TimeNs kAckGap{2'000'000};

  TimeNs round_start_{};
  TimeNs last_ack_{};
  TimeNs current_min_ = kNever;
  int samples_ = 0;
};

class Cubic final : public Controller {
 public:
  Cubic(const ControllerConfig& config, bool as_in_linux)
      : config_(config),
        linux_(as_in_linux),
        packet_(config.packet_bytes),
        window_(kInitialPackets * packet_),
        rtt_(config.initial_rtt) {}

  void on_sent(const SentInfo& sent) override { use_.on_sent(sent, packet_, window_); }

  void on_ack(const AckInfo& ack) override {
    rtt_ = ack.smoothed_rtt;
    const bool full = use_.full(ack);
    const bool new_round = rounds_.on_ack(ack);
    const TimeNs sent = ack.rtt == kNever ? ack.now - ack.smoothed_rtt : ack.now - ack.rtt;
    if (ack.ecn_marked > 0 && reduce(ack.now, sent)) before_.reset();
    if (!guard_.may_react(sent)) return;  // recovering: what is acknowledged tells of the past
    event_ = event_ && ack.packets == 0;
    if (window_ < threshold_) {
      slow_start(ack, new_round, full);
    } else if (full) {
      avoid_congestion(ack);
    }
    window_ = std::min(window_, static_cast<double>(config_.max_window));
  }

  void on_loss(const LossInfo& loss) override {
    if (loss.first) {
      before_ = {window_, threshold_, window_max_, window_reno_, k_s_,
                 epoch_,  lost_,      guard_,      event_};
    }
    if (!event_) reduce(loss.now, loss.sent);
  }

  void on_spurious(TimeNs /*now*/) override {
    if (!before_ || window_ >= before_->window) return;
    window_ = before_->window;
    threshold_ = before_->threshold;
    window_max_ = before_->window_max;
    window_reno_ = before_->window_reno;
    k_s_ = before_->k_s;
    epoch_ = before_->epoch;
    lost_ = before_->lost;
    guard_ = before_->guard;
    event_ = before_->event;
  }

  void on_timeout(TimeNs now) override {
    window_ = kMinPackets * packet_;
    window_max_ = 0;  // the curve begins flat where slow start ends
    epoch_ = kNever;
    begin_event(now);
  }

  uint64_t window_bytes() const override { return static_cast<uint64_t>(window_); }

  std::string_view state() const override {
    return window_ < threshold_ ? "slow_start" : "congestion_avoidance";
  }

  Rate pacing_rate() const override {
    if (linux_) return config_.rate;
    return PaceOf(window_, window_ < threshold_ ? 2 : 1.2, rtt_, config_.rate);
  }

 private:
  struct Before {  // what a reduction changes
    double window, threshold, window_max, window_reno, k_s;
    TimeNs epoch;
    bool lost;
    ReactionGuard guard;
    bool event;
  };

  void begin_event(TimeNs now) {
    guard_.react(now);
    event_ = true;
  }

  bool reduce(TimeNs now, TimeNs sent) {
    if (!guard_.may_react(sent)) return false;
    begin_event(now);
    lost_ = true;
    // Fast convergence: a flow that is losing ground lets go of more.
    window_max_ = window_ < window_max_ ? window_ * (1 + kBeta) / 2 : window_;
    window_ = std::max(window_ * kBeta, kMinPackets * packet_);
    threshold_ = window_;
    epoch_ = kNever;
    return true;
  }

  // HyStart++ is for the first slow start only (RFC 9406, 4.3): after a time-out the threshold says
  // where to end. Linux' own is for each.
  void slow_start(const AckInfo& ack, bool new_round, bool full) {
    const bool first = threshold_ == kUnknown;
    if (linux_ ? linux_hystart_.on_ack(ack, new_round) &&
                     window_ >= LinuxHyStart::kLowPackets * packet_
               : first && hystart_.on_ack(ack, new_round)) {
      threshold_ = window_;
      return;
    }
    if (!full) return;
    const double gain = first && hystart_.conservative() ? 0.25 : 1;
    window_ = std::min(window_ + gain * static_cast<double>(ack.bytes), threshold_);
  }

  void avoid_congestion(const AckInfo& ack) {
    if (epoch_ == kNever) begin_epoch(ack.now);
    const double t = ToSeconds(ack.now - epoch_ + ack.smoothed_rtt) - k_s_;
    const double cubic = packet_ * kC * t * t * t + window_max_;
    const double least = linux_ && !lost_ ? 1.05 : 1;
    const double target = std::clamp(cubic, least * window_, 1.5 * window_);
    const double acked = static_cast<double>(ack.bytes);
    // Reno's window, which CUBIC never falls below (RFC 9438, 4.3).
    const double alpha = linux_ || window_reno_ < window_max_ ? kReno : 1;
    window_reno_ += alpha * packet_ * acked / window_;
    window_ = std::max(window_ + (target - window_) * acked / window_, window_reno_);
  }

  void begin_epoch(TimeNs now) {
    epoch_ = now;
    window_max_ = std::max(window_max_, window_);
    window_reno_ = window_;
    k_s_ = std::cbrt((window_max_ - window_) / (kC * packet_));
  }

  ControllerConfig config_;
  bool linux_;
  bool lost_ = false;  // anything so far
  double packet_;      // bytes, as all windows
  double window_;
  double threshold_ = kUnknown;
  double window_max_ = 0;
  double window_reno_ = 0;
  double k_s_ = 0;
  TimeNs epoch_ = kNever;  // start of this congestion avoidance; kNever: not begun
  bool event_ = false;     // nothing that left since its reaction has been acknowledged
  TimeNs rtt_;
  RoundCounter rounds_;
  WindowUse use_;
  ReactionGuard guard_;
  std::optional<Before> before_;  // the present episode of losses
  HyStart hystart_;
  LinuxHyStart linux_hystart_;
};

}  // namespace

ControllerPtr MakeCubic(const ControllerConfig& config) {
  return std::make_unique<Cubic>(config, false);
}
ControllerPtr MakeLinuxCubic(const ControllerConfig& config) {
  return std::make_unique<Cubic>(config, true);
}

}  // namespace farspan::transport
