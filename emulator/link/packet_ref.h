// PacketRef: what the link model sees of a packet; 32 trivially copyable bytes.
//
// The handle is the driver's and opaque here (an mbuf, a slot of a byte ring, an index). The model
// never touches payload: it returns verdicts, and the driver marks, corrupts, copies or frees.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "emulator/base/time.h"

namespace farspan::link {

// Marks and corruption coexist with each other and with a drop: a verdict is flags plus a cause.
enum PacketFlag : uint8_t {
  kEcnCapable = 1 << 0,  // in: ECT(0), ECT(1) or CE in the IP header
  kMarked = 1 << 1,      // out: set CE
  kDropped = 1 << 2,     // out: do not forward; `cause` says why
  kCorrupted = 1 << 3,   // out: flip payload bits, leave checksums and ICRC stale
  kDuplicate = 1 << 4,   // out: a second ref to the same handle; the driver sends a copy, and it
                         // comes before the original, so that the original may be given away
  kFollowed = 1 << 5,    // in: the driver's own, handed through: its observer follows the packet
};

// Why a packet was dropped. Causes from kOwn on are shortages of ours, never emulated impairments.
enum class Cause : uint8_t {
  kNone,
  kTailDrop,    // the queue's limit
  kAqm,         // RED on a packet that is not ECN-capable, CoDel
  kLoss,        // the fiber's loss process
  kCut,         // in the fiber when it was cut, or sent into a cut one
  kNoPath,      // no lane is up
  kFault,       // a rule's action
  kEgressDrop,  // the far site's port, an emulated limit
  kOwn,         // first of our own
  kStoreFull = kOwn,
  kCount,
};
inline constexpr int kCauseCount = static_cast<int>(Cause::kCount);
constexpr bool IsOwn(Cause cause) { return cause >= Cause::kOwn; }

// As in metrics, certificates and captures.
constexpr std::string_view ToText(Cause cause) {
  constexpr std::array<std::string_view, kCauseCount> kNames{
      "none", "tail_drop", "aqm", "loss", "cut", "no_path", "fault", "egress_drop", "store_full"};
  return kNames[static_cast<size_t>(cause)];
}

struct PacketRef {
  uint64_t handle = 0;
  TimeNs due{};             // offered: arrival at this stage; released: departure from it
  uint32_t wire_bytes = 0;  // with preamble, FCS and gap: see WireBytes
  uint32_t flow = 0;        // hash of the 5-tuple; of the addresses only for fragments
  uint32_t sequence = 0;    // order of arrival at the link, breaks ties of `due`; wraps
  uint8_t traffic_class = 0;
  uint8_t flags = 0;
  Cause cause = Cause::kNone;
  uint8_t rule = 0;  // 1 + index of the fault rule that the driver matched, 0 for none
};
static_assert(sizeof(PacketRef) == 32 && std::is_trivially_copyable_v<PacketRef>);

// A copy with another due time, field by field: stores to a field followed by a wide load of the
// whole would wait for the store buffer on every packet.
constexpr PacketRef WithDue(const PacketRef& packet, TimeNs due) {
  return {packet.handle,        due,          packet.wire_bytes, packet.flow, packet.sequence,
          packet.traffic_class, packet.flags, packet.cause,      packet.rule};
}

// Order of departure: by time, then by order of arrival (serial number arithmetic, RFC 1982).
constexpr bool DepartsBefore(const PacketRef& a, const PacketRef& b) {
  if (a.due != b.due) return a.due < b.due;
  return static_cast<int32_t>(a.sequence - b.sequence) < 0;
}

// Octets of line time that an Ethernet frame takes (IEEE 802.3: preamble and SFD 8, FCS 4, gap 12,
// at least 64 octets between SFD and gap). `frame_bytes` is without FCS, as mbufs carry it.
inline constexpr uint32_t kPreambleAndGapBytes = 20;
constexpr uint32_t WireBytes(uint32_t frame_bytes) {
  return std::max<uint32_t>(frame_bytes + 4, 64) + kPreambleAndGapBytes;
}

}  // namespace farspan::link
