// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the bits
// of stochastic rounding, as kernels.h lays them out.
#pragma once

#include "kernels/math/portable.h"

namespace farspan::kernels {

constexpr uint32_t kPhiloxElements = 8;  // elements served by one counter

// 128 bits per lane. W is uint64_t or a vector of such lanes, whose low halves are the words, the
// high ones anything. The high half of a counter is counter_high in all lanes.
template <typename W>
FARSPAN_INLINE void PhiloxWide(W counter_low, uint32_t counter_high, uint64_t seed, W (&words)[4]) {
  W a = counter_low;
  W b = W{} + counter_high;
  W c{};
  W d{};
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const W from_a = Lanes<W>::product(a, 0xD2511F53);
    const W from_c = Lanes<W>::product(c, 0xCD9E8D57);
    a = (from_c >> 32) ^ b ^ key0;
    b = from_c;
    c = (from_a >> 32) ^ d ^ key1;
    d = from_a;
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  words[0] = a;
  words[1] = b;
  words[2] = c;
  words[3] = d;
}

FARSPAN_INLINE void Philox(uint32_t counter_low, uint32_t counter_high, uint64_t seed,
                           uint32_t (&words)[4]) {
  uint64_t wide[4];
  PhiloxWide(uint64_t{counter_low}, counter_high, seed, wide);
  for (int i = 0; i < 4; ++i) words[i] = static_cast<uint32_t>(wide[i]);
}

}  // namespace farspan::kernels
