#include "transports/collectives/plan.h"

#include <algorithm>

namespace farspan::collectives {
namespace {

uint16_t IndexOf(std::vector<Lane>& lanes, const Lane& lane) {
  const auto found = std::find(lanes.begin(), lanes.end(), lane);
  if (found != lanes.end()) return static_cast<uint16_t>(found - lanes.begin());
  lanes.push_back(lane);
  return static_cast<uint16_t>(lanes.size() - 1);
}

}  // namespace

uint16_t Plan::receive_lane(uint32_t peer, uint32_t channel) {
  return IndexOf(receives, {peer, channel});
}

uint16_t Plan::send_lane(uint32_t peer, uint32_t channel) {
  return IndexOf(sends, {peer, channel});
}

}  // namespace farspan::collectives
