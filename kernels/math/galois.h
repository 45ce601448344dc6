// GF(2^8) with polynomial 0x11d, and which combination of which symbols a code asks for.
//
// Symbols are points of a Cauchy matrix: data symbol i is the point i, parity row r the point k +
// r. With L the lost data symbols and P as many parity rows, the solution for the lost symbol l is
// a combination of the other data symbols and of P with the coefficients
//   gain(z) / (gain(l) (z + l)),   gain(z) = Π (z + l') over L \ {z} / Π (z + p) over P \ {z},
// by the explicit inverse of a Cauchy matrix (Schechter 1959) and partial fractions; making parity
// is the case of empty L and P. There is no matrix to invert, and each entry stands alone.
#pragma once

#include "kernels/math/portable.h"

namespace farspan::kernels {

constexpr uint32_t kDataSymbolsMax = 128;
constexpr uint32_t kParitySymbolsMax = 32;
constexpr uint32_t kSymbolsMax = kDataSymbolsMax + kParitySymbolsMax;

struct Galois {
  uint8_t log[256];  // of 0: not used
  uint8_t exp[255];

  constexpr Galois() : log{}, exp{} {
    uint32_t power = 1;
    for (uint32_t i = 0; i < 255; ++i) {
      exp[i] = static_cast<uint8_t>(power);
      log[power] = static_cast<uint8_t>(i);
      power = power << 1 ^ (power & 0x80 ? 0x11d : 0);
    }
  }
};

FARSPAN_INLINE uint8_t GaloisTwice(uint32_t a) {
  return static_cast<uint8_t>(a << 1 ^ (a & 0x80 ? 0x1d : 0));
}

FARSPAN_INLINE uint8_t GaloisProduct(const Galois& field, uint32_t a, uint32_t b) {
  return a && b ? field.exp[(field.log[a] + field.log[b]) % 255] : uint8_t{0};
}

// out[row] = Σ coefficient[row × inputs + column] · in[column], for symbols 0 … k - 1 data, k …
// parity.
struct Combination {
  uint32_t rows;
  uint32_t inputs;
  uint8_t input[kDataSymbolsMax];
  uint8_t output[kParitySymbolsMax];
  uint8_t coefficient[kParitySymbolsMax * kDataSymbolsMax];
};

FARSPAN_INLINE bool IsLost(const uint32_t* lost, uint32_t symbol) {
  return lost[symbol / 32] >> symbol % 32 & 1;
}

// The symbols of a stripe that an encoding or a decoding reads and writes, in their order.
// data_symbols of the code's k are there; of m parity symbols as many as needed are taken.
struct Roles {
  uint32_t k;
  uint32_t first;  // the row of parity symbol 0
  const uint8_t* input;
  const uint8_t* output;
  uint32_t inputs;
  uint32_t rows;
  bool decoding;
};

FARSPAN_INLINE uint32_t PointOf(const Roles& roles, uint32_t symbol) {
  return symbol < roles.k ? symbol : symbol + roles.first;
}

// log of gain(z), 0 … 254.
FARSPAN_INLINE uint32_t LogGain(const Galois& field, const Roles& roles, uint32_t symbol) {
  if (!roles.decoding) return 0;
  const uint32_t z = PointOf(roles, symbol);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < roles.rows; ++i) {
    const uint32_t l = roles.output[i];
    const uint32_t p = PointOf(roles, roles.input[roles.inputs - roles.rows + i]);
    sum += l != z ? field.log[l ^ z] : 0;
    sum += p != z ? 255u - field.log[p ^ z] : 0;
  }
  return sum % 255;
}

FARSPAN_INLINE uint8_t Coefficient(const Galois& field, const Roles& roles, uint32_t row,
                                   uint32_t column, uint32_t log_gain_out, uint32_t log_gain_in) {
  const uint32_t difference =
      PointOf(roles, roles.output[row]) ^ PointOf(roles, roles.input[column]);
  return field.exp[(log_gain_in + (255 - log_gain_out) + (255 - field.log[difference])) % 255];
}

// Fills the symbol lists of `plan`; decoding takes the first surviving parity symbols, after the
// data.
FARSPAN_INLINE Roles AssignRoles(uint32_t k, uint32_t first, uint32_t m, uint32_t data_symbols,
                                 const uint32_t* lost, Combination& plan) {
  uint32_t inputs = 0;
  uint32_t rows = 0;
  for (uint32_t i = 0; i < data_symbols; ++i) {
    if (lost && IsLost(lost, i)) {
      plan.output[rows++] = static_cast<uint8_t>(i);
    } else {
      plan.input[inputs++] = static_cast<uint8_t>(i);
    }
  }
  for (uint32_t r = 0; lost && r < m && inputs < data_symbols; ++r) {
    if (!IsLost(lost, k + r)) plan.input[inputs++] = static_cast<uint8_t>(k + r);
  }
  for (uint32_t r = 0; !lost && r < m; ++r) plan.output[rows++] = static_cast<uint8_t>(k + r);
  plan.rows = rows;
  plan.inputs = inputs;
  return {k, first, plan.input, plan.output, inputs, rows, lost != nullptr};
}

}  // namespace farspan::kernels
