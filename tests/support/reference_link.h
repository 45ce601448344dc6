// The naive reference: what a link must do, computed as plainly as possible.
//
// It knows the whole run beforehand and walks through it one event at a time: vectors, copies,
// 128-bit arithmetic, no batches, no deadlines, no pools. It shares with emulator/link only the
// words (spec.h, packet_ref.h, the purposes of random draws) and the random processes themselves
// (LossModel, JitterModel, GlassDelay), whose distributions have tests of their own. Everything in
// between is written a second time: serialisation, classes, limits, AQM, lanes, paths, cuts,
// faults, events and their order.
//
// At one instant, events come first, then the ends of services, then arrivals. Not modelled: a full
// store.
#pragma once

#include <cstdint>
#include <vector>

#include "emulator/link/packet_ref.h"
#include "emulator/sim/link_run.h"

namespace farspan::test {

struct ReferenceTrace {
  std::vector<link::PacketRef> released;  // by due, then sequence, a duplicate before its original
  uint64_t order_clamps = 0;
  uint64_t duplicated = 0;
};

// Takes spec, identity, start, traffic and changes of `run`; its batching means nothing here.
ReferenceTrace RunReference(const sim::LinkRun& run);

// Departure as the reference orders it, to compare traces whose ties differ.
bool ReferenceOrder(const link::PacketRef& a, const link::PacketRef& b);

}  // namespace farspan::test
