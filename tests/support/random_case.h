// RandomCase: a link, its traffic and what happens to it, drawn from a seed.
//
// Covers what a specification can say: rates from 1 kb/s to 800 Gb/s and none, sizes 84 to 9,038,
// classes, limits, every AQM, loss model and keying, jitter of both kinds, lanes, faults, triggers,
// timeline and live changes, times from 0, 1 and 2^62 ns on. Everything scales with the service
// time of a frame, so that queues build, cuts hit packets and fractions of a nanosecond matter.
#pragma once

#include <cstdint>
#include <string>

#include "emulator/base/random.h"
#include "emulator/sim/link_run.h"

namespace farspan::test {

// A sequence of draws from a seed.
class Dice {
 public:
  explicit Dice(uint64_t seed) : seed_(seed) {}
  uint64_t below(uint64_t n) { return word() % n; }
  bool chance(double probability) { return unit() < probability; }
  double unit() { return ToUnit(word()); }
  double between(double low, double high) { return low + (high - low) * unit(); }
  double log_between(double low, double high);

 private:
  uint64_t word() { return Draw({seed_}, RandomPurpose::kTest, draws_++).lo; }

  const uint64_t seed_;
  uint64_t draws_ = 0;
};

sim::LinkRun RandomCase(uint64_t seed);

// One lane and class, no AQM, jitter, faults or events: what is left keeps rate and order.
sim::LinkRun RandomPlainCase(uint64_t seed);

// A few words on what a case contains, for the message of a failing test.
std::string Describe(const sim::LinkRun& run);

}  // namespace farspan::test
