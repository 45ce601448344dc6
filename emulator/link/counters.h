// What a direction of a link has done: monotonic counts, and gauges of what it holds.
//
// Conservation, at every instant: offered + duplicated = forwarded + sum(dropped) + held.
// Single writer; the engine publishes copies (see dpdk/), the model only adds.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>

#include "emulator/link/packet_ref.h"

namespace farspan::link {

struct DirectionCounters {
  uint64_t offered_packets = 0;
  uint64_t offered_bytes = 0;  // wire bytes, here and below
  uint64_t forwarded_packets = 0;
  uint64_t forwarded_bytes = 0;
  std::array<uint64_t, kCauseCount> dropped_packets{};  // counted when released to the driver
  uint64_t duplicated_packets = 0;
  uint64_t marked_packets = 0;
  uint64_t corrupted_packets = 0;
  uint64_t order_clamps = 0;   // packets held back by OrderPolicy::kKeep
  uint64_t jitter_clamps = 0;  // residual corrections of ordered jitter
  uint64_t held_packets = 0;   // gauge: in queues and fibers, drops on their way to the driver too
  uint64_t queue_packets = 0;  // gauge: waiting in the bottleneck
  uint64_t queue_bytes = 0;    // gauge

  uint64_t dropped_total() const {
    return std::accumulate(dropped_packets.begin(), dropped_packets.end(), uint64_t{0});
  }
};

}  // namespace farspan::link
