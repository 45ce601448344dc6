// Philox4x32-8 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the bits of
// stochastic rounding, as kernels.h lays them out. Eight rounds are the fewest of which its authors
// know no flaw: seven pass BigCrush, but were suspect in longer tests (Random123's philox.h).
#pragma once

#include "kernels/math/quantise.h"

namespace farspan::kernels {

constexpr uint32_t kPhiloxRounds = 8;

// 128 bits per lane: words 1 and 0 in pairs[0], the former in the low half, 3 and 2 in pairs[1]. W
// is uint64_t or a vector of such lanes, of which only the low halves of counter_low are read. The
// high half of a counter is counter_high in all lanes; so the first two rounds, in which little
// depends on the lane, are written out. The last round leaves low words where products have them,
// which is why the words of a pair are the wrong way round.
template <typename W>
FARSPAN_INLINE void PhiloxWide(W counter_low, uint32_t counter_high, uint64_t seed, W (&pairs)[2]) {
  constexpr uint32_t kFactorA = 0xD2511F53;
  constexpr uint32_t kFactorC = 0xCD9E8D57;
  constexpr uint32_t kStep0 = 0x9E3779B9;
  constexpr uint32_t kStep1 = 0xBB67AE85;
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  const W first = Lanes<W>::product(counter_low, kFactorA);
  const uint64_t constant = uint64_t{counter_high ^ key0} * kFactorA;
  const W second = Lanes<W>::product(Lanes<W>::high_half(first) ^ key1, kFactorC);
  key0 += kStep0;
  key1 += kStep1;
  W a = Lanes<W>::high_half(second) ^ key0;
  W b = second;
  W c = first ^ (key1 ^ static_cast<uint32_t>(constant >> 32));
  W d = W{} + static_cast<uint32_t>(constant);
  for (uint32_t round = 2;; ++round) {
    key0 += kStep0;
    key1 += kStep1;
    const W from_a = Lanes<W>::product(a, kFactorA);
    const W from_c = Lanes<W>::product(c, kFactorC);
    if (round == kPhiloxRounds - 1) {
      pairs[0] = from_c ^ (b << 32) ^ uint64_t { key0 } << 32;
      pairs[1] = from_a ^ (d << 32) ^ uint64_t { key1 } << 32;
      return;
    }
    a = Lanes<W>::high_half(from_c) ^ (b ^ key0);
    b = from_c;
    c = Lanes<W>::high_half(from_a) ^ (d ^ key1);
    d = from_a;
  }
}

// Eight neighbouring elements share a counter with those 64 before or after them in their group.
FARSPAN_INLINE uint64_t CounterOf(uint64_t element) {
  return element / kGroup * 8 + element / 8 % 8;
}

// The bytes of elements `element` … `element` + 7, the first a multiple of 8.
FARSPAN_INLINE uint64_t RandomOfEight(uint64_t element, uint64_t seed) {
  const uint64_t counter = CounterOf(element);
  uint64_t pairs[2];
  PhiloxWide(uint64_t{static_cast<uint32_t>(counter)}, static_cast<uint32_t>(counter >> 32), seed,
             pairs);
  return element % kGroup < kGroup / 2 ? pairs[0] : pairs[1];
}

}  // namespace farspan::kernels
