// For the kernels' tests: every instruction set of this machine, difficult floats, exact decoding.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/cpu/vector_ops.h"
#include "kernels/kernels.h"

namespace farspan::kernels::testing {

inline constexpr fsk_exec kCpu = {FSK_ABI_VERSION, FSK_CPU, nullptr, 0, nullptr, 0};

inline std::vector<const VectorOps*> AllVectorOps() {
  std::vector<const VectorOps*> all;
  for (const Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (const VectorOps* ops = VectorOpsFor(isa)) all.push_back(ops);
  }
  return all;
}

inline std::vector<float> SpecialFloats() {
  using Limits = std::numeric_limits<float>;
  std::vector<float> all = {0.0f,
                            Limits::denorm_min(),
                            1e-40f,
                            Limits::min(),
                            1.0f,
                            3.14159f,
                            65504.0f,
                            65519.99f,
                            65520.0f,
                            Limits::max(),
                            Limits::infinity(),
                            Limits::quiet_NaN(),
                            Limits::signaling_NaN()};
  for (size_t i = 0, n = all.size(); i < n; ++i) all.push_back(-all[i]);
  return all;
}

// The value of an OCP E4M3 code, from the format's definition.
inline double E4m3Value(uint32_t code) {
  const int exponent = static_cast<int>(code >> 3 & 15);
  const double fraction = code & 7;
  if ((code & 0x7f) == 0x7f) return std::numeric_limits<double>::quiet_NaN();
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return code & 0x80 ? -magnitude : magnitude;
}

inline double ValueOf(fsk_code code, uint8_t raw) {
  return code == FSK_INT8 ? static_cast<int8_t>(raw) : E4m3Value(raw);
}

inline uint16_t Bf16Bits(float value) {  // exact values only
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
}

inline float Bf16Value(uint16_t raw) { return std::bit_cast<float>(uint32_t{raw} << 16); }

}  // namespace farspan::kernels::testing
