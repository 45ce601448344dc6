// TcpReceiver: one TCP connection at the side that receives.
//
// Holds what has come until it is read, and acknowledges: every second segment or after 40 ms
// (Linux's TCP_DELACK_MIN), at once where something is missing, was missing, or came twice, with up
// to three SACK ranges, the newest first (RFC 2018); and when reading has opened half the window.
#pragma once

#include <deque>
#include <optional>

#include "transports/baselines/range_set.h"
#include "transports/baselines/tcp_wire.h"

namespace farspan::baselines {

class TcpReceiver {
 public:
  explicit TcpReceiver(const ModelConfig& config);

  // False: it had come before, or lies beyond the window.
  bool on_segment(TimeNs now, uint64_t number, TcpSegment segment);
  void on_probe() { ack_at_ = {INT64_MIN}; }
  uint64_t expand(uint32_t number) const;

  // The next segment to be read; null: it has not come.
  const TcpSegment* front() const;
  void pop();

  // An ACK is due at this time.
  TimeNs ack_at() const { return ack_at_; }
  TcpAck take_ack();

 private:
  uint64_t window() const { return read_bytes_ + TcpWindow(config_.tcp); }

  const ModelConfig& config_;
  std::deque<std::optional<TcpSegment>> held_;  // from read_ on
  uint64_t read_ = 0;                           // number
  uint64_t read_bytes_ = 0;                     // of the stream
  uint64_t expected_ = 0;                       // number
  RangeSet beyond_;                             // of expected_
  std::deque<uint64_t> recent_;  // a number of each range to be told, the newest first
  uint32_t unacknowledged_ = 0;
  uint64_t told_window_;
  TimeNs ack_at_ = kNever;
};

}  // namespace farspan::baselines
