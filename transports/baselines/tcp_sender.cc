#include "transports/baselines/tcp_sender.h"

#include <algorithm>
#include <utility>

#include "emulator/base/check.h"
#include "transports/baselines/model_comm.h"
#include "transports/core/wire.h"

namespace farspan::baselines {
namespace {

constexpr TimeNs kMinWait{200'000'000};      // TCP_RTO_MIN
constexpr TimeNs kFirstWait{1'000'000'000};  // RFC 6298, 2.1
constexpr TimeNs kMaxWait{120'000'000'000};  // TCP_RTO_MAX
constexpr uint64_t kLater = 3;               // transmissions that came and left later

}  // namespace

TcpSender::TcpSender(const ModelConfig& config, std::unique_ptr<transport::Path> path,
                     ModelCounters& counters)
    : config_(config),
      path_(std::move(path)),
      counters_(counters),
      window_(TcpWindow(config.tcp)) {}

uint64_t TcpSender::room() const {
  const uint64_t held = written_ - acknowledged_;
  return held >= config_.tcp.send_buffer_bytes ? 0 : config_.tcp.send_buffer_bytes - held;
}

void TcpSender::write(TimeNs now, TcpSegment segment) {
  written_ += segment.bytes;
  segment.end = written_;
  segments_.push_back({std::move(segment), State::kUnsent, false, 0, 0, {}, {}});
  if (timer_ == kNever && !in_flight() && departure(now) == kNever) arm(now);
}

uint64_t TcpSender::expand(uint32_t number) const { return transport::Expand(number, 32, oldest_); }

uint64_t TcpSender::upcoming() const { return lost_.empty() ? next_ : lost_.front(); }

TimeNs TcpSender::departure(TimeNs now) const {
  const uint64_t number = upcoming();
  if (number == end() || number - oldest_ >= config_.window_packets) return kNever;
  const TcpSegment& segment = entry(number).segment;
  if (segment.end > window_ || !path_->has_room(TcpWireBytes(segment))) return kNever;
  return path_->next_departure(now);
}

TcpSender::Departing TcpSender::take(TimeNs departure) {
  const uint64_t number = upcoming();
  const bool again = !lost_.empty();
  next_ += again ? 0 : 1;
  Entry& sending = entry(number);
  ++(again ? counters_.data_resent : counters_.data_sent);
  if (again) counters_.resent_bytes += sending.segment.bytes;
  sending.state = State::kInFlight;
  sending.again = again;
  sending.wire_bytes = TcpWireBytes(sending.segment);
  sending.transmission = transmissions_++;
  sending.sent = departure;
  prune_lost();
  if (!in_flight()) progress_at_ = departure;
  ++flying_;
  sending.stamp = path_->on_sent(departure, sending.wire_bytes, upcoming() == end());
  flights_.push_back({number, sending.transmission, departure});
  // RFC 6298, 5.1, and RFC 8985, 7.2: a probe waits from the last segment on.
  if (timer_ == kNever || timer_probes_) arm(departure);
  return {&sending.segment, number};
}

void TcpSender::on_ack(TimeNs now, const TcpAck& ack, uint32_t marked) {
  if (ack.expected > next_) return;
  window_ = std::max(window_, ack.window);
  Tally tally;
  const uint64_t highest_before = sacked_.empty() ? 0 : sacked_.end();
  const auto came = [&](uint64_t number) {
    // Never sent again, and yet later than others that left after it.
    reordering_ = reordering_ || (number < highest_before && !entry(number).again);
    deliver(number, tally);
  };
  for (; oldest_ < ack.expected; ++oldest_) {
    if (segments_.front().state != State::kSacked) came(oldest_);
    acknowledged_ = segments_.front().segment.end;
    segments_.pop_front();
  }
  sacked_.forget_below(oldest_);
  for (uint32_t i = 0; i < ack.sacks; ++i) {
    const TcpAck::Range& range = ack.sack[i];
    const uint64_t first = std::max(range.first, oldest_);
    if (range.end > next_ || first >= range.end) continue;
    sacked_.add(first, range.end, [&](uint64_t number) {
      came(number);
      entry(number).state = State::kSacked;
    });
  }
  prune_lost();
  if (tally.packets != 0) tell_path(now, tally, marked);
  find_losses(now);
  if (timer_ == kNever) arm(now);
}

void TcpSender::tell_path(TimeNs now, const Tally& tally, uint32_t marked) {
  const TimeNs took = now - tally.sent;
  if (tally.fresh) path_->on_rtt(now, took);
  // What came sooner than anything can was sent again in vain, and says nothing of when it left.
  if (tally.transmission >= newest_delivered_ && (tally.fresh || took >= path_->min_rtt())) {
    newest_delivered_ = tally.transmission + 1;
    newest_rtt_ = took;
  }
  path_->on_acked(now, tally.bytes, tally.packets, marked, tally.fresh ? took : kNever, tally.stamp,
                  tally.sent);
  progress_at_ = now;
  backoff_ = 0;
  tail_probed_ = false;
  timer_ = kNever;
}

// The path no longer holds it.
void TcpSender::deliver(uint64_t number, Tally& tally) {
  Entry& came = entry(number);
  if (came.state == State::kInFlight) {
    tally.bytes += came.wire_bytes;
    --flying_;
  }
  if (came.state == State::kLost) reordering_ = true;  // it was only late
  ++tally.packets;
  if (came.transmission < tally.transmission) return;
  tally.transmission = came.transmission;
  tally.fresh = !came.again;
  tally.sent = came.sent;
  tally.stamp = came.stamp;
}

bool TcpSender::is_lost(const Transmission& flight, TimeNs now) const {
  if (!reordering_ && flight.transmission + kLater < newest_delivered_) return true;
  const TimeNs patience{path_->min_rtt().ns / 4};
  return flight.sent + newest_rtt_ + patience <= now;
}

// In the order of departure, everything that left before the newest that came.
void TcpSender::find_losses(TimeNs now) {
  reorder_at_ = kNever;
  while (!flights_.empty() && flights_.front().transmission + 1 < newest_delivered_) {
    const Transmission flight = flights_.front();
    const bool flying = flight.number >= oldest_ &&
                        entry(flight.number).state == State::kInFlight &&
                        entry(flight.number).transmission == flight.transmission;
    if (flying && !is_lost(flight, now)) {
      reorder_at_ = flight.sent + newest_rtt_ + TimeNs{path_->min_rtt().ns / 4};
      return;
    }
    if (flying) lose(now, flight.number);
    flights_.pop_front();
  }
}

void TcpSender::lose(TimeNs now, uint64_t number) {
  Entry& gone = entry(number);
  gone.state = State::kLost;
  --flying_;
  path_->on_lost(now, number, gone.wire_bytes, gone.sent, false);
  lost_.push_back(number);
}

TimeNs TcpSender::deadline() const { return std::min(timer_, reorder_at_); }

TimeNs TcpSender::retransmission_wait() const {
  const TimeNs smoothed = path_->smoothed_rtt();
  if (smoothed.ns == 0) return kFirstWait;
  const TimeNs wait{smoothed.ns + std::max(4 * path_->view().rtt_variation.ns, kMinWait.ns)};
  return {std::min(wait.ns << std::min(backoff_, 10u), kMaxWait.ns)};
}

void TcpSender::arm(TimeNs now) {
  timer_ = kNever;
  if (segments_.empty()) return;
  timer_ = now + retransmission_wait();
  // RFC 8985, 7.2; Linux adds the receiver's longest delay where one segment is in flight.
  timer_probes_ = in_flight() && !tail_probed_ && backoff_ == 0 && sacked_.empty() &&
                  lost_.empty() && path_->smoothed_rtt().ns != 0;
  if (!timer_probes_) return;
  const TimeNs alone = flying_ == 1 ? kMinWait : TimeNs{2'000'000};
  timer_ = std::min(timer_, now + TimeNs{2 * path_->smoothed_rtt().ns} + alone);
}

void TcpSender::on_timeout(TimeNs now) {
  if (reorder_at_ <= now) find_losses(now);
  if (timer_ > now) return;
  timer_ = kNever;
  if (segments_.empty()) return;
  if (now - progress_at_ > config_.timeout) {
    dead_ = true;
    return;
  }
  ++counters_.timeouts;
  if (!in_flight() && lost_.empty()) {
    probe_due_ = true;  // the window is shut
    ++backoff_;
  } else if (timer_probes_) {
    send_tail_probe();
  } else {
    retransmit_all(now);
    ++backoff_;
  }
  arm(now);
}

// The last segment again, outside the window, so that its ACK tells what is missing.
void TcpSender::send_tail_probe() {
  tail_probed_ = true;
  for (uint64_t number = next_; number-- > oldest_;) {
    Entry& last = entry(number);
    if (last.state != State::kInFlight) continue;
    path_->forget(last.wire_bytes);
    last.state = State::kLost;
    --flying_;
    lost_.push_back(number);
    return;
  }
}

void TcpSender::retransmit_all(TimeNs now) {
  lost_.clear();
  for (uint64_t number = oldest_; number < next_; ++number) {
    Entry& gone = entry(number);
    if (gone.state == State::kInFlight) {
      lose(now, number);
    } else if (gone.state == State::kLost) {
      lost_.push_back(number);
    }
  }
  flights_.clear();
  path_->controller().on_timeout(now);
}

void TcpSender::prune_lost() {
  while (!lost_.empty() &&
         (lost_.front() < oldest_ || entry(lost_.front()).state != State::kLost)) {
    lost_.pop_front();
  }
}

bool TcpSender::take_probe() { return std::exchange(probe_due_, false); }

}  // namespace farspan::baselines
