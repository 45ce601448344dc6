// What the observer asks of a packet; for its own files.
#pragma once

#include "emulator/roce/qp_observer.h"

namespace farspan::roce {

inline bool IsFollowed(OpcodeClass c) {
  return c != OpcodeClass::kDatagram && c != OpcodeClass::kCnp;
}

// Packets that are as long as the path MTU.
inline bool SaysPathMtu(Position p) { return p == Position::kFirst || p == Position::kMiddle; }

// What belongs to the PSNs of responses: all but bare acknowledgements, which repeat them freely.
inline bool HasOwnPsn(OpcodeClass c) { return IsFollowed(c) && c != OpcodeClass::kAck; }

inline TapBasics BasicsOf(const Passage& packet, bool fresh) {
  const bool ends = fresh && EndsMessage(packet.position) && IsRequest(packet.opcode_class);
  return {.packets = 1,
          .frame_bytes = packet.frame_bytes,
          .payload_bytes = packet.payload_bytes,
          .messages = ends};
}

inline bool IsAnswered(const RoceView& request) {
  return request.service != Service::kUc &&
         (request.ack_request || request.is(OpcodeClass::kReadRequest) ||
          request.is(OpcodeClass::kAtomic) || request.is(OpcodeClass::kFlush));
}

}  // namespace farspan::roce
