// Part of vector_ops.cc, which is compiled once per instruction set: floats to codes and a scale.
#pragma once

#include <string.h>

#include "kernels/cpu/group.h"
#include "kernels/cpu/random_group.h"

namespace farspan::kernels {
namespace {

template <typename Code, bool kStochastic>
FARSPAN_INLINE float QuantiseGroup(const Group& group, uint64_t first_element, uint64_t seed,
                                   uint8_t* codes) {
  U largest = Word<U>(0);
  for (const F x : group.x) largest = Larger(largest, Magnitude(BitsOf(x)));
  const GroupScale scale = ScaleOfGroup(LargestLane(largest), Code::kTop);
  if (scale.poisoned) {
    memset(codes, 0, kGroup);
  } else if constexpr (kStochastic) {
    const auto random = RandomGroups<1>::of(first_element, seed);
    const auto* bytes = reinterpret_cast<const uint8_t*>(random.part);
    for (uint32_t v = 0; v < kVectors; ++v) {
      const U code = Code::stochastic(group.x[v] * scale.inverse, LoadVector(bytes + v * kLanes));
      StoreVector(code, codes + v * kLanes);
    }
  } else {
    for (uint32_t v = 0; v < kVectors; ++v) {
      StoreVector(Code::template nearest<U>(group.x[v] * scale.inverse), codes + v * kLanes);
    }
  }
  return scale.scale;
}

}  // namespace
}  // namespace farspan::kernels
