#include "emulator/link/lane_selector.h"

#include <cmath>

#include "emulator/base/check.h"
#include "emulator/base/random.h"

namespace farspan::link {

LaneSelector::LaneSelector(const std::vector<LaneSpec>& lanes, RehashPolicy policy)
    : policy_(policy), up_(lanes.size(), true) {
  FARSPAN_CHECK(!lanes.empty() && lanes.size() <= INT16_MAX);
  for (const LaneSpec& lane : lanes) weights_.push_back(lane.weight);
  rebuild();
}

bool LaneSelector::set_up(size_t lane, bool up) {
  if (up_[lane] == up) return false;
  up_[lane] = up;
  rebuild();
  return true;
}

void LaneSelector::rebuild() {
  for (uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
    const int lane = policy_ == RehashPolicy::kResilient ? resilient(bucket) : modulo(bucket);
    table_[bucket] = static_cast<int16_t>(lane);
  }
}

int LaneSelector::resilient(uint32_t bucket) const {
  int best = kNoLane;
  double best_score = 0;
  for (size_t lane = 0; lane < weights_.size(); ++lane) {
    if (!up_[lane] || weights_[lane] == 0) continue;
    const double u =
        ToUnit(Draw({0}, RandomPurpose::kLaneSelection, bucket, static_cast<uint32_t>(lane)).lo);
    const double score = -static_cast<double>(weights_[lane]) / std::log(u);
    if (best == kNoLane || score > best_score) {
      best = static_cast<int>(lane);
      best_score = score;
    }
  }
  return best;
}

int LaneSelector::modulo(uint32_t bucket) const {
  uint64_t total = 0;
  for (size_t lane = 0; lane < weights_.size(); ++lane) total += up_[lane] ? weights_[lane] : 0;
  if (total == 0) return kNoLane;
  uint64_t place = bucket % total;
  for (size_t lane = 0; lane < weights_.size(); ++lane) {
    if (!up_[lane]) continue;
    if (place < weights_[lane]) return static_cast<int>(lane);
    place -= weights_[lane];
  }
  return kNoLane;
}

}  // namespace farspan::link
