// Products in GF(2^8) for four bytes at once by byte permutation (CUDA's PRMT), and 16 bytes from
// any address out of aligned words. On the host both are emulated, so that tests can reach them.
//
// A byte is split into bits 0-2, 3-5 and 6-7; the products of each part with a coefficient are 8, 8
// and 4 bytes, which a permutation picks from by the parts of four bytes as its selectors.
#pragma once

#include "kernels/math/galois.h"

namespace farspan::kernels {

// Bytes 0-3 are those of `low`, 4-7 those of `high`; nibble i of `selector` names result byte i.
FARSPAN_INLINE uint32_t BytePermute(uint32_t low, uint32_t high, uint32_t selector) {
#ifdef __CUDA_ARCH__
  return __byte_perm(low, high, selector);
#else
  const uint64_t bytes = uint64_t{high} << 32 | low;
  uint32_t result = 0;
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t byte = selector >> 4 * i & 7;
    result |= static_cast<uint32_t>(bytes >> 8 * byte & 0xff) << 8 * i;
  }
  return result;
#endif
}

struct ProductTable {
  uint32_t low[2];     // coefficient · 0 … 7
  uint32_t middle[2];  // coefficient · 0, 8, … 56
  uint32_t high;       // coefficient · 0, 64, 128, 192
};

FARSPAN_INLINE ProductTable MakeProductTable(uint32_t coefficient) {
  uint32_t power[8];  // coefficient · 2^i in all four bytes
  for (uint32_t& p : power) {
    p = coefficient * 0x01010101;
    coefficient = GaloisTwice(coefficient);
  }
  const auto four = [&](uint32_t i) {
    return (power[i] & 0xff00ff00) ^ (power[i + 1] & 0xffff0000);  // · 0, 1, 2, 3
  };
  return {{four(0), four(0) ^ power[2]}, {four(3), four(3) ^ power[5]}, four(6)};
}

struct Selectors {
  uint32_t low;
  uint32_t middle;
  uint32_t high;
};

// Values below 8 in four bytes, as the four low nibbles.
FARSPAN_INLINE uint32_t Nibbles(uint32_t bytes) {
  return BytePermute(bytes | bytes >> 4, 0, 0x4420);
}

FARSPAN_INLINE Selectors SelectorsOf(uint32_t bytes) {
  return {Nibbles(bytes & 0x07070707), Nibbles(bytes >> 3 & 0x07070707),
          Nibbles(bytes >> 6 & 0x03030303)};
}

FARSPAN_INLINE uint32_t Product(const ProductTable& table, const Selectors& bytes) {
  return BytePermute(table.low[0], table.low[1], bytes.low) ^
         BytePermute(table.middle[0], table.middle[1], bytes.middle) ^
         BytePermute(table.high, 0, bytes.high);
}

struct Words4 {
  uint32_t word[4];
};

// Bytes `skip` … `skip` + 15 of 32, 0 ≤ skip ≤ 15.
FARSPAN_INLINE Words4 BytesFrom(const Words4& first, const Words4& second, uint32_t skip) {
  uint32_t w[8] = {first.word[0],  first.word[1],  first.word[2],  first.word[3],
                   second.word[0], second.word[1], second.word[2], second.word[3]};
  for (uint32_t i = 0; i < 6; ++i) w[i] = skip & 8 ? w[i + 2] : w[i];
  for (uint32_t i = 0; i < 5; ++i) w[i] = skip & 4 ? w[i + 1] : w[i];
  Words4 out;
  for (uint32_t i = 0; i < 4; ++i) {
    out.word[i] = static_cast<uint32_t>((uint64_t{w[i + 1]} << 32 | w[i]) >> 8 * (skip & 3));
  }
  return out;
}

}  // namespace farspan::kernels
