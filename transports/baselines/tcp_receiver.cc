#include "transports/baselines/tcp_receiver.h"

#include <algorithm>
#include <utility>

#include "transports/core/wire.h"

namespace farspan::baselines {
namespace {

constexpr TimeNs kDelay{40'000'000};
constexpr TimeNs kNow{INT64_MIN};

}  // namespace

TcpReceiver::TcpReceiver(const ModelConfig& config)
    : config_(config), told_window_(TcpWindow(config.tcp)) {}

uint64_t TcpReceiver::expand(uint32_t number) const {
  return transport::Expand(number, 32, expected_);
}

bool TcpReceiver::on_segment(TimeNs now, uint64_t number, TcpSegment segment) {
  const bool beyond = number - expected_ >= config_.window_packets;
  if (number < expected_ || beyond || beyond_.around(number).second > number) {
    ack_at_ = kNow;
    return false;
  }
  if (number - read_ >= held_.size()) held_.resize(number - read_ + 1);
  held_[number - read_] = std::move(segment);
  if (number != expected_ || !beyond_.empty()) ack_at_ = kNow;
  beyond_.add(number, number + 1, [](uint64_t) {});
  const auto [first, end] = beyond_.around(number);
  std::erase_if(recent_, [&, low = first, high = end](uint64_t n) {
    return n < expected_ || (n >= low && n < high);
  });
  if (number == expected_) {
    expected_ = end;
    beyond_.forget_below(end);
  } else {
    recent_.push_front(number);
  }
  if (++unacknowledged_ >= config_.tcp.ack_packets) ack_at_ = kNow;
  ack_at_ = std::min(ack_at_, now + kDelay);
  return true;
}

const TcpSegment* TcpReceiver::front() const {
  return read_ < expected_ ? &*held_.front() : nullptr;
}

void TcpReceiver::pop() {
  read_bytes_ += held_.front()->bytes;
  held_.pop_front();
  ++read_;
  if (window() - told_window_ >= TcpWindow(config_.tcp) / 2) ack_at_ = kNow;
}

TcpAck TcpReceiver::take_ack() {
  TcpAck ack;
  ack.expected = expected_;
  ack.window = told_window_ = window();
  for (const uint64_t number : recent_) {
    if (ack.sacks == TcpAck::kMaxSacks) break;
    const auto [first, end] = beyond_.around(number);
    if (first < end) ack.sack[ack.sacks++] = {first, end};
  }
  if (recent_.size() > TcpAck::kMaxSacks) recent_.resize(TcpAck::kMaxSacks);
  unacknowledged_ = 0;
  ack_at_ = kNever;
  return ack;
}

}  // namespace farspan::baselines
