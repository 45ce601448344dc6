// FrameView: the fields of an Ethernet frame that rules, classes, lanes and ECN look at.
//
// Formats: IEEE 802.3 and 802.1Q (up to two tags), LLC, IPv4 (RFC 791), IPv6 with hop-by-hop,
// routing, destination and fragment headers (RFC 8200; at most kMaxIpv6Extensions of them), UDP,
// TCP. Any bytes are allowed: nothing outside the span is read, nothing is thrown or allocated, and
// what cannot be parsed is flagged and still forwarded by whoever asked.
// Units: bytes; frame lengths are without FCS, as mbufs carry them.
// Not modelled: tunnels (their outer headers are what is seen), MPLS, PPPoE, checksums, and a third
// VLAN tag, whose ethertype is then the view's.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

#include "emulator/roce/ip_address.h"

namespace farspan::roce {

inline constexpr uint32_t kEthernetHeaderBytes = 14;
inline constexpr uint16_t kEtherIpv4 = 0x0800;
inline constexpr uint16_t kEtherArp = 0x0806;
inline constexpr uint16_t kEtherVlan = 0x8100;
inline constexpr uint16_t kEtherIpv6 = 0x86dd;
inline constexpr uint16_t kEtherQinQ = 0x88a8;
inline constexpr uint16_t kEtherLldp = 0x88cc;
inline constexpr uint16_t kEtherOldQinQ = 0x9100;
inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolUdp = 17;
inline constexpr int kMaxIpv6Extensions = 8;

struct FrameView {
  IpAddress src{};
  IpAddress dst{};
  uint32_t frame_bytes = 0;
  uint32_t ip_bytes = 0;        // header and payload, by the IP header's own word; 0: no IP
  uint16_t ethertype = 0;       // after the tags; 0 for LLC
  uint16_t vlan = 0;            // of the outer tag
  uint16_t l3_offset = 0;       // 0: the frame ends before
  uint16_t payload_offset = 0;  // after UDP's, TCP's or another protocol's IP header; 0: unknown
  uint16_t src_port = 0;        // UDP and TCP where has_ports
  uint16_t dst_port = 0;
  uint8_t pcp = 0;         // of the outer tag
  uint8_t ip_version = 0;  // 4, 6, or 0 where no IP header was parsed
  uint8_t protocol = 0;    // IPv4's, or the last IPv6 next header
  uint8_t dscp = 0;
  uint8_t ecn = 0;  // 0: not ECN-capable, 1: ECT(1), 2: ECT(0), 3: CE
  bool tagged = false;
  bool fragment = false;     // of more than one; atomic fragments (RFC 6946) are whole
  bool has_ports = false;    // false on all fragments but the first
  bool malformed = false;    // a header contradicts itself or the length; what is set is valid
  bool truncated = false;    // the frame ends before its packet: af_packet cuts silently
  bool super_frame = false;  // more than the MTU: a host's segmentation offload is on

  // Bytes after the L4 header that the frame has, without Ethernet padding.
  uint32_t payload_bytes() const {
    return payload_offset == 0 ? 0 : std::min(l3_offset + ip_bytes, frame_bytes) - payload_offset;
  }
};

namespace internal {

inline uint16_t LoadBe16(const uint8_t* p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }
inline uint64_t LoadBe64(const uint8_t* p) {
  uint64_t value = 0;
  std::memcpy(&value, p, sizeof value);
  return std::endian::native == std::endian::little ? __builtin_bswap64(value) : value;
}

constexpr bool IsTag(uint16_t ethertype) {
  return ethertype == kEtherVlan || ethertype == kEtherQinQ || ethertype == kEtherOldQinQ;
}

// The rarer parts, out of line. Both continue at view.l3_offset.
void ParseTags(std::span<const uint8_t> bytes, FrameView& view);
void ParseIpv6(std::span<const uint8_t> bytes, FrameView& view);

// IP lengths of 0 in a frame that no 16-bit length can describe: Linux's BIG TCP.
inline uint32_t IpBytes(const FrameView& view, uint32_t by_header, bool zero) {
  const uint32_t rest = view.frame_bytes - view.l3_offset;
  return zero && rest > 65'535 ? rest : by_header;
}

// `bytes` ends where the IP packet does; `offset` is behind the IP headers and inside.
inline void ParseL4(std::span<const uint8_t> bytes, uint32_t offset, FrameView& view) {
  const uint8_t* l4 = bytes.data() + offset;
  uint32_t header = 0;
  if (view.protocol == kProtocolUdp) {
    header = 8;
  } else if (view.protocol == kProtocolTcp) {
    header = bytes.size() >= offset + 20 ? (l4[12] >> 4) * 4u : 20;
    view.malformed |= header < 20;
  }
  if (bytes.size() < offset + header) view.malformed = true;
  if (view.malformed) return;
  if (header != 0) {
    view.has_ports = true;
    view.src_port = LoadBe16(l4);
    view.dst_port = LoadBe16(l4 + 2);
  }
  view.payload_offset = static_cast<uint16_t>(offset + header);
}

inline std::span<const uint8_t> UpToIpEnd(std::span<const uint8_t> bytes, const FrameView& view) {
  return bytes.first(std::min<size_t>(bytes.size(), view.l3_offset + view.ip_bytes));
}

inline void ParseIpv4(std::span<const uint8_t> bytes, FrameView& view) {
  const uint8_t* ip = bytes.data() + view.l3_offset;
  if (bytes.size() < view.l3_offset + 20u || ip[0] >> 4 != 4) {
    view.malformed = true;
    return;
  }
  const uint32_t header = (ip[0] & 15) * 4u;
  const uint16_t total = LoadBe16(ip + 2);
  view.ip_bytes = IpBytes(view, total, total == 0);
  if (header < 20 || view.ip_bytes < header || bytes.size() < view.l3_offset + header) {
    view.ip_bytes = 0;
    view.malformed = true;
    return;
  }
  view.ip_version = 4;
  view.dscp = ip[1] >> 2;
  view.ecn = ip[1] & 3;
  view.protocol = ip[9];
  std::memcpy(view.src.data(), ip + 12, 4);
  std::memcpy(view.dst.data(), ip + 16, 4);
  const uint16_t fragment = LoadBe16(ip + 6) & 0x3fff;  // more-fragments and the offset
  view.fragment = fragment != 0;
  const uint32_t offset = view.l3_offset + header;
  if ((fragment & 0x1fff) != 0) {
    view.payload_offset = static_cast<uint16_t>(offset);
  } else {
    ParseL4(UpToIpEnd(bytes, view), offset, view);
  }
}

}  // namespace internal

// `bytes` is the first segment of a frame of `frame_bytes`; headers must lie inside it. `mtu` is
// the port's, of the IP packet; 0: super-frames are not looked for.
inline FrameView ParseFrame(std::span<const uint8_t> bytes, uint32_t frame_bytes, uint32_t mtu) {
  FrameView view;
  view.frame_bytes = frame_bytes;
  bytes = bytes.first(std::min<size_t>(bytes.size(), frame_bytes));
  if (bytes.size() < kEthernetHeaderBytes) {
    view.malformed = true;
    return view;
  }
  view.ethertype = internal::LoadBe16(bytes.data() + 12);
  view.l3_offset = kEthernetHeaderBytes;
  if (internal::IsTag(view.ethertype) || view.ethertype < 0x600) internal::ParseTags(bytes, view);
  if (view.ethertype == kEtherIpv4) {
    internal::ParseIpv4(bytes, view);
  } else if (view.ethertype == kEtherIpv6) {
    internal::ParseIpv6(bytes, view);
  }
  const uint32_t rest = frame_bytes - view.l3_offset;
  view.truncated |= view.ip_bytes > rest;
  view.super_frame = mtu != 0 && std::max(view.ip_bytes, rest) > mtu;
  return view;
}

// Which flow a frame belongs to, for hashing over lanes: protocol, addresses and ports; protocol
// and addresses for fragments, so that all of a packet stay together; the ethertype for frames
// without IP. The two directions of a connection hash differently. The same on every machine and in
// every run: words are folded in by multiplication, and splitmix64's finaliser (Steele, Lea, Flood,
// OOPSLA'14) ends it. Every step is a bijection, so flows that differ in ports alone collide only
// in the last cut to 32 bits.
inline uint32_t FlowHash(const FrameView& view) {
  const bool ports = view.has_ports && !view.fragment;
  uint64_t hash = static_cast<uint64_t>(view.ethertype) << 48 |
                  static_cast<uint64_t>(view.protocol) << 32 |
                  (ports ? static_cast<uint32_t>(view.src_port) << 16 | view.dst_port : 0u);
  const auto fold = [&hash](const uint8_t* word) {
    hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15u;
    hash ^= internal::LoadBe64(word);
  };
  fold(view.src.data());
  fold(view.dst.data());
  if (view.ip_version == 6) {
    fold(view.src.data() + 8);
    fold(view.dst.data() + 8);
  }
  hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
  return static_cast<uint32_t>(hash >> 32);
}

}  // namespace farspan::roce
