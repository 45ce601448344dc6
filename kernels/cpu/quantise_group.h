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
    return scale.scale;
  }
  RandomGroups<1> random;
  if constexpr (kStochastic) random = RandomOfGroup(first_element, seed);
  const auto* bytes = reinterpret_cast<const uint8_t*>(random.part);
  for (uint32_t v = 0; v < kVectors; v += 4) {
    U code[4];
    for (uint32_t i = 0; i < 4; ++i) {
      const F y = group.x[v + i] * scale.inverse;
      if constexpr (kStochastic) {
        code[i] = Code::stochastic(y, LoadVector(bytes + (v + i) * kLanes));
      } else {
        code[i] = Code::template nearest<U>(y);
      }
    }
    StoreBytes(code, codes + v * kLanes);
  }
  return scale.scale;
}

}  // namespace
}  // namespace farspan::kernels
