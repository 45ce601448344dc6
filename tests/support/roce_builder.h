// RoCEv2 packets for tests: say what matters, the rest has sensible defaults.
//
//   const auto frame = BuildRoce({.opcode = 0x06, .dest_qp = 0x11, .psn = 7, .payload_bytes =
//   1024});
//
// The ICRC is computed here bit by bit over a second copy of the packet with its masked fields, as
// annex A17 words it: independent of emulator/roce.
#pragma once

#include <cstdint>

#include "tests/support/frame_builder.h"

namespace farspan::test {

struct RoceSpec {
  FrameSpec frame{};      // addresses, tags, DSCP, ECN; its payload_bytes is ignored
  uint8_t opcode = 0x04;  // RC SEND Only
  uint32_t dest_qp = 0x11;
  uint32_t psn = 0;
  bool ack_request = false;
  size_t payload_bytes = 0;  // padded to 4n
  uint32_t dma_length = 0;
  uint8_t syndrome = 0;
  uint32_t msn = 0;
  uint32_t src_qp = 0;
  bool good_icrc = true;  // else 0 stands in its place
};

// Of the extended headers behind the BTH, by the names in the specification's table of opcodes.
inline size_t ExtendedHeaderBytes(uint8_t opcode) {
  if (opcode == 0x81) return 0;
  const uint8_t operation = opcode & 0x1f;
  size_t bytes = 0;
  switch (operation) {
    case 0x03:
    case 0x05:
    case 0x09:
    case 0x16:
    case 0x17:  // ImmDt, IETH
    case 0x0d:
    case 0x0f:
    case 0x10:
    case 0x11:  // AETH
      bytes = 4;
      break;
    case 0x06:
    case 0x0a:
    case 0x0c:
    case 0x1d:  // RETH
      bytes = 16;
      break;
    case 0x0b:
    case 0x1c:  // RETH and ImmDt; FETH and RETH
      bytes = 20;
      break;
    case 0x12:  // AETH, AtomicAckETH
      bytes = 12;
      break;
    case 0x13:
    case 0x14:  // AtomicETH
      bytes = 28;
      break;
    default:
      break;
  }
  if (opcode >> 5 == 3) bytes += 8;                                            // DETH
  if (opcode >> 5 == 5 && (operation < 0x0d || operation > 0x12)) bytes += 4;  // XRCETH
  return bytes;
}

// CRC-32 of IEEE 802.3, one bit at a time.
inline uint32_t SlowCrc32(const Bytes& bytes) {
  uint32_t crc = 0xffffffff;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
  }
  return ~crc;
}

// `ip` is the packet from its IP header (without options or extensions) to before the ICRC.
inline uint32_t SlowIcrc(Bytes ip) {
  const bool v4 = ip[0] >> 4 == 4;
  const size_t udp = v4 ? 20 : 40;
  if (v4) {
    for (const size_t masked : {1, 8, 10, 11}) ip[masked] = 0xff;
  } else {
    ip[0] |= 0x0f;
    for (const size_t masked : {1, 2, 3, 7}) ip[masked] = 0xff;
  }
  for (const size_t masked : {udp + 6, udp + 7, udp + 8 + 4}) ip[masked] = 0xff;
  ip.insert(ip.begin(), 8, 0xff);
  return SlowCrc32(ip);
}

// With the ICRC computed anew; `l3_offset` and `icrc_offset` are the packet's.
inline void SetIcrc(Bytes& frame, size_t l3_offset, size_t icrc_offset) {
  const uint32_t icrc = SlowIcrc(Bytes(frame.begin() + static_cast<ptrdiff_t>(l3_offset),
                                       frame.begin() + static_cast<ptrdiff_t>(icrc_offset)));
  for (size_t i = 0; i < 4; ++i) frame[icrc_offset + i] = static_cast<uint8_t>(icrc >> 8 * i);
}

inline Bytes BuildRoce(const RoceSpec& spec) {
  const size_t headers = 12 + ExtendedHeaderBytes(spec.opcode);
  const size_t pad = (4 - spec.payload_bytes % 4) % 4;
  FrameSpec frame_spec = spec.frame;
  frame_spec.payload_bytes = headers + spec.payload_bytes + pad + 4;
  Bytes frame = BuildFrame(frame_spec);
  const size_t l3_offset = 14 + 4 * spec.frame.tags.size();
  size_t udp = l3_offset + (spec.frame.ip_version == 4 ? 20 + spec.frame.ipv4_option_bytes : 40);
  for (const Ipv6Extension& extension : spec.frame.extensions) udp += extension.bytes;
  internal::Store16(frame, udp + 6, 0);
  const size_t bth = udp + 8;
  const auto store24 = [&frame](size_t at, uint32_t value) {
    frame[at] = static_cast<uint8_t>(value >> 16);
    internal::Store16(frame, at + 1, static_cast<uint16_t>(value));
  };
  std::fill_n(frame.begin() + static_cast<ptrdiff_t>(bth), headers, uint8_t{0});
  frame[bth] = spec.opcode;
  frame[bth + 1] = static_cast<uint8_t>(0x40 | pad << 4);
  internal::Store16(frame, bth + 2, 0xffff);
  store24(bth + 5, spec.dest_qp);
  frame[bth + 8] = spec.ack_request ? 0x80 : 0;
  store24(bth + 9, spec.psn);
  size_t at = bth + 12;
  if (spec.opcode >> 5 == 3) {
    store24(at + 5, spec.src_qp);
    at += 8;
  }
  const uint8_t operation = spec.opcode & 0x1f;
  const bool cnp = spec.opcode == 0x81;
  if (spec.opcode >> 5 == 5 && (operation < 0x0d || operation > 0x12)) at += 4;
  if (operation == 0x1c) at += 4;
  if (!cnp && (operation == 0x06 || operation == 0x0a || operation == 0x0b || operation == 0x0c ||
               operation == 0x1c || operation == 0x1d)) {
    internal::Store16(frame, at + 12, static_cast<uint16_t>(spec.dma_length >> 16));
    internal::Store16(frame, at + 14, static_cast<uint16_t>(spec.dma_length));
  }
  if (!cnp && operation >= 0x0d && operation <= 0x12 && operation != 0x0e) {
    frame[at] = spec.syndrome;
    store24(at + 1, spec.msn);
  }
  if (spec.good_icrc) SetIcrc(frame, l3_offset, bth + headers + spec.payload_bytes + pad);
  return frame;
}

}  // namespace farspan::test
