// What the observer counts of queue pairs. Plain data.
//
// Everything is counted per queue pair and direction, and summed over each direction of a link.
// "For the first time" is meant of a PSN at this tap: a PSN is repeated where it was here before.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "emulator/base/time.h"
#include "emulator/roce/roce_view.h"

namespace farspan::roce {

// One end of one direction: where packets enter the link (as the host sent them), or where they
// leave it (as the far host gets them; without what the link dropped or corrupted).
struct TapCounters {
  uint64_t packets = 0;
  uint64_t frame_bytes = 0;  // without FCS
  uint64_t payload_bytes = 0;
  uint64_t goodput_bytes = 0;  // payload of PSNs that are here for the first time
  uint64_t messages = 0;       // requests whose last packet is here for the first time
  uint64_t responses = 0;      // READ and ATOMIC responses, likewise
  uint64_t repeated = 0;       // packets with a PSN that was here before
  uint64_t gaps = 0;           // times that a PSN was skipped
  uint64_t missing = 0;        // PSNs that were skipped
  uint64_t ce = 0;             // packets marked CE
  uint64_t cnps = 0;
  std::array<uint64_t, kAckKindCount> acks{};  // by AckKind; kNone: everything without AETH
};

// What every packet adds to; the rest of TapCounters changes rarely. Where a tap counts, these
// stand apart, and the rest is kept with `goodput_bytes` and `acks[kNone]` as what has to be taken
// off those of all packets (modulo 2^64).
struct TapBasics {
  uint64_t packets = 0;
  uint64_t frame_bytes = 0;
  uint64_t payload_bytes = 0;
  uint64_t messages = 0;

  TapBasics& operator+=(const TapBasics& other) {
    packets += other.packets;
    frame_bytes += other.frame_bytes;
    payload_bytes += other.payload_bytes;
    messages += other.messages;
    return *this;
  }
};

inline TapCounters Together(const TapBasics& basics, TapCounters rest) {
  rest.packets = basics.packets;
  rest.frame_bytes = basics.frame_bytes;
  rest.payload_bytes = basics.payload_bytes;
  rest.messages = basics.messages;
  rest.goodput_bytes += basics.payload_bytes;
  rest.acks[static_cast<size_t>(AckKind::kNone)] += basics.packets;
  return rest;
}

// From the moment a lost packet entered the link to the moment its retransmission did.
struct RecoveryTimes {
  uint64_t count = 0;
  int64_t sum_ns = 0;
  TimeNs min = kNever;
  TimeNs max{};

  void add(TimeNs time) {
    ++count;
    sum_ns += time.ns;
    min = std::min(min, time);
    max = std::max(max, time);
  }
};

struct QpCounters {
  TapCounters ingress;
  TapCounters egress;
  uint64_t dropped = 0;    // by the link
  uint64_t corrupted = 0;  // by the link, and not dropped
  uint64_t spurious = 0;   // retransmissions that nothing can have called for
  uint64_t undecided = 0;  // retransmissions that may be such
  uint64_t restarts = 0;   // the PSN jumped too far for a gap: a new connection on an old QPN
  RecoveryTimes recovery;
};

inline constexpr std::array<TimeNs, 16> kRecoveryBounds{
    TimeNs{100'000},       TimeNs{200'000},       TimeNs{500'000},       TimeNs{1'000'000},
    TimeNs{2'000'000},     TimeNs{5'000'000},     TimeNs{10'000'000},    TimeNs{20'000'000},
    TimeNs{50'000'000},    TimeNs{100'000'000},   TimeNs{200'000'000},   TimeNs{500'000'000},
    TimeNs{1'000'000'000}, TimeNs{2'000'000'000}, TimeNs{5'000'000'000}, TimeNs{10'000'000'000}};

// Of one direction of a link.
struct ObserverTotals {
  QpCounters sum;
  std::array<uint64_t, kRoceFaultCount> faults{};  // packets to port 4791 that are none, by cause
  uint64_t bad_icrc = 0;                           // entered with it, and not followed
  uint64_t unchecked_icrc = 0;                     // not in one piece
  uint64_t opened = 0;                             // queue pairs that came into the table
  uint64_t evicted = 0;                            // and out of it, for others
  uint64_t forgotten_losses = 0;                   // too many lost PSNs at a time
  std::array<uint64_t, kRecoveryBounds.size() + 1> recovery{};  // by bound, the last beyond all
};

// A queue pair in one direction: packets from `src` to `dest_qp` of `dst`.
struct QpSnapshot {
  IpAddress src{};
  IpAddress dst{};
  uint8_t ip_version = 4;
  uint8_t direction = 0;
  Service service = Service::kRc;
  bool matched = false;  // with the other direction, which says the sender's own QPN
  uint32_t dest_qp = 0;
  uint32_t src_qp = 0;              // of the sender where it is known (matched, UD); else 0
  uint32_t path_mtu = 0;            // 0: not seen yet
  uint32_t next_psn = 0;            // behind the highest that entered
  uint32_t expected_psn = 0;        // the first that the far host has not got
  uint32_t acknowledged_psn = 0;    // the first for which no ACK has got back
  uint32_t outstanding_losses = 0;  // PSNs known as lost or skipped, and not delivered since
  TimeNs first_seen{};
  TimeNs last_seen{};
  QpCounters counters{};
};

}  // namespace farspan::roce
