// CRC32C as arithmetic of polynomials over GF(2), modulo the Castagnoli polynomial, in the
// reflected order of bits that the CRC uses: the highest bit of a word is the coefficient of x^0.
//
// A CRC is linear but for what it starts from and a final complement:
//   crc(message) = ~(0xffffffff · x^(8 bytes) + Σ word i · x^(32 (words - i)))
// so that any number of threads may sum up parts, and zeros in front change nothing.
#pragma once

#include "kernels/math/portable.h"

namespace farspan::kernels {

constexpr uint32_t kCrcPolynomial = 0x82f63b78;

// a · x
FARSPAN_INLINE constexpr uint32_t CrcTimesX(uint32_t a) {
  return (a >> 1) ^ (a & 1 ? kCrcPolynomial : 0);
}

FARSPAN_INLINE constexpr uint32_t CrcProduct(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (int bit = 31; bit >= 0; --bit) {
    product ^= a >> bit & 1 ? b : 0;
    b = CrcTimesX(b);
  }
  return product;
}

// x^exponent
FARSPAN_INLINE constexpr uint32_t CrcPower(uint64_t exponent) {
  uint32_t power = 0x80000000;
  uint32_t square = 0x40000000;
  for (; exponent; exponent >>= 1) {
    if (exponent & 1) power = CrcProduct(power, square);
    square = CrcProduct(square, square);
  }
  return power;
}

// table[i][b]: b, the i-th byte of a word, times `factor`; four look-ups multiply a word.
struct CrcTables {
  uint32_t of_byte[4][256];

  CrcTables() = default;
  constexpr explicit CrcTables(uint32_t factor) : of_byte{} {
    for (uint32_t byte = 0; byte < 4; ++byte) {
      for (uint32_t value = 0; value < 256; ++value) {
        of_byte[byte][value] = CrcProduct(value << 8 * byte, factor);
      }
    }
  }
};

FARSPAN_INLINE uint32_t CrcTimes(const CrcTables& factor, uint32_t a) {
  return factor.of_byte[0][a & 0xff] ^ factor.of_byte[1][a >> 8 & 0xff] ^
         factor.of_byte[2][a >> 16 & 0xff] ^ factor.of_byte[3][a >> 24];
}

}  // namespace farspan::kernels
