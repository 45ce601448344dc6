// A random scenario for Span: messages over a bad link, and what must hold whatever happens.
//
// The seed chooses everything: recovery and controller, the link's rate, length, loss, bursts,
// reordering, duplication, corruption, cuts, lanes, queue; windows, numbers that wrap, paths, MAC;
// message sizes and who posts when; and how the driver cuts its batches.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/span_pair.h"

namespace farspan::test {

struct SpanScenario {
  uint64_t seed = 0;
  PairOptions pair;
  std::vector<uint64_t> messages;  // bytes of each
  bool eager = true;               // all at once, else one after the other
  bool round_trips_count = false;  // one lane, no jitter: nothing may leave again within an RTT
  TimeNs rtt{};                    // propagation
};

// Recovery x controller, which the seed modulo this chooses.
inline constexpr uint64_t kPairs = 20;

// Up to about `packets` datagrams. Every fiftieth scenario of a pair has all the impairments.
SpanScenario RandomScenario(uint64_t seed, uint64_t packets = 2'000);

struct Impairments {
  bool loss = false;  // of single datagrams
  bool bursts = false;
  bool reordering = false;
  bool duplication = false;
  bool corruption = false;
  bool outage = false;
  bool rehash = false;  // one lane is cut: its flows go elsewhere
};
Impairments ImpairmentsOf(const SpanScenario& scenario);
std::string Describe(const SpanScenario& scenario);

struct ScenarioResult {
  uint64_t hash = 0;     // of the trace
  uint64_t packets = 0;  // that left either side
  std::string failure;   // empty: every byte came once and in order, within the time allowed
};
ScenarioResult RunScenario(const SpanScenario& scenario);

}  // namespace farspan::test
