#include <algorithm>
#include <cstring>
#include <limits>
#include <random>

#include "kernels/bench/case.h"
#include "kernels/math/element.h"

namespace farspan::kernels::bench {
namespace {

constexpr uint64_t kPool = 4 << 20;  // larger buffers repeat it

template <typename T>
void Repeat(std::vector<T>& values, uint64_t made) {
  for (uint64_t at = made; at < values.size(); at += made) {
    std::copy_n(values.begin(), std::min<uint64_t>(made, values.size() - at),
                values.begin() + static_cast<int64_t>(at));
  }
}

}  // namespace

std::vector<uint8_t> RandomBytes(uint64_t bytes, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<uint8_t> out(bytes);
  const uint64_t made = std::min(bytes, kPool);
  for (uint64_t i = 0; i < made; ++i) out[i] = static_cast<uint8_t>(engine() >> 32);
  Repeat(out, made);
  return out;
}

std::vector<uint8_t> RandomValues(fsk_type type, uint64_t elements, uint64_t seed, bool special) {
  using Limits = std::numeric_limits<float>;
  constexpr float kSpecial[] = {-0.0f,
                                0.0f,
                                Limits::infinity(),
                                -Limits::infinity(),
                                Limits::quiet_NaN(),
                                Limits::denorm_min(),
                                Limits::max(),
                                1e-40f};
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal;
  const uint64_t width = type == FSK_FP32 ? 4 : 2;
  std::vector<float> values(elements);
  const uint64_t made = std::min(elements, kPool);
  for (uint64_t i = 0; i < made; ++i) {
    values[i] = special && engine() % 5000 == 0 ? kSpecial[engine() % 8] : normal(engine);
  }
  Repeat(values, made);
  std::vector<uint8_t> out(elements * width);
  for (uint64_t i = 0; i < elements; ++i) {
    const uint32_t raw = type == FSK_FP32   ? Fp32::store<uint32_t>(values[i])
                         : type == FSK_BF16 ? Bf16::store<uint32_t>(values[i])
                                            : Fp16::store<uint32_t>(values[i]);
    std::memcpy(out.data() + i * width, &raw, width);
  }
  return out;
}

std::vector<uint64_t> Split(uint64_t total, uint32_t parts) {
  std::vector<uint64_t> sizes;
  for (uint32_t i = 0; i < parts; ++i) {
    const uint64_t left = parts - i;
    const uint64_t share = total / left;
    sizes.push_back(left == 1 ? total : std::min(total, share / 2 + share * (i % 3) / 2));
    total -= sizes.back();
  }
  return sizes;
}

}  // namespace farspan::kernels::bench
