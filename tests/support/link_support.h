// Short words for tests of the link model: specs, trains of packets, what came out.
#pragma once

#include <cstdint>
#include <vector>

#include "emulator/base/time.h"
#include "emulator/base/units.h"
#include "emulator/link/packet_ref.h"
#include "emulator/link/spec.h"
#include "emulator/sim/link_run.h"

namespace farspan::test {

// One lane of that rate (0: none) and that fixed delay; a queue that never fills.
link::DirectionSpec Plain(Rate rate, TimeNs delay);
// One lane of glass.
link::DirectionSpec Glass(Rate rate, Length length);

// `count` equal packets from `start` on, `spacing` apart (0: all at once), numbered.
std::vector<link::PacketRef> Train(uint64_t count, uint32_t wire_bytes, TimeNs start,
                                   TimeNs spacing, link::PacketRef like = {});
// By time, numbered again.
std::vector<link::PacketRef> Merge(std::vector<link::PacketRef> a,
                                   const std::vector<link::PacketRef>& b);

// Runs it; a spec that the link refuses ends the test program with the reason.
sim::LinkTrace MustRun(const sim::LinkRun& run);
sim::LinkTrace MustRun(const link::DirectionSpec& spec, std::vector<link::PacketRef> traffic);

// What the far side sees, in order.
std::vector<link::PacketRef> Forwarded(const sim::LinkTrace& trace);
// Handles of what was dropped for that cause, ascending.
std::vector<uint64_t> Dropped(const sim::LinkTrace& trace, link::Cause cause);
// By handle: due of the forwarded original, kNever if dropped.
std::vector<TimeNs> Arrivals(const sim::LinkTrace& trace, uint64_t count);

// Handles begin, begin + step, ... below end.
std::vector<uint64_t> Range(uint64_t begin, uint64_t end, uint64_t step = 1);

}  // namespace farspan::test
