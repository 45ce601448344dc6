// DCQCN's reaction point (Zhu et al., SIGCOMM'15, section 3.1 and figure 7): a rate, steered by
// marks.
//
// An acknowledgement that reports CE marks stands for the congestion notification packet, at most
// one per kNotificationInterval as the paper's notification point sends them. Rates start at the
// line rate. There is no window: the paper stands on PFC against loss.
// Ours, for long links: a declared loss counts as a notification too, since there is no PFC, and as
// none where it was none; and timers and byte counter take a smoothed round trip at least, or
// hundreds of increases (364 at 20 ms) would pass before the first of them is heard of.
#include <algorithm>
#include <optional>

#include "transports/congestion/controllers.h"

namespace farspan::transport {
namespace {

constexpr TimeNs kNotificationInterval{50'000};
constexpr TimeNs kTimer{55'000};  // of alpha's decay and of the increases
constexpr uint64_t kIncreaseBytes = 10'000'000;
constexpr double kG = 1.0 / 256;
constexpr int kFastRecovery = 5;        // increases that only halve the distance to the target
constexpr double kAdditive = 40e6;      // bits/s
constexpr double kHyper = 200e6;        // bits/s
constexpr double kMinRate = 1e6;        // bits/s
constexpr double kDefaultLine = 100e9;  // bits/s, where no rate is configured

class Dcqcn final : public Controller {
 public:
  explicit Dcqcn(const ControllerConfig& config)
      : window_(config.max_window),
        line_(config.rate.bits_per_s > 0 ? static_cast<double>(config.rate.bits_per_s)
                                         : kDefaultLine),
        current_(line_),
        target_(line_),
        rtt_(config.initial_rtt) {}

  void on_sent(const SentInfo& sent) override {
    run_timers(sent.now);
    if (current_ >= line_) return;
    bytes_ += sent.bytes;
    const double in_a_round = current_ / 8 * ToSeconds(rtt_);
    if (bytes_ >= std::max(kIncreaseBytes, static_cast<uint64_t>(in_a_round))) {
      bytes_ = 0;
      ++byte_stage_;
      increase();
    }
  }

  void on_ack(const AckInfo& ack) override {
    rtt_ = ack.smoothed_rtt;
    run_timers(ack.now);
    if (ack.ecn_marked > 0 && notify(ack.now)) before_.reset();
  }

  void on_loss(const LossInfo& loss) override {
    run_timers(loss.now);
    if (loss.first) before_ = {current_, target_, alpha_, notified_};
    notify(loss.now);
  }

  void on_timeout(TimeNs now) override {
    run_timers(now);
    notify(now);
  }

  void on_spurious(TimeNs /*now*/) override {
    if (!before_ || current_ >= before_->current) return;
    current_ = before_->current;
    target_ = before_->target;
    alpha_ = before_->alpha;
    notified_ = before_->notified;
  }

  uint64_t window_bytes() const override { return window_; }
  Rate pacing_rate() const override { return {static_cast<uint64_t>(current_)}; }

 private:
  struct Before {  // what a loss changes
    double current, target, alpha;
    TimeNs notified;
  };

  TimeNs timer() const { return std::max(kTimer, rtt_); }

  bool notify(TimeNs now) {
    if (now - notified_ < std::max(kNotificationInterval, rtt_)) return false;
    notified_ = now;
    target_ = current_;
    current_ = std::max(current_ * (1 - alpha_ / 2), kMinRate);
    alpha_ = (1 - kG) * alpha_ + kG;
    next_alpha_ = now + timer();
    next_increase_ = now + timer();
    bytes_ = 0;
    byte_stage_ = timer_stage_ = 0;
    return true;
  }

  // Timers run out between calls; what they do is done in their order. At the line rate nothing
  // more can change but alpha, which decays in one step.
  void run_timers(TimeNs now) {
    while (next_alpha_ <= now && alpha_ > 1e-6) {
      alpha_ *= 1 - kG;
      next_alpha_ += timer();
    }
    while (next_increase_ <= now && current_ < line_) {
      next_increase_ += timer();
      ++timer_stage_;
      increase();
    }
  }

  void increase() {
    if (const int both = std::min(byte_stage_, timer_stage_); both > kFastRecovery) {
      target_ += (both - kFastRecovery) * kHyper;
    } else if (std::max(byte_stage_, timer_stage_) > kFastRecovery) {
      target_ += kAdditive;
    }
    target_ = std::min(target_, line_);
    current_ = (current_ + target_) / 2;
    if (current_ > line_ * (1 - 1e-6)) current_ = line_;
  }

  uint64_t window_;
  double line_;
  double current_;
  double target_;
  double alpha_ = 1;
  TimeNs rtt_;
  TimeNs notified_{-1'000'000'000'000};
  TimeNs next_alpha_ = kNever;
  TimeNs next_increase_ = kNever;
  uint64_t bytes_ = 0;
  int byte_stage_ = 0;
  int timer_stage_ = 0;
  std::optional<Before> before_;  // the present episode of losses
};

}  // namespace

ControllerPtr MakeDcqcn(const ControllerConfig& config) { return std::make_unique<Dcqcn>(config); }

}  // namespace farspan::transport
