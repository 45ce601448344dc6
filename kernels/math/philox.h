// Philox4x32-8 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the bits of
// stochastic rounding, as kernels.h lays them out. Eight rounds are the fewest of which its authors
// know no flaw: seven pass BigCrush, but were suspect in longer tests (Random123's philox.h).
#pragma once

#include "kernels/math/portable.h"

namespace farspan::kernels {

constexpr uint32_t kPhiloxElements = 16;  // elements served by one counter
constexpr uint32_t kPhiloxRounds = 8;

// 128 bits per lane. W is uint64_t or a vector of such lanes, whose low halves are the words, the
// high ones anything. The high half of a counter is counter_high in all lanes; so the first two
// rounds, in which little depends on the lane, are written out.
template <typename W>
FARSPAN_INLINE void PhiloxWide(W counter_low, uint32_t counter_high, uint64_t seed, W (&words)[4]) {
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
  for (uint32_t round = 2; round < kPhiloxRounds; ++round) {
    key0 += kStep0;
    key1 += kStep1;
    const W from_a = Lanes<W>::product(a, kFactorA);
    const W from_c = Lanes<W>::product(c, kFactorC);
    a = Lanes<W>::high_half(from_c) ^ (b ^ key0);
    b = from_c;
    c = Lanes<W>::high_half(from_a) ^ (d ^ key1);
    d = from_a;
  }
  words[0] = a;
  words[1] = b;
  words[2] = c;
  words[3] = d;
}

// The bytes of elements `element` … `element` + 7, the first a multiple of 8.
FARSPAN_INLINE void RandomOfEight(uint64_t element, uint64_t seed, uint32_t (&bytes)[2]) {
  const uint64_t counter = element / kPhiloxElements;
  uint64_t words[4];
  PhiloxWide(uint64_t{static_cast<uint32_t>(counter)}, static_cast<uint32_t>(counter >> 32), seed,
             words);
  const bool later = element / 8 % 2 != 0;
  bytes[0] = static_cast<uint32_t>(later ? words[2] : words[0]);
  bytes[1] = static_cast<uint32_t>(later ? words[3] : words[1]);
}

}  // namespace farspan::kernels
