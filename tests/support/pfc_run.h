// A sender that obeys PFC, a cable, and a link with PFC behind it, in virtual time.
//
//   sender -> line rate -> cable -> Link::offer         pause frames, as octets:
//   sender <- reaction <- cable <- frame in the way <- poll gap <- PfcPacer <- PauseSink
//
// Every delay of the way back is what `worst` says or, with a seed, drawn up to it. The sender has
// all its frames from the start and sends whenever it may, priorities in turn.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "emulator/link/link.h"

namespace farspan::test {

struct PfcFlow {
  uint8_t traffic_class = 0;
  uint8_t priority = 0;          // pauses that the sender heeds for it
  std::vector<uint32_t> frames;  // wire bytes
  Rate rate{};                   // paced; 0: as fast as the line
};

struct PfcRun {
  link::DirectionSpec spec;
  link::PfcSpec worst;  // line rate, cable, reaction, poll gap, largest frame
  std::vector<PfcFlow> flows;
  uint64_t seed = 0;    // 0: every delay is the worst
  bool refresh = true;  // false: a pacer that says a pause once (the twin)
};

struct PfcOutcome {
  link::DirectionCounters counters;
  std::vector<link::PacketRef> released;
  std::vector<link::PauseEvent> events;
  std::vector<link::PfcFrame> frames;  // as the sender read them
  std::array<uint64_t, 8> expired{};   // pauses that ran out while the queue still asked for them
  uint64_t queue_max = 0;              // bytes waiting, at most
  TimeNs end{};
};

PfcOutcome RunPfc(const PfcRun& run);

}  // namespace farspan::test
