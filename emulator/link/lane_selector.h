// LaneSelector: which parallel path a flow takes, and how flows move when lanes fail.
//
// Flows fall into 1,024 buckets by their hash; each bucket belongs to a lane. Resilient: weighted
// rendezvous hashing (Thaler & Ravishankar, 1998; weights as in draft-ietf-bess-weighted-hrw), so
// that only the flows of a failed lane move and come back with it. Modulo: bucket mod the weights
// of the lanes that are up, so that a failure moves most flows, as plain ECMP does.
// Single thread; rebuild() allocates nothing.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "emulator/link/spec.h"

namespace farspan::link {

class LaneSelector {
 public:
  static constexpr int kNoLane = -1;

  LaneSelector(const std::vector<LaneSpec>& lanes, RehashPolicy policy);

  int select(uint32_t flow) const { return table_[Spread(flow) % kBuckets]; }
  bool up(size_t lane) const { return up_[lane]; }
  // True where this changed the lane's state.
  bool set_up(size_t lane, bool up);

 private:
  static constexpr uint32_t kBuckets = 1024;
  // The table must not depend on a caller's hash being good in its low bits (finaliser of
  // MurmurHash3).
  static constexpr uint32_t Spread(uint32_t h) {
    h = (h ^ (h >> 16)) * 0x85ebca6bu;
    h = (h ^ (h >> 13)) * 0xc2b2ae35u;
    return h ^ (h >> 16);
  }
  void rebuild();
  int resilient(uint32_t bucket) const;
  int modulo(uint32_t bucket) const;

  const RehashPolicy policy_;
  std::vector<uint32_t> weights_;
  std::vector<bool> up_;
  std::array<int16_t, kBuckets> table_{};
};

}  // namespace farspan::link
