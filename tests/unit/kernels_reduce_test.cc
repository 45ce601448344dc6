// Sums, maxima and the fused step of a compressed reduction on the CPU, against plain loops.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/math/element.h"
#include "kernels/math/quantise.h"
#include "tests/support/kernels_support.h"

namespace farspan::kernels::testing {
namespace {

TEST(Element, SixteenBitTypesGoThroughFloatAndBack) {
  for (uint32_t raw = 0; raw < 65536; ++raw) {
    const float half = Fp16::load(raw);
    const float brain = Bf16::load(raw);
    if (!std::isnan(half)) {
      EXPECT_EQ(Fp16::store<uint32_t>(half), raw);
    }
    if (std::isnan(half)) {
      EXPECT_EQ(Fp16::store<uint32_t>(half), 0x7fffu);
    }
    if (!std::isnan(brain)) {
      EXPECT_EQ(Bf16::store<uint32_t>(brain), raw);
    }
    if (std::isnan(brain)) {
      EXPECT_EQ(Bf16::store<uint32_t>(brain), 0x7fffu);
    }
    EXPECT_EQ(std::isnan(half), (raw & 0x7fff) > 0x7c00);
  }
}

// Between neighbours a and b of a 16-bit type lie their middle (to even) and what is beside it.
template <typename Type>
void ExpectRoundsToNearestEven(uint32_t from, uint32_t infinity) {
  for (uint32_t raw = from; raw + 1 < infinity; ++raw) {
    const double a = Type::load(raw);
    const double b = Type::load(raw + 1);
    const auto middle = static_cast<float>((a + b) / 2);
    ASSERT_EQ(Type::template store<uint32_t>(middle), raw + (raw & 1));
    ASSERT_EQ(Type::template store<uint32_t>(std::nextafter(middle, 0.0f)), raw);
    ASSERT_EQ(Type::template store<uint32_t>(std::nextafter(middle, 4 * middle)), raw + 1);
  }
}

TEST(Element, RoundsToNearestEven) {
  ExpectRoundsToNearestEven<Fp16>(0, 0x7c00);
  ExpectRoundsToNearestEven<Bf16>(0x0080, 0x7f80);
  EXPECT_EQ(Fp16::store<uint32_t>(65519.99f), 0x7bffu);
  EXPECT_EQ(Fp16::store<uint32_t>(65520.0f), 0x7c00u);
  EXPECT_EQ(Fp16::store<uint32_t>(-1e30f), 0xfc00u);
  EXPECT_EQ(Bf16::store<uint32_t>(std::numeric_limits<float>::max()), 0x7f80u);
  EXPECT_EQ(Bf16::store<uint32_t>(0x1p-149f), 0u);
}

TEST(Maximum, OrdersZerosAndPrefersNan) {
  const float nan = std::nanf("");
  EXPECT_FALSE(std::signbit(Maximum<uint32_t>(0.0f, -0.0f)));
  EXPECT_FALSE(std::signbit(Maximum<uint32_t>(-0.0f, 0.0f)));
  EXPECT_TRUE(std::signbit(Maximum<uint32_t>(-0.0f, -0.0f)));
  for (const float x : SpecialFloats()) {
    EXPECT_EQ(BitsOf(Maximum<uint32_t>(x, -nan)), kNanBits);
    EXPECT_EQ(BitsOf(Maximum<uint32_t>(nan, x)), kNanBits);
    for (const float y : SpecialFloats()) {
      if (!std::isnan(x) && !std::isnan(y)) {
        EXPECT_EQ(Maximum<uint32_t>(x, y), std::max(x, y));
      }
    }
  }
}

std::vector<float> Mixed(size_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, 100);
  const std::vector<float> special = SpecialFloats();
  std::vector<float> values(count);
  for (float& v : values)
    v = engine() % 10 == 0 ? special[engine() % special.size()] : normal(engine);
  return values;
}

template <typename Type>
void ExpectReduces(fsk_type type, fsk_reduction reduction) {
  using Raw = typename Type::Raw;
  constexpr size_t kCount = 3 * kGroup + 41;
  for (uint32_t sources = 1; sources <= FSK_SOURCES_MAX; ++sources) {
    std::vector<std::vector<Raw>> in;
    for (uint32_t s = 0; s < sources; ++s) {
      in.emplace_back();
      for (const float v : Mixed(kCount, s)) {
        in.back().push_back(static_cast<Raw>(Type::template store<uint32_t>(v)));
      }
    }
    std::vector<Raw> expected(kCount);
    for (size_t i = 0; i < kCount; ++i) {
      float total = Type::load(uint32_t{in[0][i]});
      for (uint32_t s = 1; s < sources; ++s) {
        const float next = Type::load(uint32_t{in[s][i]});
        total = reduction == FSK_SUM ? total + next : Maximum<uint32_t>(total, next);
      }
      expected[i] = static_cast<Raw>(Type::template store<uint32_t>(total));
    }
    for (const VectorOps* ops : AllVectorOps()) {
      std::vector<Raw> out(kCount);
      fsk_reduce_item item{};
      for (uint32_t s = 0; s < sources; ++s) item.in[s] = in[s].data();
      item.out = out.data();
      item.elements = kCount;
      item.sources = sources;
      ops->reduce(type, reduction, item);
      EXPECT_EQ(out, expected) << ops->name << ' ' << sources;
      std::vector<Raw> displaced(kCount + 1);
      item.out = displaced.data() + 1;
      ops->reduce(type, reduction, item);
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), displaced.begin() + 1));
      std::vector<Raw> in_place = in[sources - 1];
      item.in[sources - 1] = item.out = in_place.data();
      ops->reduce(type, reduction, item);
      EXPECT_EQ(in_place, expected) << ops->name << " in place";
    }
  }
}

TEST(Reduce, IsThePlainLoop) {
  for (const fsk_reduction reduction : {FSK_SUM, FSK_MAX}) {
    ExpectReduces<Fp32>(FSK_FP32, reduction);
    ExpectReduces<Bf16>(FSK_BF16, reduction);
    ExpectReduces<Fp16>(FSK_FP16, reduction);
  }
}

TEST(Reduce, SumsSmallIntegersExactly) {
  constexpr size_t kCount = 1000;
  std::vector<uint16_t> in[8];
  fsk_reduce_item item{};
  for (uint32_t s = 0; s < 8; ++s) {
    for (size_t i = 0; i < kCount; ++i) {
      in[s].push_back(Bf16Bits(static_cast<float>((i * 7 + s * 3) % 16)));
    }
    item.in[s] = in[s].data();
  }
  std::vector<uint16_t> out(kCount);
  item.out = out.data();
  item.elements = kCount;
  item.sources = 8;
  ASSERT_EQ(fsk_reduce(&kCpu, FSK_BF16, FSK_SUM, &item, 1), FSK_OK);
  for (size_t i = 0; i < kCount; ++i) {
    size_t sum = 0;
    for (uint32_t s = 0; s < 8; ++s) sum += (i * 7 + s * 3) % 16;
    EXPECT_EQ(Bf16Value(out[i]), static_cast<float>(sum));
  }
}

struct Sources {
  std::vector<std::vector<uint8_t>> codes;
  std::vector<std::vector<float>> scales;
};

Sources MakeSources(fsk_code code, uint32_t sources, size_t count) {
  Sources out;
  for (uint32_t s = 0; s < sources; ++s) {
    std::vector<float> values = Mixed(count, 100 + s);
    if (s % 2 == 0) {
      for (float& v : values) v = std::isfinite(v) && std::abs(v) < 1e6f ? v : 1.5f;
    }
    out.codes.emplace_back(count);
    out.scales.emplace_back((count + kGroup - 1) / kGroup);
    const fsk_quantiser how{code, FSK_NEAREST, 0};
    const fsk_quantise_item item{values.data(), out.codes[s].data(), out.scales[s].data(), count,
                                 0};
    EXPECT_EQ(fsk_quantise(&kCpu, FSK_FP32, &how, &item, 1), FSK_OK);
  }
  return out;
}

// What the fused step is to give, by its parts done apart.
template <typename Type>
struct Apart {
  std::vector<typename Type::Raw> values;
  std::vector<uint8_t> codes;
  std::vector<float> scales;
};

constexpr uint64_t kFirst = 640;

template <typename Type>
Apart<Type> DoneApart(const Sources& in, const fsk_quantiser& how,
                      const std::vector<typename Type::Raw>* base, size_t count) {
  std::vector<float> sum(count);
  for (size_t s = 0; s < in.codes.size(); ++s) {
    std::vector<float> part(count);
    const fsk_dequantise_item item{in.codes[s].data(), in.scales[s].data(), part.data(), count};
    EXPECT_EQ(fsk_dequantise(&kCpu, FSK_FP32, how.code, &item, 1), FSK_OK);
    for (size_t i = 0; i < count; ++i) {
      const float before = s > 0 ? sum[i] : base ? Type::load(uint32_t{(*base)[i]}) : 0;
      sum[i] = s > 0 || base ? before + part[i] : part[i];
    }
  }
  Apart<Type> out{{}, std::vector<uint8_t>(count), in.scales[0]};
  for (const float v : sum) {
    out.values.push_back(static_cast<typename Type::Raw>(Type::template store<uint32_t>(v)));
  }
  const fsk_quantise_item item{sum.data(), out.codes.data(), out.scales.data(), count, kFirst};
  EXPECT_EQ(fsk_quantise(&kCpu, FSK_FP32, &how, &item, 1), FSK_OK);
  return out;
}

// On every instruction set; codes displaced by a byte, values by an element.
template <typename Type>
void ExpectFusedIsApart(fsk_type type, const fsk_quantiser& how, uint32_t sources, bool with_base) {
  constexpr size_t kCount = 5 * kGroup + 19;
  const Sources in = MakeSources(how.code, sources, kCount);
  std::vector<typename Type::Raw> base;
  for (const float v : Mixed(kCount, 5)) {
    base.push_back(static_cast<typename Type::Raw>(Type::template store<uint32_t>(v)));
  }
  const Apart<Type> expected = DoneApart<Type>(in, how, with_base ? &base : nullptr, kCount);
  for (const VectorOps* ops : AllVectorOps()) {
    std::vector<typename Type::Raw> values(kCount + 1);
    std::vector<uint8_t> out_codes(kCount + 1);  // in place of source 0
    std::copy(in.codes[0].begin(), in.codes[0].end(), out_codes.begin() + 1);
    std::vector<float> out_scales = in.scales[0];
    fsk_accumulate_item item{};
    for (uint32_t s = 0; s < sources; ++s) {
      item.codes[s] = s ? in.codes[s].data() : out_codes.data() + 1;
      item.scales[s] = s ? in.scales[s].data() : out_scales.data();
    }
    item.base = with_base ? base.data() : nullptr;
    item.values = values.data() + 1;
    item.out_codes = out_codes.data() + 1;
    item.out_scales = out_scales.data();
    item.elements = kCount;
    item.first_element = kFirst;
    item.sources = sources;
    ops->accumulate(type, how, item);
    values.erase(values.begin());
    out_codes.erase(out_codes.begin());
    EXPECT_EQ(values, expected.values) << ops->name;
    EXPECT_EQ(out_codes, expected.codes) << ops->name;
    EXPECT_EQ(std::memcmp(out_scales.data(), expected.scales.data(), 4 * out_scales.size()), 0);
  }
}

TEST(Accumulate, IsItsPartsDoneApart) {
  for (const fsk_code code : {FSK_FP8_E4M3, FSK_INT8}) {
    for (const fsk_rounding rounding : {FSK_NEAREST, FSK_STOCHASTIC}) {
      for (const uint32_t sources : {1u, 2u, 7u, 16u}) {
        for (const bool with_base : {false, true}) {
          const fsk_quantiser how{code, rounding, 31};
          ExpectFusedIsApart<Fp32>(FSK_FP32, how, sources, with_base);
          ExpectFusedIsApart<Bf16>(FSK_BF16, how, sources, with_base);
        }
      }
    }
  }
}

}  // namespace
}  // namespace farspan::kernels::testing
