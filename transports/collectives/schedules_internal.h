// What the schedules' files share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "transports/collectives/plan.h"
#include "transports/collectives/schedules.h"

namespace farspan::collectives {

struct Range {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t bytes() const { return end - begin; }
};

// Part `index` of `count` of a range, on element borders; the first parts get what does not divide.
inline Range Part(Range whole, uint64_t index, uint64_t count, uint64_t element_bytes) {
  const uint64_t elements = whole.bytes() / element_bytes;
  const uint64_t each = elements / count, more = elements % count;
  const auto border = [&](uint64_t i) {
    return whole.begin + (i * each + std::min(i, more)) * element_bytes;
  };
  return {border(index), border(index + 1)};
}

inline uint64_t SlotsOf(Range range, uint64_t slot_bytes) {
  return (range.bytes() + slot_bytes - 1) / slot_bytes;
}

// Calls visit(offset, bytes) for the slots of a range.
template <typename Visitor>
void ForEachSlot(Range range, uint64_t slot_bytes, Visitor visit) {
  for (uint64_t at = range.begin; at < range.end; at += slot_bytes) {
    visit(at, std::min(slot_bytes, range.end - at));
  }
}

Plan PlanRing(const Task& task);
Plan PlanDirect(const Task& task);
Plan PlanHierarchical(const Task& task);

}  // namespace farspan::collectives
