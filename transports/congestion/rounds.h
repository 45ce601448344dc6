// What most controllers share: round trips, one reaction to congestion in each, whether the window
// is used, its pace.
#pragma once

#include <algorithm>
#include <cstdint>

#include "emulator/base/time.h"
#include "transports/core/congestion.h"

namespace farspan::transport {

// A round ends when a packet is acknowledged that was sent after the round began (BBR's definition,
// by bytes delivered, so that idling does not count).
class RoundCounter {
 public:
  // True where this acknowledgement begins a new round.
  bool on_ack(const AckInfo& ack) {
    if (ack.rate.prior_delivered < end_) return false;
    end_ = ack.delivered;
    ++count_;
    return true;
  }
  uint64_t count() const { return count_; }

 private:
  uint64_t end_ = 0;
  uint64_t count_ = 0;
};

// A signal about a packet that left before the last reaction says nothing new.
class ReactionGuard {
 public:
  bool may_react(TimeNs packet_sent) const { return packet_sent >= reacted_; }
  void react(TimeNs now) { reacted_ = now; }

 private:
  TimeNs reacted_{};
};

// Whether a flight was as large as the window let it be; only then does the window grow (RFC 9438,
// 4.2). Counted in bytes delivered, as rounds are: one packet's ACK may be a round trip and more
// behind it.
class WindowUse {
 public:
  void on_sent(const SentInfo& sent, double packet, double window) {
    if (static_cast<double>(sent.inflight) + packet >= window) {
      full_until_ = delivered_ + sent.inflight;
    }
  }
  bool full(const AckInfo& ack) {
    delivered_ = ack.delivered;
    return delivered_ <= full_until_;
  }

 private:
  uint64_t delivered_ = 0;
  uint64_t full_until_ = 0;
};

// A window spread over a round trip, times `gain`; at most `ceiling` where there is one. The
// ceiling itself while no round trip is known.
inline Rate PaceOf(double window_bytes, double gain, TimeNs rtt, Rate ceiling) {
  if (rtt.ns <= 0) return ceiling;
  const Rate rate{static_cast<uint64_t>(gain * window_bytes * 8 / ToSeconds(rtt))};
  return ceiling.bits_per_s > 0 ? std::min(rate, ceiling) : rate;
}

}  // namespace farspan::transport
