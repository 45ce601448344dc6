#include "emulator/sim/trace_hash.h"

namespace farspan::sim {

// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA'14) over state and word: order matters.
void TraceHash::mix(uint64_t word) {
  uint64_t z = (state_ ^ word) + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  state_ = z ^ (z >> 31);
}

void TraceHash::add(const link::PacketRef& packet) {
  mix(packet.handle);
  mix(static_cast<uint64_t>(packet.due.ns));
  mix(static_cast<uint64_t>(packet.wire_bytes) << 32 | packet.flow);
  mix(static_cast<uint64_t>(packet.sequence) << 32 |
      static_cast<uint64_t>(packet.traffic_class) << 24 |
      static_cast<uint64_t>(packet.flags) << 16 | static_cast<uint64_t>(packet.cause) << 8 |
      packet.rule);
}

uint64_t HashOf(std::span<const link::PacketRef> packets) {
  TraceHash hash;
  for (const link::PacketRef& packet : packets) hash.add(packet);
  return hash.value();
}

}  // namespace farspan::sim
