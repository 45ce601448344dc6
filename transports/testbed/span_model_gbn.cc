// The model of go-back-N: one line of datagrams, which begins again at each loss.
#include <algorithm>
#include <cmath>

#include "transports/testbed/span_model.h"

namespace farspan::testbed {

void SpanModel::go_back_n() {
  uint64_t sent = 0;
  for (;;) {
    const uint64_t left = datagrams_ - cursor_;
    const uint64_t in_order = std::min(left, gap());
    sent += in_order;
    cursor_ += in_order;
    now_ += static_cast<double>(in_order) * datagram_s_;
    if (in_order == left) break;
    const uint64_t following = left - in_order - 1;
    const double heard = notice(now_, following);
    const auto slots = static_cast<uint64_t>(std::ceil((heard - now_) / datagram_s_));
    const uint64_t in_vain = std::min(std::max<uint64_t>(slots, 1), following + 1);
    sent += in_vain;
    now_ = std::max(heard, now_ + static_cast<double>(in_vain) * datagram_s_);
  }
  last_sent_ = now_ - datagram_s_;
  result_.resent = sent - datagrams_;
  result_.receiver_s = now_ + rtt_ / 2;
  complete_ = true;
  acknowledge(result_.receiver_s);
  complete(result_.receiver_s);
}

// When the sender hears that the datagram was lost that left at `lost_at`, `following` more to go.
double SpanModel::notice(double lost_at, uint64_t following) {
  const double followed = static_cast<double>(following) * datagram_s_;
  const double last = std::max(given_up(lost_at, followed), timeout_after_);
  const auto told = [&](uint64_t by, double later) {
    return std::min(last, lost_at + static_cast<double>(by + 1) * datagram_s_ + rtt_ + later);
  };
  uint64_t acknowledged = 0;  // the follower whose ACK was lost
  bool after_gap = true;
  for (uint64_t next_loss = 1 + gap();;) {
    const uint64_t cause = acknowledged + (after_gap ? 1 : options_.config.ack_packets);
    if (next_loss <= std::min(cause, following)) {
      acknowledged = next_loss;
      next_loss += 1 + gap();
      after_gap = true;
      continue;
    }
    if (cause > following) break;
    if (ToUnit(word()) >= options_.loss_back) return told(cause, 0);
    acknowledged = cause;
    after_gap = false;
  }
  if (!after_gap && acknowledged < following && ToUnit(word()) >= options_.loss_back) {
    return told(acknowledged + 1, ack_wait_);
  }
  now_ = last;
  ping();
  now_ = lost_at;
  return last;
}

}  // namespace farspan::testbed
