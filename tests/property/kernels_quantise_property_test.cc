// Quantisation on the CPU against the header's words, by searching the table of codes in double
// precision: any type, code, rounding, seed and length, at any place, of zeros, denormals, huge
// values, ties, NaN and infinities. And what stochastic rounding is for: its mean is the value.
#include <Random123/philox.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <random>
#include <span>
#include <vector>

#include "kernels/math/element.h"
#include "kernels/math/philox.h"
#include "kernels/math/quantise.h"
#include "tests/support/kernels_support.h"

namespace farspan::kernels::testing {
namespace {

double TopOf(fsk_code code) { return code == FSK_INT8 ? 127 : 448; }
int RandomBits(fsk_code code) { return code == FSK_INT8 ? 8 : 7; }

// All values of a code, upwards; of fp8 those that are not negative.
const std::vector<double>& TableOf(fsk_code code) {
  static const std::vector<double> tables[] = {[] {
                                                 std::vector<double> table;
                                                 for (uint32_t c = 0; c < 127; ++c)
                                                   table.push_back(E4m3Value(c));
                                                 return table;
                                               }(),
                                               [] {
                                                 std::vector<double> table;
                                                 for (int c = -127; c <= 127; ++c)
                                                   table.push_back(c);
                                                 return table;
                                               }()};
  return tables[code];
}

// Two neighbours of the table around a value, and where between them it lies.
struct Place {
  double lower;
  double upper;
  double fraction;  // of their distance
  bool lower_is_even;
};

Place PlaceOf(fsk_code code, double y) {
  const std::vector<double>& table = TableOf(code);
  const double value = code == FSK_INT8 ? y : std::abs(y);
  auto above =
      static_cast<size_t>(std::upper_bound(table.begin(), table.end(), value) - table.begin());
  above = std::clamp<size_t>(above, 1, table.size() - 1);
  const double lower = table[above - 1];
  const double upper = table[above];
  const bool even = code == FSK_INT8 ? std::fmod(lower, 2) == 0 : above % 2 == 1;
  return {lower, upper, (value - lower) / (upper - lower), even};
}

// By the header's words. `random` is the byte that r is from.
double Rounded(const fsk_quantiser& how, double y, uint32_t random) {
  const Place place = PlaceOf(how.code, y);
  const int bits = RandomBits(how.code);
  const bool up = how.rounding == FSK_STOCHASTIC
                      ? std::nearbyint(std::ldexp(place.fraction, bits)) + (random >> (8 - bits)) >=
                            std::ldexp(1, bits)
                      : place.fraction > 0.5 || (place.fraction == 0.5 && !place.lower_is_even);
  const double value = up ? place.upper : place.lower;
  return how.code == FSK_INT8 ? value : std::copysign(value, y);
}

uint32_t RandomOf(uint64_t element, uint64_t seed) {
  const uint64_t e = element % 128;
  const uint64_t counter = element / 128 * 8 + e / 8 % 8;
  const auto words = r123::Philox4x32_R<8>()(
      {{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0}},
      {{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}});
  constexpr size_t kWords[] = {1, 0, 3, 2};
  return words[kWords[e / 64 * 2 + e % 8 / 4]] >> 8 * (e % 4) & 0xff;
}

float AnyValue(uint32_t kind, int exponent, std::mt19937& engine) {
  const auto bits = static_cast<uint32_t>(engine());
  const float sign = bits >> 31 ? -1.0f : 1.0f;
  const int down = static_cast<int>(bits >> 16 & 0x7fff);
  switch (kind) {
    case 0:  // like gradients: a few binades
      return sign * std::ldexp(static_cast<float>(bits & 0xffff), exponent - 16 - down % 12);
    case 1:  // all of fp8's range, and values halfway between codes
      return sign * std::ldexp(static_cast<float>(bits & 31), exponent - down % 20);
    case 2:
      return sign * 0.0f;
    case 3:
      return SpecialFloats()[bits % SpecialFloats().size()];
    default:  // any bits at all
      return FloatOf(bits);
  }
}

// Half of the time ordinary values alone, which have a way of their own.
std::vector<float> AnyValues(size_t count, std::mt19937 engine) {
  const bool ordinary = engine() % 2 == 0;
  std::vector<float> values;
  uint32_t kind = 0;
  int exponent = 0;
  while (values.size() < count) {
    if (values.size() % kGroup == 0) {
      constexpr uint32_t kKinds[] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 4};
      kind = kKinds[engine() % (ordinary ? 9 : std::size(kKinds))];
      exponent = static_cast<int>(engine() % (ordinary ? 100 : 273)) - (ordinary ? 50 : 150);
    }
    values.push_back(AnyValue(kind, exponent, engine));
  }
  return values;
}

struct Result {
  std::vector<uint8_t> codes;  // with room around
  std::vector<float> scales;
};

struct Job {
  fsk_type type;
  fsk_quantiser how;
  uint64_t first_element;
  size_t displacement;
  std::vector<float> values;   // as the kernel sees them
  std::vector<uint8_t> bytes;  // displaced
};

constexpr uint8_t kGuard = 0x5a;

Job AnyJob() {
  Job job;
  job.type = *rc::gen::element(FSK_FP32, FSK_BF16);
  job.how = {*rc::gen::element(FSK_FP8_E4M3, FSK_INT8),
             *rc::gen::element(FSK_NEAREST, FSK_STOCHASTIC), *rc::gen::arbitrary<uint64_t>()};
  job.first_element =
      *rc::gen::element<uint64_t>(0, 128, 3ull << 30, (1ull << 36) - 128, 7ull << 50);
  job.displacement = *rc::gen::inRange<size_t>(0, 9);
  job.values = AnyValues(*rc::gen::inRange<size_t>(0, 20 * kGroup),
                         std::mt19937(*rc::gen::arbitrary<uint32_t>()));
  const size_t width = job.type == FSK_FP32 ? 4 : 2;
  job.bytes.resize((job.values.size() + job.displacement) * width);
  for (size_t i = 0; i < job.values.size(); ++i) {
    uint32_t raw = BitsOf(job.values[i]);
    if (job.type == FSK_BF16) {
      raw >>= 16;
      job.values[i] = Bf16::load(raw);
    }
    std::memcpy(job.bytes.data() + (i + job.displacement) * width, &raw, width);
  }
  return job;
}

Result Run(const VectorOps& ops, const Job& job) {
  const size_t count = job.values.size();
  Result out{std::vector<uint8_t>(count + 64, kGuard),
             std::vector<float>(count / kGroup + 2, 7.0f)};
  const size_t width = job.type == FSK_FP32 ? 4 : 2;
  ops.quantise(job.type, job.how,
               {job.bytes.data() + job.displacement * width, out.codes.data() + job.displacement,
                out.scales.data(), count, job.first_element});
  return out;
}

// Of codes `codes` with `scale`: what of the header's promises a group breaks, or null.
const char* Broken(const Job& job, size_t from, std::span<const uint8_t> codes, float scale) {
  const std::span<const float> x(job.values.data() + from, codes.size());
  const double top = TopOf(job.how.code);
  double a = top * 0x1p-126;
  bool poisoned = false;
  for (const float v : x) {
    poisoned = poisoned || !std::isfinite(v);
    a = std::max(a, std::abs(double{v}));
  }
  if (poisoned) {
    const bool zeros = std::all_of(codes.begin(), codes.end(), [](uint8_t c) { return c == 0; });
    return zeros && BitsOf(scale) == kNanBits ? nullptr : "poison";
  }
  if (std::abs(scale - a / top) > a / top * 0x1p-23) return "scale";
  const auto inverse = static_cast<float>(top / std::min(a, 0x1.fffffcp127));
  for (size_t i = 0; i < x.size(); ++i) {
    const double y = std::clamp<double>(x[i] * inverse, -top, top);
    const uint32_t random = RandomOf(job.first_element + from + i, job.how.seed);
    const double code = ValueOf(job.how.code, codes[i]);
    if (code != Rounded(job.how, y, random)) return "code";
    if (job.how.code == FSK_FP8_E4M3 && std::signbit(code) != std::signbit(x[i])) return "sign";
    const double magnitude = std::abs(double{x[i]});
    double h = job.how.code == FSK_INT8 ? a / 254 : std::max(magnitude / 16, a / 448 * 0x1p-10);
    if (job.how.rounding == FSK_STOCHASTIC) h *= 2;
    if (std::abs(x[i] - code * double{scale}) > h + magnitude * 0x1p-21) return "bound";
  }
  return nullptr;
}

RC_GTEST_PROP(QuantiseProperty, EveryGroupIsAsTheHeaderSays, ()) {
  const Job job = AnyJob();
  const Result out = Run(BestVectorOps(), job);
  const std::span<const uint8_t> codes(out.codes.data() + job.displacement, job.values.size());
  for (size_t from = 0; from < codes.size(); from += kGroup) {
    const size_t count = std::min<size_t>(kGroup, codes.size() - from);
    const char* broken = Broken(job, from, codes.subspan(from, count), out.scales[from / kGroup]);
    RC_LOG() << (broken ? broken : "") << " at group " << from / kGroup << '\n';
    RC_ASSERT(broken == nullptr);
  }
  const size_t groups = (codes.size() + kGroup - 1) / kGroup;
  RC_ASSERT(std::all_of(out.scales.begin() + static_cast<int64_t>(groups), out.scales.end(),
                        [](float s) { return s == 7.0f; }));
  const auto is_guard = [](uint8_t c) { return c == kGuard; };
  RC_ASSERT(std::all_of(out.codes.data(), codes.data(), is_guard));
  RC_ASSERT(
      std::all_of(codes.data() + codes.size(), out.codes.data() + out.codes.size(), is_guard));
}

RC_GTEST_PROP(QuantiseProperty, AllInstructionSetsAgree, ()) {
  const Job job = AnyJob();
  const Result expected = Run(*VectorOpsFor(Isa::kBaseline), job);
  for (const VectorOps* ops : AllVectorOps()) {
    const Result out = Run(*ops, job);
    RC_LOG() << ops->name << '\n';
    RC_ASSERT(out.codes == expected.codes);
    RC_ASSERT(std::memcmp(out.scales.data(), expected.scales.data(), 4 * out.scales.size()) == 0);
  }
}

// What a GPU's thread draws for its eight elements.
RC_GTEST_PROP(Philox, ServesEightElementsAsTheHeaderSays, ()) {
  const uint64_t element = *rc::gen::arbitrary<uint64_t>() / 8 * 8;
  const auto seed = *rc::gen::arbitrary<uint64_t>();
  const uint64_t bytes = RandomOfEight(element, seed);
  for (uint32_t i = 0; i < 8; ++i) {
    RC_ASSERT((bytes >> 8 * i & 0xff) == RandomOf(element + i, seed));
  }
}

float Decoded(fsk_code code, float y, uint32_t random) {
  return code == FSK_INT8 ? Int8::decode(Int8::stochastic<uint32_t>(y, random))
                          : Fp8E4m3::decode(Fp8E4m3::stochastic<uint32_t>(y, random) & 0xff);
}

// The largest distance of a mean over all r from its value, in steps, over a sweep of values.
double LargestBias(fsk_code code) {
  double largest = 0;
  for (int i = 0; i <= 40'000; ++i) {
    const auto y = static_cast<float>(TopOf(code) * (i - 20'000) / 20'000 * (i % 7 ? 1 : 0x1p-9));
    double sum = 0;
    for (uint32_t random = 0; random < 256; ++random) sum += double{Decoded(code, y, random)};
    const Place place = PlaceOf(code, y);
    largest = std::max(largest, std::abs(sum / 256 - double{y}) / (place.upper - place.lower));
  }
  return largest;
}

// The bound is reached: b random bits are not one more.
TEST(Stochastic, MeanOverAllRandomBitsIsWithinTheBound) {
  for (const fsk_code code : {FSK_FP8_E4M3, FSK_INT8}) {
    const double bound = std::ldexp(1, -1 - RandomBits(code));
    EXPECT_LE(LargestBias(code), bound);
    EXPECT_GT(LargestBias(code), 0.98 * bound);
  }
}

struct Spread {
  double mean_error;  // largest of an element, in its standard deviations beyond the bias allowed
  double variance;    // of the sum of a group's errors, to that of independent roundings
};

// One group under many seeds, against the probabilities that the header gives its elements.
Spread Over(const fsk_quantiser& how, int seeds, bool same_seed) {
  std::vector<float> x(kGroup);
  for (uint32_t i = 0; i < kGroup; ++i) x[i] = std::sin(0.37f * static_cast<float>(i + 1)) / 3;
  x[0] = 1;
  std::vector<double> sum(kGroup, 0.0);
  std::vector<double> step(kGroup);
  double expected = 0;
  double squares = 0;
  for (uint32_t i = 0; i < kGroup; ++i) {
    const Place place = PlaceOf(how.code, TopOf(how.code) * double{x[i]});
    step[i] = place.upper - place.lower;
    expected += place.fraction * (1 - place.fraction);
  }
  for (int s = 0; s < seeds; ++s) {
    fsk_quantiser with_seed = how;
    with_seed.seed = same_seed ? 1 : static_cast<uint64_t>(s);
    std::vector<uint8_t> codes(kGroup);
    float scale = 0;
    const fsk_quantise_item item{x.data(), codes.data(), &scale, kGroup, 0};
    EXPECT_EQ(fsk_quantise(&kCpu, FSK_FP32, &with_seed, &item, 1), FSK_OK);
    double of_group = 0;
    for (uint32_t i = 0; i < kGroup; ++i) {
      const double error = (ValueOf(how.code, codes[i]) - TopOf(how.code) * double{x[i]}) / step[i];
      sum[i] += error;
      of_group += error;
    }
    squares += of_group * of_group;
  }
  Spread spread{0, squares / seeds / expected};
  for (const double s : sum) {
    const double bias = std::ldexp(1, -1 - RandomBits(how.code));
    const double beyond = std::abs(s / seeds) - bias - 1e-5;  // 1e-5: y is a float
    spread.mean_error = std::max(spread.mean_error, beyond / (0.5 / std::sqrt(seeds)));
  }
  return spread;
}

// Over seeds an element's error has mean zero, and the elements of a group err independently: the
// variance of their sum is the sum of their variances. (128 means within 5 standard deviations: one
// chance in 13,000 if the seeds were drawn anew; the variance of 4096 sums is known to 2.2 %.)
TEST(Stochastic, IsUnbiasedAndIndependentOverSeeds) {
  constexpr int kSeeds = 4096;
  for (const fsk_code code : {FSK_FP8_E4M3, FSK_INT8}) {
    const Spread spread = Over({code, FSK_STOCHASTIC, 0}, kSeeds, false);
    EXPECT_LT(spread.mean_error, 5);
    EXPECT_NEAR(spread.variance, 1, 0.11);
    // Twins: rounding to nearest is biased, and so is one seed for all steps.
    EXPECT_GT(Over({code, FSK_NEAREST, 0}, kSeeds, false).mean_error, 20);
    EXPECT_GT(Over({code, FSK_STOCHASTIC, 0}, kSeeds, true).mean_error, 20);
  }
}

}  // namespace
}  // namespace farspan::kernels::testing
