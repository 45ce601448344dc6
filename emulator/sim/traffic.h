// Traffic: what a simulated host sends, as packets in order of arrival at the link.
//
// A source fills every field but handle and sequence, which belong to whoever offers the packet.
// Times are exact: the n-th packet of a constant rate comes at start + n x bits / rate, rounded up
// to a nanosecond, so that no error accumulates.
// Not modelled: the sending host's own port; a source may exceed any line rate.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "emulator/base/random.h"
#include "emulator/base/time.h"
#include "emulator/base/units.h"
#include "emulator/link/packet_ref.h"

namespace farspan::sim {

class TrafficSource {
 public:
  virtual ~TrafficSource() = default;
  // The next packet, never earlier than the one before; false when there are no more.
  virtual bool next(link::PacketRef& packet) = 0;
};
using TrafficPtr = std::unique_ptr<TrafficSource>;

// A stream of equal packets. With several flows, packet n belongs to flow `flow + n % flows`.
struct StreamSpec {
  link::PacketRef packet{};  // wire_bytes, flow, traffic_class, flags, rule of each
  TimeNs start{};
  uint64_t count = 0;
  uint32_t flows = 1;
};

// Constant bit rate, counted in wire bytes.
TrafficPtr MakeCbr(const StreamSpec& stream, Rate rate);
// Poisson arrivals with that mean rate; draws are keyed by packet index.
TrafficPtr MakePoisson(const StreamSpec& stream, Rate rate, StreamKey key);
// `on` at `rate`, then silence for `off`, again and again, beginning with `on`.
TrafficPtr MakeOnOff(const StreamSpec& stream, Rate rate, TimeNs on, TimeNs off);
// Packets as given, sorted by due.
TrafficPtr MakeTrace(std::vector<link::PacketRef> packets);
// All of them by time; at equal times in the order of the list.
TrafficPtr MakeMerged(std::vector<TrafficPtr> sources);

// Everything that a source gives, numbered: handle and sequence are the index.
std::vector<link::PacketRef> Collect(TrafficSource& source);

// ceil(bits x n x 10^9 / rate) ns: when packet n of a constant rate comes after the first one.
TimeNs SpacingOf(uint64_t packets, uint32_t wire_bytes, Rate rate);

}  // namespace farspan::sim
