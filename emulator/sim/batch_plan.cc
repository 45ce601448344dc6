#include "emulator/sim/batch_plan.h"

#include <algorithm>

#include "emulator/base/random.h"

namespace farspan::sim {

uint64_t BatchPlan::pick(uint64_t choices) {
  return Draw({seed_}, RandomPurpose::kTest, draws_++).lo % choices;
}

TimeNs BatchPlan::next_poll(TimeNs now, TimeNs arrival, TimeNs deadline) {
  const TimeNs next = std::max(now, std::min(arrival, deadline));
  if (seed_ == 0 || next == kNever) return next;
  const auto beyond = [&](TimeNs t) {
    const auto span = static_cast<uint64_t>(std::max<int64_t>(t.ns - now.ns, 1));
    return t + TimeNs{static_cast<int64_t>(pick(16) * pick(span + 1))};
  };
  switch (pick(8)) {
    case 0:
      return now;
    case 1:
      return std::max(now, next - TimeNs{1});
    case 2:
      return arrival == kNever ? next : std::max(now, arrival);
    case 3:
      return deadline == kNever ? next : std::max(now, deadline);
    case 4:
    case 5:
      return beyond(next);
    default:
      return next;
  }
}

size_t BatchPlan::offer_size(size_t available) {
  if (seed_ == 0 || pick(3) == 0) return available;
  return 1 + pick(std::min<size_t>(available, 1u << pick(8)));
}

size_t BatchPlan::out_size() { return seed_ == 0 ? kMaxOut : 1 + pick(1u << pick(9)); }

bool BatchPlan::go_on() { return seed_ == 0 || pick(4) != 0; }

bool BatchPlan::offer_at_horizon() { return seed_ == 0 || pick(2) == 0; }

}  // namespace farspan::sim
