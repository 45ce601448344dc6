// TraceHash: 64 bits that stand for everything a link gave back, and in which order.
//
// Two runs with equal hashes released the same packets with the same verdicts at the same times.
// Not cryptographic.
#pragma once

#include <cstdint>
#include <span>

#include "emulator/link/packet_ref.h"

namespace farspan::sim {

class TraceHash {
 public:
  void add(const link::PacketRef& packet);
  uint64_t value() const { return state_; }

 private:
  void mix(uint64_t word);

  uint64_t state_ = 0x9e3779b97f4a7c15u;
};

uint64_t HashOf(std::span<const link::PacketRef> packets);

}  // namespace farspan::sim
