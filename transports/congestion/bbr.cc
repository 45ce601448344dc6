// BBR, version 3 (draft-ietf-ccwg-bbr): the path's bandwidth and round trip, measured and probed.
//
// Startup, Drain, ProbeBW (Down, Cruise, Refill, Up) and ProbeRTT with the draft's gains, the long-
// and short-term bounds on what may be in flight, and the loss threshold of 2 %. Names of states
// and variables are the draft's. Differences: the loss rate is judged per round trip (the draft
// judges each lost packet against what was in flight when it left, which Controller is not told);
// CE marks count when more than half of a round's packets carry them (BBR version 2's threshold);
// in place of the draft's budgets for send quanta and aggregated acknowledgements, the window also
// holds what is sent while a driver is as late as it may be (ControllerConfig::granularity; Span
// acknowledges at least every RTT / 32 otherwise).
// An upward probe ends when more than 1.25 times the product of bandwidth and round trip is in
// flight, as in version 2 (draft-cardwell-iccrg-bbr-congestion-control-02), not after three rounds
// without growth, and the rounds between two probes are not drawn: flows that share a queue probe
// together, and one that came late keeps the smaller share (span_fairness_test.cc).
// Not modelled: packet conservation in recovery.
#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "emulator/base/random.h"
#include "transports/congestion/controllers.h"
#include "transports/congestion/rounds.h"

namespace farspan::transport {
namespace {

constexpr double kStartupPacingGain = 2.77;
constexpr double kDrainPacingGain = 0.5;
constexpr double kWindowGain = 2;
constexpr double kUpWindowGain = 2.25;
constexpr double kProbeRttWindowGain = 0.5;
constexpr double kPacingMargin = 0.99;
constexpr double kBeta = 0.7;
constexpr double kHeadroom = 0.85;
constexpr double kLossThreshold = 0.02;
constexpr double kMarkThreshold = 0.5;
constexpr double kFullPipeGrowth = 1.25;
constexpr int kFullPipeRounds = 3;
constexpr int kStartupLosses = 6;
constexpr uint64_t kRenoRounds = 63;
constexpr double kInitialPackets = 10;
constexpr double kMinPackets = 4;
constexpr TimeNs kMinRttWindow{10'000'000'000};
constexpr TimeNs kProbeRttInterval{5'000'000'000};
constexpr TimeNs kProbeRttDuration{200'000'000};
constexpr double kUnbounded = std::numeric_limits<double>::infinity();

enum class State : uint8_t { kStartup, kDrain, kDown, kCruise, kRefill, kUp, kProbeRtt };

class Bbr final : public Controller {
 public:
  explicit Bbr(const ControllerConfig& config)
      : config_(config), packet_(config.packet_bytes), window_(kInitialPackets * packet_) {
    const double rtt = config.initial_rtt.ns > 0 ? ToSeconds(config.initial_rtt) : 1e-3;
    pacing_rate_ = kStartupPacingGain * window_ / rtt;
  }

  void on_sent(const SentInfo& /*sent*/) override {}

  void on_ack(const AckInfo& ack) override {
    update_model(ack);
    advance_state(ack);
    set_pacing_rate();
    set_window(ack);
  }

  void on_loss(const LossInfo& loss) override {
    if (loss.first) {
      before_ = {state_, window_, bandwidth_shortterm_, inflight_shortterm_, inflight_longterm_};
    }
    lost_in_round_ += loss.bytes;
    ++losses_in_round_;
    // A burst need not wait for its round to end: the threshold of a whole window is enough.
    if (round_loss_too_high(window_)) note_inflight_too_high(loss.now);
  }

  void on_timeout(TimeNs /*now*/) override { window_ = kMinPackets * packet_; }

  // BBRHandleSpuriousLossDetection().
  void on_spurious(TimeNs now) override {
    lost_in_round_ = 0;
    losses_in_round_ = 0;
    too_high_noted_ = false;
    if (!before_) return;
    full_bandwidth_ = 0;
    full_rounds_ = 0;
    window_ = std::max(window_, before_->window);
    bandwidth_shortterm_ = std::max(bandwidth_shortterm_, before_->bandwidth_shortterm);
    inflight_shortterm_ = std::max(inflight_shortterm_, before_->inflight_shortterm);
    inflight_longterm_ = std::max(inflight_longterm_, before_->inflight_longterm);
    if (state_ == State::kProbeRtt || state_ == before_->state) return;
    if (before_->state == State::kStartup) {
      filled_pipe_ = false;
      state_ = State::kStartup;
    }
    if (before_->state == State::kRefill) enter_refill();
    if (before_->state == State::kUp) enter_up(now);
  }

  uint64_t window_bytes() const override { return static_cast<uint64_t>(window_); }

  std::string_view state() const override {
    constexpr std::array<std::string_view, 7> kNames{
        "startup",         "drain",       "probe_bw_down", "probe_bw_cruise",
        "probe_bw_refill", "probe_bw_up", "probe_rtt"};
    return kNames[static_cast<size_t>(state_)];
  }

  Rate pacing_rate() const override {
    const auto rate = static_cast<uint64_t>(pacing_rate_ * 8);
    return {config_.rate.bits_per_s > 0 ? std::min(rate, config_.rate.bits_per_s) : rate};
  }

 private:
  struct Before {  // what a loss changes
    State state;
    double window, bandwidth_shortterm, inflight_shortterm, inflight_longterm;
  };

  bool probing_bandwidth() const {
    return state_ == State::kStartup || state_ == State::kRefill || state_ == State::kUp;
  }
  double bandwidth() const { return std::min(max_bandwidth(), bandwidth_shortterm_); }
  double max_bandwidth() const { return std::max(bandwidth_[0], bandwidth_[1]); }
  double bdp(double gain) const {
    return min_rtt_ == kNever ? kInitialPackets * packet_
                              : gain * bandwidth() * ToSeconds(min_rtt_);
  }
  double inflight_with_headroom() const {
    if (inflight_longterm_ == kUnbounded) return kUnbounded;
    return std::max(kHeadroom * inflight_longterm_, kMinPackets * packet_);
  }

  // --- the model

  void update_model(const AckInfo& ack) {
    round_start_ = rounds_.on_ack(ack);
    delivered_in_round_ += static_cast<double>(ack.bytes);
    packets_in_round_ += ack.packets;
    marks_in_round_ += ack.ecn_marked;
    const double rate = static_cast<double>(ack.rate.bits_per_s) / 8;
    bandwidth_latest_ = std::max(bandwidth_latest_, rate);
    inflight_latest_ = std::max(inflight_latest_, static_cast<double>(ack.rate.delivered));
    if (rate > 0 && (rate >= max_bandwidth() || !ack.rate.app_limited)) {
      bandwidth_[1] = std::max(bandwidth_[1], rate);
    }
    update_min_rtt(ack);
    if (round_start_) end_round(ack);
  }

  void end_round(const AckInfo& ack) {
    const bool congested = lost_in_round_ > 0 || marked_too_often();
    if (round_loss_too_high(0) || marked_too_often()) note_inflight_too_high(ack.now);
    if (congested && !probing_bandwidth()) adapt_shortterm_bounds();
    if (marked_too_often()) before_.reset();
    if (state_ == State::kStartup) check_full_pipe(ack);
    ++rounds_since_probe_;
    delivered_in_round_ = lost_in_round_ = 0;
    losses_in_round_ = 0;
    packets_in_round_ = marks_in_round_ = 0;
    bandwidth_latest_ = inflight_latest_ = 0;
    too_high_noted_ = false;
  }

  // `at_least`: judge as if so much had been delivered, for a round that is not over.
  bool round_loss_too_high(double at_least) const {
    const double lost = static_cast<double>(lost_in_round_);
    return losses_in_round_ > 1 &&
           lost > kLossThreshold * (lost + std::max(delivered_in_round_, at_least));
  }
  bool marked_too_often() const {
    return static_cast<double>(marks_in_round_) >
           kMarkThreshold * static_cast<double>(packets_in_round_);
  }

  void adapt_shortterm_bounds() {
    if (bandwidth_shortterm_ == kUnbounded) bandwidth_shortterm_ = max_bandwidth();
    if (inflight_shortterm_ == kUnbounded) inflight_shortterm_ = window_;
    bandwidth_shortterm_ = std::max(bandwidth_latest_, kBeta * bandwidth_shortterm_);
    inflight_shortterm_ = std::max(inflight_latest_, kBeta * inflight_shortterm_);
  }

  void note_inflight_too_high(TimeNs now) {
    if (too_high_noted_) return;
    too_high_noted_ = true;
    if (state_ == State::kStartup && losses_in_round_ < kStartupLosses) return;
    if (!probing_bandwidth()) return;
    inflight_longterm_ = std::max({inflight_latest_, kBeta * bdp(1), kMinPackets * packet_});
    if (state_ == State::kStartup) enter_drain();
    if (state_ == State::kUp || state_ == State::kRefill) enter_down(now);
  }

  void update_min_rtt(const AckInfo& ack) {
    if (ack.rtt == kNever) return;
    if (ack.rtt <= probe_rtt_min_ || ack.now - probe_rtt_min_seen_ > kProbeRttInterval) {
      probe_rtt_due_ = ack.rtt > probe_rtt_min_;
      probe_rtt_min_ = ack.rtt;
      probe_rtt_min_seen_ = ack.now;
    }
    if (probe_rtt_min_ <= min_rtt_ || ack.now - min_rtt_seen_ > kMinRttWindow) {
      min_rtt_ = probe_rtt_min_;
      min_rtt_seen_ = probe_rtt_min_seen_;
    }
  }

  // --- the states

  void advance_state(const AckInfo& ack) {
    const double inflight = static_cast<double>(ack.inflight);
    if (state_ == State::kDrain && inflight <= bdp(1)) enter_down(ack.now);
    if (state_ >= State::kDown && state_ <= State::kUp) cycle(ack.now, inflight);
    if (state_ != State::kProbeRtt && probe_rtt_due_) enter_probe_rtt();
    probe_rtt_due_ = false;
    if (state_ == State::kProbeRtt) handle_probe_rtt(ack);
  }

  void check_full_pipe(const AckInfo& ack) {
    if (ack.rate.app_limited) return;
    if (max_bandwidth() >= full_bandwidth_ * kFullPipeGrowth) {
      full_bandwidth_ = max_bandwidth();
      full_rounds_ = 0;
    } else if (++full_rounds_ >= kFullPipeRounds) {
      enter_drain();
    }
  }

  void enter_drain() {
    filled_pipe_ = true;
    state_ = State::kDrain;
  }

  void enter_down(TimeNs now) {
    state_ = State::kDown;
    probe_started_ = now;
    rounds_since_probe_ = 0;
    const uint64_t word = Draw({config_.seed}, RandomPurpose::kCongestion, ++draws_).lo;
    probe_wait_ = TimeNs{2'000'000'000 + static_cast<int64_t>(ToUnit(word) * 1e9)};
    bandwidth_[0] = bandwidth_[1];  // the filter spans two cycles
    bandwidth_[1] = 0;
  }

  bool time_to_probe(TimeNs now) const {
    const auto reno_rounds = static_cast<uint64_t>(bdp(1) / packet_);
    return now - probe_started_ > probe_wait_ ||
           rounds_since_probe_ >= std::min(reno_rounds, kRenoRounds);
  }

  void cycle(TimeNs now, double inflight) {
    switch (state_) {
      case State::kDown:
        if (time_to_probe(now)) return enter_refill();
        if (inflight <= std::min(inflight_with_headroom(), bdp(1))) state_ = State::kCruise;
        return;
      case State::kCruise:
        if (time_to_probe(now)) enter_refill();
        return;
      case State::kRefill:
        if (round_start_ && ++refill_rounds_ > 1) enter_up(now);
        return;
      default:
        if (round_start_) raise_longterm_bound();
        if (now - up_started_ > min_rtt_ && inflight > bdp(1.25)) enter_down(now);
        return;
    }
  }

  void enter_refill() {
    state_ = State::kRefill;
    refill_rounds_ = 0;
    bandwidth_shortterm_ = inflight_shortterm_ = kUnbounded;
  }

  void enter_up(TimeNs now) {
    state_ = State::kUp;
    up_started_ = now;
    up_growth_ = packet_;
  }

  // While probing upwards what may be in flight grows by 1, 2, 4… packets per round.
  void raise_longterm_bound() {
    if (inflight_longterm_ == kUnbounded) return;
    inflight_longterm_ += up_growth_;
    up_growth_ = std::min(up_growth_ * 2, inflight_longterm_);
  }

  void enter_probe_rtt() {
    state_ = State::kProbeRtt;
    probe_rtt_done_ = kNever;
  }

  void handle_probe_rtt(const AckInfo& ack) {
    if (probe_rtt_done_ == kNever) {
      if (static_cast<double>(ack.inflight) > probe_rtt_window()) return;
      probe_rtt_done_ = ack.now + kProbeRttDuration;
      probe_rtt_round_over_ = false;
      probe_rtt_round_ = rounds_.count();
      return;
    }
    if (rounds_.count() > probe_rtt_round_ + 1) probe_rtt_round_over_ = true;
    if (!probe_rtt_round_over_ || ack.now < probe_rtt_done_) return;
    probe_rtt_min_seen_ = ack.now;
    bandwidth_shortterm_ = inflight_shortterm_ = kUnbounded;
    if (!filled_pipe_) {
      state_ = State::kStartup;
      return;
    }
    enter_down(ack.now);
    state_ = State::kCruise;
  }

  double probe_rtt_window() const {
    return std::max(bdp(kProbeRttWindowGain), kMinPackets * packet_);
  }

  // --- what follows from them

  double pacing_gain() const {
    switch (state_) {
      case State::kStartup:
        return kStartupPacingGain;
      case State::kDrain:
        return kDrainPacingGain;
      case State::kDown:
        return 0.9;
      case State::kUp:
        return 1.25;
      default:
        return 1;
    }
  }

  void set_pacing_rate() {
    const double rate = pacing_gain() * bandwidth() * kPacingMargin;
    if (rate > 0 && (filled_pipe_ || rate > pacing_rate_)) pacing_rate_ = rate;
  }

  void set_window(const AckInfo& ack) {
    const double gain = state_ == State::kUp ? kUpWindowGain : kWindowGain;
    const double lateness = bandwidth() * ToSeconds(config_.granularity);
    const double most = std::max(gain * lateness + bdp(gain), kMinPackets * packet_);
    const double acked = static_cast<double>(ack.bytes);
    if (filled_pipe_) {
      window_ = std::min(window_ + acked, most);
    } else if (window_ < most || static_cast<double>(ack.delivered) < kInitialPackets * packet_) {
      window_ += acked;
    }
    if (state_ == State::kProbeRtt) window_ = std::min(window_, probe_rtt_window());
    double bound = kUnbounded;
    if (state_ == State::kCruise || state_ == State::kProbeRtt) {
      bound = inflight_with_headroom();
    } else if (state_ != State::kStartup && state_ != State::kDrain) {
      bound = inflight_longterm_;
    }
    bound = std::max(std::min(bound, inflight_shortterm_), kMinPackets * packet_);
    window_ = std::min({window_, bound, static_cast<double>(config_.max_window)});
  }

  ControllerConfig config_;
  double packet_;
  double window_;       // bytes, as everything "inflight"
  double pacing_rate_;  // bytes per second, as everything "bandwidth"

  State state_ = State::kStartup;
  RoundCounter rounds_;
  bool round_start_ = false;

  double bandwidth_[2] = {0, 0};  // the most of the previous cycle and of this one
  double bandwidth_shortterm_ = kUnbounded;
  double inflight_shortterm_ = kUnbounded;
  double inflight_longterm_ = kUnbounded;
  double bandwidth_latest_ = 0;  // of this round
  double inflight_latest_ = 0;
  double delivered_in_round_ = 0;
  uint64_t lost_in_round_ = 0;
  int losses_in_round_ = 0;
  uint64_t packets_in_round_ = 0;
  uint64_t marks_in_round_ = 0;
  bool too_high_noted_ = false;
  std::optional<Before> before_;  // the present episode of losses

  bool filled_pipe_ = false;
  double full_bandwidth_ = 0;
  int full_rounds_ = 0;

  TimeNs min_rtt_ = kNever;
  TimeNs min_rtt_seen_{};
  TimeNs probe_rtt_min_ = kNever;
  TimeNs probe_rtt_min_seen_{};
  bool probe_rtt_due_ = false;
  TimeNs probe_rtt_done_ = kNever;
  uint64_t probe_rtt_round_ = 0;
  bool probe_rtt_round_over_ = false;

  TimeNs probe_started_{};
  TimeNs probe_wait_{};
  uint64_t rounds_since_probe_ = 0;
  int refill_rounds_ = 0;
  TimeNs up_started_{};
  double up_growth_ = 0;
  uint64_t draws_ = 0;
};

}  // namespace

ControllerPtr MakeBbr(const ControllerConfig& config) { return std::make_unique<Bbr>(config); }

}  // namespace farspan::transport
