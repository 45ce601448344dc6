// RuleMatch: which packets a fault rule means, as a driver matches them at ingress. Plain data.
//
// All conditions that are set must hold; one that is not set holds for every frame, so that an
// empty rule means all of them. A condition that is set does not hold for frames that lack what it
// asks about: a port does not match ARP, nor the later fragments of a datagram. The rule then
// counts the packets that meet them (per direction, in the order of ingress, whatever other rules
// pick) and picks packet number n, the first being 1, if n >= start, (n - start) is a multiple of
// `every`, fewer than `count` were picked, and the draw for n, which depends on nothing else, says
// so. Where several rules pick a packet, the first gets it. A new epoch counts from 1 again.
//
// Times count from the rule's origin: the link's start, or the instant at which a live rule took
// effect; where it waits for another rule, the time of the packet that this one picked last (later
// packets are in the window, that one is not), and before that the window is closed.
// Not modelled: ranges of VLANs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "emulator/base/time.h"
#include "emulator/roce/ip_address.h"

namespace farspan::roce {

// Of a direction: PacketRef::rule has 8 bits, 0 means none, and one is kept.
inline constexpr size_t kMaxRules = 254;

struct PortRange {
  uint16_t first = 0;
  uint16_t last = 65535;  // inclusive
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

struct SizeRange {
  uint32_t first = 0;
  uint32_t last = UINT32_MAX;  // inclusive
  friend bool operator==(const SizeRange&, const SizeRange&) = default;
};

// --- RoCEv2 ----------------------------------------------------------------------------------

// By opcode, the answers by their syndrome too.
enum class PacketKind : uint8_t {
  kSend,
  kWrite,
  kReadRequest,
  kReadResponse,
  kAtomic,
  kAtomicAck,
  kAck,  // positive
  kNak,  // but not RNR
  kRnrNak,
  kFlush,
  kDatagram,  // UD SEND
  kCnp,
  kCount,
};

// Any of these; empty: all.
struct OpcodeSet {
  uint32_t kinds = 0;               // a bit for each PacketKind
  std::array<uint64_t, 4> codes{};  // a bit for each opcode of the BTH

  void add(PacketKind kind) { kinds |= 1u << static_cast<unsigned>(kind); }
  void add(uint8_t code) { codes[code / 64] |= uint64_t{1} << code % 64; }
  bool empty() const { return *this == OpcodeSet{}; }
  bool has(PacketKind kind, uint8_t code) const {
    return (kinds >> static_cast<unsigned>(kind) & 1) != 0 ||
           (codes[code / 64] >> code % 64 & 1) != 0;
  }
  friend bool operator==(const OpcodeSet&, const OpcodeSet&) = default;
};

// The only packet of a message is its first and its last.
enum class MessagePart : uint8_t { kFirst, kMiddle, kLast, kOnly };

struct QpRange {
  uint32_t first = 0;
  uint32_t last = 0xffffff;  // inclusive
  friend bool operator==(const QpRange&, const QpRange&) = default;
};

// Modulo 2^24: from 16,777,215 to 1 are three.
struct PsnRange {
  uint32_t first = 0;
  uint32_t last = 0xffffff;  // inclusive
  bool holds(uint32_t psn) const {
    return ((psn - first) & 0xffffff) <= ((last - first) & 0xffffff);
  }
  friend bool operator==(const PsnRange&, const PsnRange&) = default;
};

// Holds for good RoCEv2 packets only, if anything is set.
struct RoceMatch {
  std::optional<QpRange> dest_qp{};
  std::optional<PsnRange> psn{};
  OpcodeSet opcodes{};
  std::optional<MessagePart> part{};
  std::optional<bool> immediate{};
  std::optional<bool> ack_request{};
  // These need an observer, and hold only for packets of which it knows them.
  std::optional<QpRange> src_qp{};    // of the host that sent the packet
  std::optional<uint64_t> message{};  // of the queue pair, from 1
  std::optional<uint32_t> index{};    // of the packet in its message, from 1
  std::optional<bool> retransmission{};

  bool any() const { return *this != RoceMatch{}; }
  bool needs_observer() const { return src_qp || message || index || retransmission; }
  friend bool operator==(const RoceMatch&, const RoceMatch&) = default;
};

struct RuleMatch {
  std::optional<IpPrefix> src{};
  std::optional<IpPrefix> dst{};
  std::optional<PortRange> src_port{};  // TCP and UDP
  std::optional<PortRange> dst_port{};
  std::optional<uint8_t> protocol{};  // IPv4's, or the last IPv6 next header
  std::optional<uint8_t> dscp{};
  std::optional<uint8_t> ecn{};           // a bit for each code point that is meant
  std::optional<uint16_t> vlan{};         // outer tag
  std::optional<uint16_t> ethertype{};    // behind the tags
  std::optional<SizeRange> frame_size{};  // bytes, without FCS
  RoceMatch roce{};
  uint64_t start = 1;
  uint64_t every = 1;
  uint64_t count = 0;      // 0: no bound
  double probability = 1;  // of those that the counts above would pick
  TimeNs from{};           // since the origin
  TimeNs until = kNever;   // exclusive
  uint8_t after = 0;       // number of the rule that it waits for; 0: none
  friend bool operator==(const RuleMatch&, const RuleMatch&) = default;
};

}  // namespace farspan::roce
