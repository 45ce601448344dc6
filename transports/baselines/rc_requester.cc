#include "transports/baselines/rc_requester.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "emulator/base/check.h"
#include "transports/baselines/model_comm.h"
#include "transports/core/wire.h"

namespace farspan::baselines {

uint32_t RcHeaderBytes(const ModelConfig& config, const RcWork& work, uint64_t number) {
  constexpr uint32_t kReth = 16, kImmediate = 4;
  const bool placed = config.rc.selective || number == work.first;
  const bool immediate = work.inline_bytes == 0 && number == work.last();
  return kHeadBytes + (placed ? kReth : 0) + (immediate ? kImmediate : 0) + work.inline_bytes;
}

RcRequester::RcRequester(const ModelConfig& config, transport::Path* path, StreamKey key,
                         ModelCounters& counters)
    : config_(config), path_(path), key_(key), counters_(counters) {}

RcRequester::~RcRequester() {
  for (const SentPacket& sent : sent_) path_->forget(sent.wire_bytes);
}

void RcRequester::post(RcWork work) {
  work.first = end_;
  work.packets =
      std::max<uint64_t>(1, (work.bytes + config_.payload_bytes - 1) / config_.payload_bytes);
  end_ += work.packets;
  works_.push_back(work);
}

uint64_t RcRequester::expand(uint32_t number) const {
  return transport::Expand(number, 32, oldest_);
}

const RcWork& RcRequester::work_of(uint64_t number) const {
  const auto after = std::upper_bound(works_.begin(), works_.end(), number,
                                      [](uint64_t n, const RcWork& w) { return n < w.first; });
  FARSPAN_CHECK(after != works_.begin());
  return *std::prev(after);
}

uint32_t RcRequester::payload_of(const RcWork& work, uint64_t number) const {
  const uint64_t before = (number - work.first) * config_.payload_bytes;
  return static_cast<uint32_t>(std::min<uint64_t>(config_.payload_bytes, work.bytes - before));
}

uint32_t RcRequester::wire_bytes(uint64_t number) const {
  const RcWork& work = work_of(number);
  return kFramingBytes + RcHeaderBytes(config_, work, number) + payload_of(work, number);
}

TimeNs RcRequester::departure(TimeNs now) const {
  const uint64_t number = upcoming();
  if (exhausted_ || number == end_ || number - oldest_ >= config_.window_packets ||
      !path_->has_room(kFramingBytes + kHeadBytes + config_.payload_bytes)) {
    return kNever;
  }
  return path_->next_departure(now);
}

RcRequester::Packet RcRequester::take(TimeNs departure) {
  const uint64_t number = upcoming();
  if (repairs_.empty()) {
    ++next_;
  } else {
    repairs_.pop_front();
  }
  const RcWork& work = work_of(number);
  const uint32_t bytes = payload_of(work, number);
  const bool again = number - oldest_ < sent_.size();
  if (!again) sent_.emplace_back();
  SentPacket& sent = sent_[number - oldest_];
  path_->forget(sent.wire_bytes);
  sent.wire_bytes = wire_bytes(number);
  sent.sent = departure;
  sent.again = again;
  sent.stamp = path_->on_sent(departure, sent.wire_bytes, upcoming() == end_);
  ++(again ? counters_.data_resent : counters_.data_sent);
  if (again) counters_.resent_bytes += bytes;
  const bool ack = ask_ || number == work.last() || (number + 1) % config_.rc.ack_packets == 0;
  ask_ = false;
  if (timer_ == kNever) arm(departure);
  return {&work, number, bytes, ack};
}

void RcRequester::on_ack(TimeNs now, uint64_t expected, uint32_t marked) {
  if (expected <= oldest_ || expected - oldest_ > sent_.size()) return;
  uint64_t bytes = 0;
  uint32_t packets = 0;
  SentPacket newest;
  for (; oldest_ < expected; ++oldest_) {
    const SentPacket& sent = sent_.front();
    if (sent.wire_bytes != 0) {
      bytes += sent.wire_bytes;
      ++packets;
      newest = sent;
    }
    sent_.pop_front();
  }
  next_ = std::max(next_, oldest_);
  while (!repairs_.empty() && repairs_.front() < oldest_) repairs_.pop_front();
  while (complete_ < works_.size() && works_[complete_].last() < oldest_) ++complete_;
  TimeNs rtt = kNever;
  if (packets != 0 && !newest.again) {
    rtt = now - newest.sent;
    path_->on_rtt(now, rtt);
  }
  if (packets != 0) path_->on_acked(now, bytes, packets, marked, rtt, newest.stamp, newest.sent);
  retries_ = level_ = 0;
  timer_ = kNever;
  if (!sent_.empty()) arm(now);
}

void RcRequester::on_nak(TimeNs now, uint64_t first, uint64_t count) {
  const uint64_t sent_end = oldest_ + sent_.size();
  if (first < oldest_ || first >= sent_end) return;
  ask_ = true;
  if (!config_.rc.selective) {
    spend_retry();
    arm(now);
    return go_back(now, first);
  }
  for (uint64_t n = first; n < std::min(first + count, sent_end) && n < next_; ++n) {
    lose(now, n);
    repairs_.push_back(n);
  }
}

void RcRequester::on_timeout(TimeNs now) {
  if (timer_ > now) return;
  timer_ = kNever;
  ++counters_.timeouts;
  ++level_;
  spend_retry();
  ask_ = true;
  go_back(now, oldest_);
}

// It is the path's no more, until it is sent again.
void RcRequester::lose(TimeNs now, uint64_t number) {
  SentPacket& sent = sent_[number - oldest_];
  if (sent.wire_bytes == 0) return;
  path_->on_lost(now, number, sent.wire_bytes, sent.sent, false);
  sent.wire_bytes = 0;
}

// Only the first counts as lost on the path: the others may well have arrived, and be discarded.
void RcRequester::go_back(TimeNs now, uint64_t number) {
  lose(now, number);
  for (uint64_t n = number + 1; n < oldest_ + sent_.size(); ++n) {
    path_->forget(std::exchange(sent_[n - oldest_].wire_bytes, 0));
  }
  repairs_.clear();
  next_ = number;
}

void RcRequester::spend_retry() {
  if (retries_++ >= config_.rc.retry_count) exhausted_ = true;
}

void RcRequester::arm(TimeNs now) {
  const double factor = 1 + 3 * ToUnit(Draw(key_, RandomPurpose::kTransport, draws_++).lo);
  TimeNs wait{
      static_cast<int64_t>(factor * 4'096 * std::ldexp(1.0, static_cast<int>(config_.rc.timeout)))};
  if (config_.rc.adaptive) {
    const TimeNs adaptive{config_.rc.adaptive_first.ns << std::min(level_, 30u)};
    wait = std::min(wait, adaptive);
  }
  timer_ = now + wait;
}

std::optional<RcWork> RcRequester::pop_complete() {
  if (complete_ == 0) return std::nullopt;
  --complete_;
  const RcWork work = works_.front();
  works_.pop_front();
  return work;
}

}  // namespace farspan::baselines
