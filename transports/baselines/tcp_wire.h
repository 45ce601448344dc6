// What the TCP model sends: segments and ACKs, and their lengths on the wire.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "transports/baselines/model_comm.h"
#include "transports/baselines/model_config.h"

namespace farspan::baselines {

// The length and tag of a message, in front of its first piece.
struct TcpMessageHeader {
  uint64_t bytes = 0;
  uint64_t tag = 0;
};

struct TcpSegment {
  uint64_t end = 0;  // of the stream's bytes, with this one
  uint32_t bytes = 0;
  bool is_header = false;
  TcpMessageHeader header;
  std::vector<uint8_t> data;  // empty where only lengths travel
};

// Segments are numbered; all before `expected` have come, and the ranges.
struct TcpAck {
  struct Range {
    uint64_t first = 0;
    uint64_t end = 0;
  };
  static constexpr uint32_t kMaxSacks = 3;  // beside a time stamp (RFC 2018, 3)

  uint64_t expected = 0;
  uint64_t window = 0;  // byte of the stream not to be passed
  uint32_t sacks = 0;
  std::array<Range, kMaxSacks> sack{};
};

inline constexpr uint32_t kTcpHeaderBytes = kHeadBytes + 8;  // 66 with Ethernet and IPv4

inline uint32_t TcpWireBytes(const TcpSegment& segment) {
  return kFramingBytes + kTcpHeaderBytes + segment.bytes;
}

// Half of a receive buffer is window (tcp_adv_win_scale 1), and a window at most 1 GiB (RFC 7323).
inline uint64_t TcpWindow(const TcpModelConfig& config) {
  return std::min<uint64_t>(config.receive_buffer_bytes / 2, 1u << 30);
}

}  // namespace farspan::baselines
