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
    alignas(64) uint8_t random[kGroup];
    RandomOfTile(first_element, 1, seed, random);
    for (uint32_t v = 0; v < kVectors; ++v) {
      const U code = Code::stochastic(group.x[v] * scale.inverse, LoadVector(random + v * kLanes));
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
