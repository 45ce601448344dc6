// RcResponder: one direction of an RC queue pair, at the side that receives.
//
// Go-back-N (IBTA 9.7.5): what is not next in order is discarded and answered by one NAK, until the
// packet that was missing comes. Selective: everything is taken, and every gap gets one NAK. What
// came before is discarded, and acknowledged once more where it asks for that.
#pragma once

#include <cstdint>

#include "transports/core/bit_ring.h"

namespace farspan::baselines {

class RcResponder {
 public:
  RcResponder(bool selective, uint32_t window_packets, uint32_t ack_packets)
      : selective_(selective), ack_packets_(ack_packets), received_(window_packets) {}

  struct Answer {
    enum class Kind : uint8_t { kNone, kAck, kNak } kind = Kind::kNone;
    uint64_t first = 0;  // NAK: missing from here
    uint64_t count = 0;
  };
  enum class Verdict : uint8_t { kTaken, kDuplicate, kDiscarded };

  // `asks`: the packet wants an ACK.
  Verdict on_packet(uint64_t number, bool asks, Answer& answer);
  // Everything before has arrived.
  uint64_t expected() const { return expected_; }
  uint64_t expand(uint32_t number) const;

 private:
  Verdict ahead(uint64_t number, Answer& answer);

  const bool selective_;
  const uint32_t ack_packets_;
  transport::BitRing received_;
  uint64_t expected_ = 0;
  uint64_t highest_ = 0;  // one past the highest received
  uint32_t unanswered_ = 0;
  bool told_ = false;  // go-back-N: of the gap before us
};

}  // namespace farspan::baselines
