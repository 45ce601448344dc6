// Requests and answers of one connection, for the observer's stories on an ObservedWire.
#pragma once

#include <gtest/gtest.h>

#include "tests/support/observed_wire.h"

namespace farspan::test {

inline constexpr uint8_t kSendFirst = 0x00;
inline constexpr uint8_t kSendMiddle = 0x01;
inline constexpr uint8_t kSendLast = 0x02;
inline constexpr uint8_t kSendOnly = 0x04;
inline constexpr uint8_t kWriteFirst = 0x06;
inline constexpr uint8_t kWriteLast = 0x08;
inline constexpr uint8_t kWriteOnly = 0x0a;
inline constexpr uint8_t kReadRequest = 0x0c;
inline constexpr uint8_t kReadFirst = 0x0d;
inline constexpr uint8_t kReadMiddle = 0x0e;
inline constexpr uint8_t kReadLast = 0x0f;
inline constexpr uint8_t kAck = 0x11;
inline constexpr uint8_t kCnp = 0x81;

inline constexpr uint32_t kQpA = 0x11;  // of the host at direction 0's start
inline constexpr uint32_t kQpB = 0x22;

inline RoceSpec Request(uint32_t psn, uint8_t opcode = kSendOnly, size_t payload = 256) {
  return {
      .opcode = opcode, .dest_qp = kQpB, .psn = psn, .ack_request = true, .payload_bytes = payload};
}
inline RoceSpec Answer(uint32_t psn, uint8_t opcode = kAck, uint8_t syndrome = 0,
                       size_t payload = 0) {
  return {.opcode = opcode,
          .dest_qp = kQpA,
          .psn = psn,
          .payload_bytes = payload,
          .syndrome = syndrome};
}

// With either IP version.
class ConnectionTest : public testing::TestWithParam<int> {
 protected:
  ObservedWire wire{{.ip_version = GetParam()}};
  roce::QpSnapshot forward() const { return wire.queue_pair(0, kQpB); }
  roce::QpSnapshot back() const { return wire.queue_pair(1, kQpA); }
};

}  // namespace farspan::test
