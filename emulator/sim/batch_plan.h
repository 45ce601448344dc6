// BatchPlan: when a simulated driver polls, and in what portions packets go in and out.
//
// The link model promises that none of this changes what it does. Seed 0 is the plain driver: it
// polls at every arrival and every deadline and takes everything. Any other seed is an adversary:
// polls too late, too early and twice at the same instant, arrivals split and merged, out spans of
// one packet or of many, releases left unfinished.
#pragma once

#include <cstddef>
#include <cstdint>

#include "emulator/base/time.h"

namespace farspan::sim {

class BatchPlan {
 public:
  static constexpr size_t kMaxOut = 256;

  explicit BatchPlan(uint64_t seed) : seed_(seed) {}

  // The next instant to poll at, at least `now`, given what comes next (kNever: nothing).
  TimeNs next_poll(TimeNs now, TimeNs arrival, TimeNs deadline);
  // How many of `available` arrivals to offer in one call; at least 1.
  size_t offer_size(size_t available);
  // Room for released packets in one call: 1 to kMaxOut.
  size_t out_size();
  // Whether an unfinished release goes on, or waits for the next poll.
  bool go_on();
  // Whether offer() is told the horizon of the poll rather than its last packet's arrival.
  bool offer_at_horizon();

 private:
  uint64_t pick(uint64_t choices);

  const uint64_t seed_;
  uint64_t draws_ = 0;
};

}  // namespace farspan::sim
