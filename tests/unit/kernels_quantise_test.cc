// Quantisation on the CPU against its definition: every code, every rounding, the error bounds,
// what NaN, infinities, denormals and zeros do, and the same bits from all instruction sets.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/math/element.h"
#include "kernels/math/quantise.h"
#include "tests/support/kernels_support.h"

#if __has_include(<cuda_fp8.h>)
#include <cuda_fp8.h>
#endif

namespace farspan::kernels::testing {
namespace {

struct Quantised {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  bool operator==(const Quantised&) const = default;
};

constexpr fsk_code kCodes[] = {FSK_FP8_E4M3, FSK_INT8};

Quantised Quantise(const std::vector<float>& values, const fsk_quantiser& how,
                   uint64_t first_element = 0) {
  Quantised out{std::vector<uint8_t>(values.size()),
                std::vector<float>((values.size() + kGroup - 1) / kGroup)};
  const fsk_quantise_item item{values.data(), out.codes.data(), out.scales.data(), values.size(),
                               first_element};
  EXPECT_EQ(fsk_quantise(&kCpu, FSK_FP32, &how, &item, 1), FSK_OK);
  return out;
}

std::vector<float> Dequantise(const Quantised& in, fsk_code code) {
  std::vector<float> values(in.codes.size());
  const fsk_dequantise_item item{in.codes.data(), in.scales.data(), values.data(), values.size()};
  EXPECT_EQ(fsk_dequantise(&kCpu, FSK_FP32, code, &item, 1), FSK_OK);
  return values;
}

std::vector<float> Normal(size_t count, float sigma, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> distribution(0, sigma);
  std::vector<float> values(count);
  for (float& v : values) v = distribution(engine);
  return values;
}

// The nearest code of all 256 to `y`, ties to the even one, by search.
uint8_t NearestE4m3(double y) {
  uint32_t best = 0;
  for (uint32_t code = 0; code < 0x7f; ++code) {
    const double distance = std::abs(E4m3Value(code) - std::abs(y));
    const double least = std::abs(E4m3Value(best) - std::abs(y));
    if (distance < least || (distance == least && code % 2 == 0)) best = code;
  }
  return static_cast<uint8_t>(best | (std::signbit(y) ? 0x80 : 0));
}

TEST(Fp8, EveryCodeDecodesAndComesBack) {
  for (uint32_t code = 0; code < 256; ++code) {
    const float value = Fp8E4m3::decode(code);
    if ((code & 0x7f) == 0x7f) {
      EXPECT_EQ(std::bit_cast<uint32_t>(value), kNanBits);
      continue;
    }
    EXPECT_EQ(value, E4m3Value(code));
    EXPECT_EQ(std::signbit(value), code >= 0x80);
    EXPECT_EQ(static_cast<uint8_t>(Fp8E4m3::nearest<uint32_t>(value)), code);
    for (const uint32_t random : {0u, 0x7fu, 0xffu}) {
      EXPECT_EQ(static_cast<uint8_t>(Fp8E4m3::stochastic<uint32_t>(value, random)), code);
    }
  }
}

TEST(Fp8, RoundsToNearestEvenAtEveryMidpointAndBesideIt) {
  for (uint32_t code = 0; code < 0x7e; ++code) {
    const auto middle = static_cast<float>((E4m3Value(code) + E4m3Value(code + 1)) / 2);
    for (const float y : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e9f)}) {
      EXPECT_EQ(static_cast<uint8_t>(Fp8E4m3::nearest<uint32_t>(y)), NearestE4m3(y)) << y;
      EXPECT_EQ(static_cast<uint8_t>(Fp8E4m3::nearest<uint32_t>(-y)), NearestE4m3(-y)) << -y;
    }
  }
  std::mt19937 engine(1);
  for (int i = 0; i < 20'000; ++i) {
    const float y = std::ldexp(1 + static_cast<float>(engine() % 1000) / 1000,
                               static_cast<int>(engine() % 24) - 16);
    if (y <= 448) {
      EXPECT_EQ(static_cast<uint8_t>(Fp8E4m3::nearest<uint32_t>(y)), NearestE4m3(y));
    }
  }
}

#ifdef __CUDA_FP8_H__
// NVIDIA's own conversion, which the kernels use where the GPU has it in hardware.
TEST(Fp8, RoundsAsNvidiaDoes) {
  std::mt19937 engine(2);
  for (int i = 0; i < 200'000; ++i) {
    const auto bits = static_cast<uint32_t>(engine());
    const float y = FloatOf(bits);
    if (!(std::abs(y) <= 448)) continue;
    ASSERT_EQ(static_cast<uint8_t>(Fp8E4m3::nearest<uint32_t>(y)),
              __nv_cvt_float_to_fp8(y, __NV_SATFINITE, __NV_E4M3))
        << y;
  }
}
#endif

TEST(Stochastic, KeepsToTheTop) {
  for (const uint32_t random : {0u, 0xffu}) {
    for (const float sign : {1.0f, -1.0f}) {
      const float fp8 = sign * std::nextafter(448.0f, 500.0f);
      const float int8 = sign * std::nextafter(127.0f, 128.0f);
      EXPECT_EQ(Fp8E4m3::decode(Fp8E4m3::stochastic<uint32_t>(fp8, random) & 0xff), sign * 448);
      EXPECT_EQ(Int8::decode(Int8::stochastic<uint32_t>(int8, random)), sign * 127);
    }
  }
}

// |x - code × scale| inside the header's bound; a factor below one is the twin that must fail.
size_t BeyondBound(const fsk_quantiser& how, float sigma, double factor) {
  const std::vector<float> values = Normal(20 * kGroup + 77, sigma, 5);
  const Quantised out = Quantise(values, how);
  size_t beyond = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t group = i / kGroup * kGroup;
    double a = 0;
    for (size_t g = group; g < std::min(group + kGroup, values.size()); ++g) {
      a = std::max<double>(a, std::abs(values[g]));
    }
    const double top = how.code == FSK_INT8 ? 127 : 448;
    a = std::max(a, top * 0x1p-126);
    double bound = how.code == FSK_INT8
                       ? a / 254
                       : std::max(std::abs(double{values[i]}) / 16, a / 448 * 0x1p-10);
    if (how.rounding == FSK_STOCHASTIC) bound *= 2;
    const double error =
        std::abs(values[i] - ValueOf(how.code, out.codes[i]) * double{out.scales[i / kGroup]});
    beyond += error > factor * (bound + std::abs(double{values[i]}) * 0x1p-21);
  }
  return beyond;
}

TEST(Quantise, ErrorIsInsideTheBound) {
  for (const fsk_code code : kCodes) {
    for (const fsk_rounding rounding : {FSK_NEAREST, FSK_STOCHASTIC}) {
      for (const float sigma : {1e-38f, 1e-42f, 1e-3f, 1.0f, 1e30f}) {
        const fsk_quantiser how{code, rounding, 11};
        EXPECT_EQ(BeyondBound(how, sigma, 1), 0u) << code << rounding << ' ' << sigma;
      }
      EXPECT_GT(BeyondBound({code, rounding, 11}, 1, 0.8), 0u);
    }
  }
}

TEST(Quantise, ExtremesKeepTheirValue) {
  for (const fsk_code code : kCodes) {
    std::vector<float> values(2 * kGroup, 0.0f);
    values[3] = std::numeric_limits<float>::max();
    values[4] = -std::numeric_limits<float>::max();
    const Quantised out = Quantise(values, {code, FSK_NEAREST, 0});
    const std::vector<float> back = Dequantise(out, code);
    EXPECT_NEAR(double{back[3]} / double{values[3]}, 1, 1e-6);
    EXPECT_NEAR(double{back[4]} / double{values[4]}, 1, 1e-6);
    for (size_t i = 5; i < values.size(); ++i) EXPECT_EQ(back[i], 0);
    EXPECT_EQ(out.scales[1], std::numeric_limits<float>::min());  // a group of zeros
  }
}

TEST(Quantise, NanAndInfinityPoisonTheirGroupAlone) {
  using Limits = std::numeric_limits<float>;
  for (const fsk_code code : kCodes) {
    for (const fsk_rounding rounding : {FSK_NEAREST, FSK_STOCHASTIC}) {
      for (const float bad : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(),
                              -Limits::signaling_NaN()}) {
        std::vector<float> values = Normal(3 * kGroup, 1, 9);
        values[kGroup + 17] = bad;
        const Quantised out = Quantise(values, {code, rounding, 1});
        const std::vector<float> back = Dequantise(out, code);
        for (size_t i = 0; i < values.size(); ++i) {
          const bool poisoned = i / kGroup == 1;
          EXPECT_EQ(std::isnan(back[i]), poisoned);
          if (poisoned) {
            EXPECT_EQ(out.codes[i], 0);
            EXPECT_EQ(std::bit_cast<uint32_t>(back[i]), kNanBits);
          }
        }
      }
    }
  }
}

TEST(Quantise, KeepsTheSignOfZeroInFp8) {
  std::vector<float> values(kGroup, -0.0f);
  values[0] = 1;
  const Quantised out = Quantise(values, {FSK_FP8_E4M3, FSK_NEAREST, 0});
  EXPECT_EQ(out.codes[1], 0x80);
  EXPECT_TRUE(std::signbit(Dequantise(out, FSK_FP8_E4M3)[1]));
}

// Cut into items at any group, in one call or several: the same bits.
TEST(Quantise, DoesNotDependOnTheCut) {
  const std::vector<float> values = Normal(40 * kGroup + 3, 2, 8);
  for (const fsk_code code : kCodes) {
    const fsk_quantiser how{code, FSK_STOCHASTIC, 5};
    const Quantised whole = Quantise(values, how, 256);
    Quantised cut{std::vector<uint8_t>(values.size()), std::vector<float>(whole.scales.size())};
    std::vector<fsk_quantise_item> items;
    for (size_t at = 0, groups = 1; at < values.size(); groups = groups * 2 + 1) {
      const size_t count = std::min(groups * kGroup, values.size() - at);
      items.push_back({values.data() + at, cut.codes.data() + at, cut.scales.data() + at / kGroup,
                       count, 256 + at});
      at += count;
    }
    EXPECT_EQ(fsk_quantise(&kCpu, FSK_FP32, &how, items.data(), items.size()), FSK_OK);
    EXPECT_EQ(cut, whole);
    EXPECT_NE(Quantise(values, how, 0).codes, whole.codes);  // other elements, other bits
    EXPECT_NE(Quantise(values, {code, FSK_STOCHASTIC, 6}, 256).codes, whole.codes);
  }
}

// All instruction sets, odd lengths, every displacement that alignment allows, large (streamed)
// too.
TEST(VectorOps, AgreeBitForBitOnQuantisation) {
  constexpr size_t kRoom = 9 << 20;  // outputs from 8 MiB on take another way out of the cache
  std::vector<float> values = Normal(kRoom + 64, 1, 21);
  const std::vector<float> special = SpecialFloats();
  std::copy(special.begin(), special.end(), values.begin() + 300);
  std::vector<uint16_t> bf16(values.size());
  std::transform(values.begin(), values.end(), bf16.begin(), Bf16Bits);
  const std::vector<const VectorOps*> all = AllVectorOps();
  const auto run = [&](const VectorOps& ops, fsk_type type, const fsk_quantiser& how, size_t count,
                       size_t displacement) {
    Quantised out{std::vector<uint8_t>(count + 64), std::vector<float>(count / kGroup + 1)};
    const void* from = type == FSK_BF16 ? static_cast<const void*>(bf16.data() + displacement)
                                        : values.data() + displacement;
    ops.quantise(type, how, {from, out.codes.data() + displacement, out.scales.data(), count, 128});
    for (const float scale : out.scales) {
      if (std::isnan(scale)) {
        EXPECT_EQ(std::bit_cast<uint32_t>(scale), kNanBits);
      }
    }
    std::vector<uint32_t> bits(out.scales.size());
    std::memcpy(bits.data(), out.scales.data(), 4 * bits.size());
    return std::pair(std::move(out.codes), std::move(bits));
  };
  for (const fsk_type type : {FSK_FP32, FSK_BF16}) {
    for (const fsk_code code : kCodes) {
      for (const fsk_rounding rounding : {FSK_NEAREST, FSK_STOCHASTIC}) {
        const fsk_quantiser how{code, rounding, 77};
        for (const size_t count : {0, 1, 31, 127, 128, 129, 1000, 4097}) {
          for (const size_t displacement : {0, 1, 7}) {
            const auto expected = run(*all[0], type, how, count, displacement);
            for (const VectorOps* ops : all) {
              EXPECT_EQ(run(*ops, type, how, count, displacement), expected) << ops->name;
            }
          }
        }
        const auto expected = run(*all[0], type, how, kRoom, 0);
        for (const VectorOps* ops : all) EXPECT_EQ(run(*ops, type, how, kRoom, 0), expected);
      }
    }
  }
}

// Groups of every size from denormals to the largest floats, of zeros, with a NaN here and there:
// values over many binades, and ones that lie halfway between two codes.
TEST(VectorOps, AgreeOnGroupsOfEverySize) {
  constexpr int kGroups = 1200;
  std::mt19937 engine(31);
  std::vector<float> values;
  for (int g = 0; g < kGroups; ++g) {
    const float largest = std::ldexp(1.75f, g % 280 - 152);  // 1.75 × 2^8 is 448
    values.push_back(g % 41 == 0 ? 0.0f : largest);
    for (uint32_t i = 1; i < kGroup; ++i) {
      const float sixteenths = static_cast<float>(engine() % 32) / 32;
      const float part = std::ldexp(sixteenths, -static_cast<int>(engine() % 20));
      values.push_back((engine() % 2 ? values[values.size() - i] : -values[values.size() - i]) *
                       (engine() % 50 ? part : 1));
    }
    if (g % 97 == 3) values.back() = std::nanf("");
  }
  std::vector<uint16_t> bf16(values.size());
  std::transform(values.begin(), values.end(), bf16.begin(), Bf16Bits);
  for (const fsk_type type : {FSK_FP32, FSK_BF16}) {
    const void* from = type == FSK_BF16 ? static_cast<const void*>(bf16.data()) : values.data();
    for (const fsk_quantiser& how : {fsk_quantiser{FSK_FP8_E4M3, FSK_NEAREST, 0},
                                     {FSK_FP8_E4M3, FSK_STOCHASTIC, 3},
                                     {FSK_INT8, FSK_NEAREST, 0},
                                     {FSK_INT8, FSK_STOCHASTIC, 4}}) {
      std::vector<uint8_t> expected;
      for (const VectorOps* ops : AllVectorOps()) {
        std::vector<uint8_t> out(values.size() + kGroups * 4);
        auto* scales = reinterpret_cast<float*>(out.data());
        ops->quantise(type, how, {from, out.data() + kGroups * 4, scales, values.size(), 0});
        if (expected.empty()) expected = out;
        EXPECT_EQ(out, expected) << ops->name << ' ' << type << ' ' << how.code << how.rounding;
      }
    }
  }
}

TEST(VectorOps, DecodeAllCodesAlike) {
  std::vector<uint8_t> codes(3 * 256 + 9);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i);
  std::vector<float> scales = {1, 0x1p-126f, 1e38f, -3, 0.1f, std::nanf(""), 7};
  for (const fsk_code code : kCodes) {
    for (const VectorOps* ops : AllVectorOps()) {
      std::vector<float> fp32(codes.size());
      std::vector<uint16_t> bf16(codes.size() + 1);
      std::vector<uint8_t> displaced(3 + codes.size());
      std::copy(codes.begin(), codes.end(), displaced.begin() + 3);
      ops->dequantise(FSK_FP32, code, {codes.data(), scales.data(), fp32.data(), codes.size()});
      ops->dequantise(FSK_BF16, code,
                      {displaced.data() + 3, scales.data(), bf16.data() + 1, codes.size()});
      bf16.erase(bf16.begin());
      for (size_t i = 0; i < codes.size(); ++i) {
        const auto expected =
            static_cast<float>(ValueOf(code, codes[i]) * double{scales[i / kGroup]});
        if (std::isnan(expected)) {
          EXPECT_EQ(std::bit_cast<uint32_t>(fp32[i]), kNanBits);
          EXPECT_EQ(bf16[i], 0x7fff);
        } else {
          EXPECT_EQ(fp32[i], expected);
          EXPECT_EQ(bf16[i], Bf16::store<uint32_t>(expected));
        }
      }
    }
  }
}

}  // namespace
}  // namespace farspan::kernels::testing
