// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the bits
// of stochastic rounding, as kernels.h lays them out.
#pragma once

#include "kernels/math/portable.h"

namespace farspan::kernels {

constexpr uint32_t kPhiloxElements = 8;  // elements served by one counter

// 128 bits per lane. The high half of a counter is counter_high in all lanes.
template <typename U>
FARSPAN_INLINE void Philox(U counter_low, uint32_t counter_high, uint64_t seed, U (&words)[4]) {
  constexpr uint32_t kFactor0 = 0xD2511F53;
  constexpr uint32_t kFactor1 = 0xCD9E8D57;
  U a = counter_low;
  U b = Word<U>(counter_high);
  U c = Word<U>(0);
  U d = Word<U>(0);
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const U next_a = Lanes<U>::product_high(c, kFactor1) ^ b ^ key0;
    const U next_c = Lanes<U>::product_high(a, kFactor0) ^ d ^ key1;
    b = c * kFactor1;
    d = a * kFactor0;
    a = next_a;
    c = next_c;
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  words[0] = a;
  words[1] = b;
  words[2] = c;
  words[3] = d;
}

}  // namespace farspan::kernels
