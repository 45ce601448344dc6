// RoceView: the InfiniBand transport headers of a RoCEv2 packet.
//
// Formats and names: InfiniBand Architecture Specification, volume 1, chapter 9 (BTH, RETH, AETH,
// ImmDt, AtomicETH, DETH, table of opcodes), annex A14 (XRC), annex A17 (RoCEv2: UDP port 4791,
// CNP), annex A19 (FLUSH, ATOMIC WRITE). Any bytes are allowed: nothing outside the span is read,
// and what is no good RoCEv2 packet says why (RoceFault), so that it can be counted.
// Units: bytes. PSNs, QPNs and MSNs are 24 bits.
// Not modelled: RD (RoCE has none), vendors' opcodes, RoCEv1, the partition key.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "emulator/roce/frame_view.h"

namespace farspan::roce {

inline constexpr uint16_t kRocePort = 4791;
inline constexpr uint32_t kBthBytes = 12;
inline constexpr uint32_t kIcrcBytes = 4;
inline constexpr uint32_t kPsnBits = 24;
inline constexpr uint32_t kPsnMask = (1u << kPsnBits) - 1;

constexpr uint32_t PsnAdd(uint32_t psn, uint32_t count) { return (psn + count) & kPsnMask; }
// How far `a` is ahead of `b`, in serial number arithmetic: -2^23 to 2^23 - 1.
constexpr int32_t PsnDistance(uint32_t a, uint32_t b) {
  return static_cast<int32_t>((a - b) << (32 - kPsnBits)) >> (32 - kPsnBits);
}

enum class Service : uint8_t { kRc, kUc, kUd, kXrc, kCnp };

enum class OpcodeClass : uint8_t {
  kNone,  // no RoCEv2 packet
  kSend,
  kWrite,
  kReadRequest,
  kReadResponse,
  kAck,     // ACK, NAK and RNR NAK: RoceView::ack says which
  kAtomic,  // CmpSwap, FetchAdd, ATOMIC WRITE
  kAtomicAck,
  kFlush,
  kDatagram,  // UD SEND
  kCnp,
  kCount,
};
inline constexpr int kOpcodeClassCount = static_cast<int>(OpcodeClass::kCount);

// As in metrics, rules and the API.
constexpr std::string_view ToText(OpcodeClass c) {
  constexpr std::array<std::string_view, kOpcodeClassCount> kNames{
      "none",       "send",  "write",    "read_request", "read_response", "ack", "atomic",
      "atomic_ack", "flush", "datagram", "cnp"};
  return kNames[static_cast<size_t>(c)];
}

// Requests take PSNs of their sender's space; responses carry those of the request they answer.
constexpr bool IsResponse(OpcodeClass c) {
  return c == OpcodeClass::kReadResponse || c == OpcodeClass::kAck || c == OpcodeClass::kAtomicAck;
}
constexpr bool IsRequest(OpcodeClass c) {
  return c != OpcodeClass::kNone && c != OpcodeClass::kCnp && !IsResponse(c);
}

enum class Position : uint8_t { kOnly, kFirst, kMiddle, kLast };
constexpr bool StartsMessage(Position p) { return p == Position::kOnly || p == Position::kFirst; }
constexpr bool EndsMessage(Position p) { return p == Position::kOnly || p == Position::kLast; }

// What AETH's syndrome says (IBTA 9.7.5.2.8).
enum class AckKind : uint8_t {
  kNone,  // no AETH
  kAck,
  kRnrNak,
  kPsnSequenceError,
  kInvalidRequest,
  kRemoteAccessError,
  kRemoteOperationalError,
  kInvalidRdRequest,
  kReserved,
  kCount,
};
inline constexpr int kAckKindCount = static_cast<int>(AckKind::kCount);
constexpr std::string_view ToText(AckKind kind) {
  constexpr std::array<std::string_view, kAckKindCount> kNames{"none",
                                                               "ack",
                                                               "rnr_nak",
                                                               "psn_sequence_error",
                                                               "invalid_request",
                                                               "remote_access_error",
                                                               "remote_operational_error",
                                                               "invalid_rd_request",
                                                               "reserved"};
  return kNames[static_cast<size_t>(kind)];
}
constexpr bool IsNak(AckKind kind) { return kind > AckKind::kRnrNak; }

// Why a frame has no view.
enum class RoceFault : uint8_t {
  kNone,
  kNotRoce,         // no UDP datagram to port 4791, or not known to be one (a later fragment)
  kIpHeader,        // IPv4 options or IPv6 extension headers, which RoCEv2 has not (A17.4.5)
  kFragment,        // RoCEv2 is never fragmented
  kTruncatedFrame,  // the frame ends before its packet
  kUdpLength,       // UDP and IP disagree
  kTruncatedBth,
  kVersion,  // TVer is not 0
  kOpcode,   // reserved, RD's or a vendor's
  kTruncatedHeaders,
  kPadCount,       // more pad than payload, pad where it must be 0, or a payload not of 4n bytes
  kPayloadLength,  // payload where none may be, none where it must be, no path MTU's in the middle
  kCount,
};
inline constexpr int kRoceFaultCount = static_cast<int>(RoceFault::kCount);
constexpr std::string_view ToText(RoceFault fault) {
  constexpr std::array<std::string_view, kRoceFaultCount> kNames{
      "none",       "not_roce",      "ip_header", "fragment", "truncated_frame",
      "udp_length", "truncated_bth", "version",   "opcode",   "truncated_headers",
      "pad_count",  "payload_length"};
  return kNames[static_cast<size_t>(fault)];
}

struct RoceView {
  RoceFault fault = RoceFault::kNotRoce;  // unless kNone, nothing else is set
  uint8_t opcode = 0;                     // BTH's, with the service in its upper 3 bits
  Service service = Service::kRc;
  OpcodeClass opcode_class = OpcodeClass::kNone;
  Position position = Position::kOnly;
  AckKind ack = AckKind::kNone;
  bool ack_request = false;
  bool solicited = false;
  bool has_immediate = false;
  uint8_t pad = 0;
  uint16_t bth_offset = 0;
  uint16_t payload_offset = 0;  // behind the extended headers
  uint16_t payload_bytes = 0;   // without pad and ICRC
  uint32_t dest_qp = 0;
  uint32_t psn = 0;
  uint32_t src_qp = 0;      // DETH
  uint32_t msn = 0;         // AETH
  uint32_t dma_length = 0;  // RETH

  uint32_t icrc_offset() const { return payload_offset + payload_bytes + pad; }
  bool is(OpcodeClass c) const { return opcode_class == c; }
};

namespace internal {
RoceView ParseRocePacket(std::span<const uint8_t> bytes, const FrameView& view);
}

// `view` is that of the same bytes. Only headers must lie in `bytes`; lengths are the frame's.
inline RoceView ParseRoce(std::span<const uint8_t> bytes, const FrameView& view) {
  if (!view.has_ports || view.dst_port != kRocePort || view.protocol != kProtocolUdp) return {};
  return internal::ParseRocePacket(bytes, view);
}

// The invariant CRC that the packet should carry, as the number that its last four bytes are in
// little-endian order (IBTA 7.8.1 and A17.3.3: CRC-32 over 8 bytes of ones and the packet from its
// IP header, with what routers may change replaced by ones). The whole packet must lie in `bytes`
// and `roce.fault` be kNone.
uint32_t ComputeIcrc(std::span<const uint8_t> bytes, const FrameView& view, const RoceView& roce);
// The one it does carry.
uint32_t ReadIcrc(std::span<const uint8_t> bytes, const RoceView& roce);

}  // namespace farspan::roce
