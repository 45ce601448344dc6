// RunLink: one direction of a link, from the first arrival until nothing is held.
//
// The harness of the property and scenario tests and of everything that needs a link's answer to a
// given traffic: deterministic, as fast as the model, with the driver's habits chosen by
// `batching_seed` (see BatchPlan).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/link/counters.h"
#include "emulator/link/link.h"
#include "emulator/link/packet_ref.h"
#include "emulator/link/spec.h"

namespace farspan::sim {

// A live change: Link::apply at that instant, before packets that arrive then.
struct LiveChange {
  TimeNs at{};
  link::Change change;
};

struct LinkRun {
  link::DirectionSpec spec;
  link::LinkIdentity identity;
  link::LinkCapacity capacity;
  TimeNs start{};
  std::vector<link::PacketRef> traffic;  // sorted by due, none before `start`; see Collect
  std::vector<LiveChange> changes;       // sorted by time, none before `start`
  uint64_t batching_seed = 0;
  // Called after every poll, for invariants that hold at any instant.
  std::function<void(TimeNs now, const link::Link&)> after_poll;
};

struct LinkTrace {
  std::vector<link::PacketRef> released;  // in order of release, drops among them
  link::DirectionCounters counters;       // at the end
  uint64_t hash = 0;                      // TraceHash of `released`
  TimeNs end{};                           // of the last poll
  // Breaches of the stage contract, 0 in a sound model:
  uint64_t early = 0;       // released before its due
  uint64_t unordered = 0;   // released before something that is due earlier
  uint64_t unforeseen = 0;  // released before what next_deadline() had said
};

Result<LinkTrace> RunLink(const LinkRun& run);

}  // namespace farspan::sim
