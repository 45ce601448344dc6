// What a loss specification may say, and the patterns that are exact.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "emulator/link/loss.h"
#include "tests/support/loss_cases.h"

namespace farspan::link {
namespace {

using namespace testing;            // NOLINT(google-build-using-namespace)
using namespace farspan::literals;  // NOLINT(google-build-using-namespace)

constexpr Keying kPacket = Keying::kPacket;
constexpr Keying kWire = Keying::kWireTime;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// --- Validate --------------------------------------------------------------------------------

struct Refused {
  LossSpec spec;
  Rate rate;
  const char* says;
};

LossSpec WithReference(LossSpec spec, uint32_t bytes) {
  spec.reference_wire_bytes = bytes;
  return spec;
}

TEST(LossSpecCheck, SaysWhatIsWrong) {
  const std::vector<Refused> all{
      {Bernoulli(kPacket, 1), 1_gbps, "use a cut"},
      {Bernoulli(kPacket, -0.1), 1_gbps, "from 0 to below 1"},
      {Bernoulli(kPacket, kNan), 1_gbps, "from 0 to below 1"},
      {Bernoulli(kWire, 0.1), {0}, "no rate"},
      {Bernoulli(kWire, 1e-30), 1_gbps, "36 years"},
      {WithReference(Bernoulli(kWire, 0.9999), 64), 400_gbps, "whole ns"},
      {WithReference(Bernoulli(kWire, 0.1), 0), 1_gbps, "reference frame"},
      {GilbertElliott(kPacket, 0, 0.5), 1_gbps, "p (good to bad)"},
      {GilbertElliott(kPacket, 0.5, 0), 1_gbps, "r (bad to good)"},
      {GilbertElliott(kPacket, 1.5, 0.1), 1_gbps, "at most 1"},
      {GilbertElliott(kPacket, 0.5, 0.5, 1.1), 1_gbps, "bad state"},
      {GilbertElliott(kPacket, 0.5, 0.5, 1, 1), 1_gbps, "good state"},
      {GilbertElliott(kWire, 1e-30, 0.5), 1_gbps, "36 years"},
      {Burst(kPacket, 0.1, 0), 1_gbps, "0 frames"},
      {Burst(kPacket, 1, 3), 1_gbps, "rate of bursts"},
      {BitError(kPacket, 1), 1_gbps, "bit error rate"},
      {Mask({}), 1_gbps, "mask is empty"},
      {Mask({true, true}), 1_gbps, "at least one packet passed"},
      {Trace(kPacket, {}), 1_gbps, "no intervals"},
      {Trace(kPacket, {{5, 5}}), 1_gbps, "interval 1"},
      {Trace(kPacket, {{5, 9}, {8, 10}}), 1_gbps, "interval 2"},
      {Trace(kWire, {{5, uint64_t{1} << 63}}), 1_gbps, "2^63"},
      {Periodic(kPacket, 1, 0), 1_gbps, "at least 2"},
      {Periodic(kPacket, 10, 10), 1_gbps, "not below the period"},
  };
  for (const Refused& row : all) {
    const Result<void> result = Validate(row.spec, row.rate);
    ASSERT_FALSE(result) << row.says;
    EXPECT_NE(result.error().message.find(row.says), std::string::npos) << result.error().message;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalid);
  }
  LossSpec mask = Mask({true, false});
  mask.keying = kWire;
  EXPECT_NE(Validate(mask, 1_gbps).error().message.find("by packet"), std::string::npos);
}

TEST(LossSpecCheck, TakesTheEdges) {
  for (const auto& [spec, rate] : std::vector<std::pair<LossSpec, Rate>>{
           {LossSpec{}, {0}},
           {Bernoulli(kPacket, 0), {0}},
           {Bernoulli(kWire, 0), 1_gbps},
           {Bernoulli(kPacket, 0.999), {0}},
           {Bernoulli(kWire, 1e-15), 400_gbps},
           {GilbertElliott(kPacket, 1, 1), {0}},
           {GilbertElliott(kWire, 1, 1, 0, 0), 400_gbps},
           {GilbertElliott(kPacket, 1e-9, 1, 0.5, 0.1), {0}},
           {Burst(kPacket, 1e-9, 1), {0}},
           {BitError(kWire, 1e-18), 1_gbps},
           {Mask({false}), {0}},
           {Trace(kPacket, {{0, 1}, {1, 2}}), {0}},
           {Periodic(kPacket, 2, 1), {0}},
       }) {
    const Result<void> result = Validate(spec, rate);
    EXPECT_TRUE(result) << (result ? "" : result.error().text());
    LossModel model(spec, {1}, 0, rate);
    BackToBack wire(100_gbps);
    for (int i = 0; i < 1000; ++i) wire.send(model, 1538);
  }
}

// --- Exact patterns ----------------------------------------------------------------------------

std::vector<bool> Pattern(const LossSpec& spec, int packets) {
  LossModel model(spec, {1}, 0, {0});
  std::vector<bool> lost(packets);
  for (int i = 0; i < packets; ++i) lost[i] = model.lost({0}, {0}, 1538);
  return lost;
}

TEST(LossPattern, NoneLosesNothing) {
  EXPECT_EQ(Pattern(LossSpec{}, 1000), std::vector<bool>(1000));
  EXPECT_EQ(Pattern(Bernoulli(kPacket, 0), 1000), std::vector<bool>(1000));
}

TEST(LossPattern, MaskRepeats) {
  const std::vector<bool> mask{true, false, false, true, true, false};
  const auto seen = Pattern(Mask(mask), 100);
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], mask[i % mask.size()]) << i;
  std::vector<bool> large(1000);  // runs beyond what one call looks ahead
  std::fill(large.begin() + 300, large.begin() + 700, true);
  const auto long_runs = Pattern(Mask(large), 3000);
  for (size_t i = 0; i < long_runs.size(); ++i) EXPECT_EQ(long_runs[i], large[i % 1000]) << i;
}

TEST(LossPattern, PeriodicTakesEveryNth) {
  const auto seen = Pattern(Periodic(kPacket, 7, 3), 100);
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], i % 7 == 3) << i;
}

TEST(LossPattern, TraceIsFollowed) {
  const auto seen = Pattern(Trace(kPacket, {{0, 2}, {10, 11}, {11, 15}, {90, 200}}), 300);
  for (size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i], i < 2 || (i >= 10 && i < 15) || (i >= 90 && i < 200)) << i;
  }
}

TEST(LossPattern, GilbertElliottMayAlternate) {
  const auto seen = Pattern(GilbertElliott(kPacket, 1, 1), 100);
  for (size_t i = 1; i < seen.size(); ++i) EXPECT_NE(seen[i], seen[i - 1]) << i;
}

TEST(LossPattern, FramesWithoutBitsHaveNoBitErrors) {
  LossModel model(BitError(kPacket, 0.5), {1}, 0, {0});
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(model.lost({0}, {0}, kPreambleAndGapBytes));
  EXPECT_TRUE(model.lost({0}, {0}, 1538));
}

// --- What `check` prints for models that are not random ----------------------------------------

TEST(ExpectedLoss, OfWhatIsNotRandom) {
  EXPECT_EQ(ExpectedLoss(LossSpec{}, 1538, {0}), 0);
  EXPECT_DOUBLE_EQ(ExpectedLoss(Mask({true, false, false, true, false}), 84, {0}), 0.4);
  EXPECT_DOUBLE_EQ(ExpectedLoss(Periodic(kPacket, 8, 0), 84, {0}), 0.125);
  EXPECT_DOUBLE_EQ(ExpectedLoss(Periodic(kWire, 10'000, 0), 125, 1_gbps), 0.1);
  EXPECT_DOUBLE_EQ(ExpectedLoss(Periodic(kWire, 10'000, 0), 15'000, 1_gbps), 1);
  const std::vector<Interval> trace{{0, 100}, {1900, 2000}};
  EXPECT_DOUBLE_EQ(ExpectedLoss(Trace(kPacket, trace), 84, {0}), 0.1);
  EXPECT_DOUBLE_EQ(ExpectedLoss(Trace(kWire, trace), 125, 10_gbps), 0.15);  // 100 ns each
  // The same share is lost of packets at every ns of the trace's span.
  int lost = 0;
  for (int64_t t = 0; t < 2000; ++t) {
    LossModel model(Trace(kWire, trace), {1}, 0, 10_gbps);
    lost += model.lost({t}, {t + 100}, 125);
  }
  EXPECT_EQ(lost, 100 + 199);  // a packet that ends at 1900 is not lost
}

TEST(ExpectedLoss, KeepsSmallProbabilitiesExact) {
  for (const double p : {1e-6, 1e-12}) {
    EXPECT_NEAR(ExpectedLoss(Bernoulli(kWire, p), 1538, 1_gbps), p, 1e-9 * p);
    EXPECT_NEAR(ExpectedLoss(Bernoulli(kWire, p), 769, 1_gbps), p / 2, 1e-6 * p);
    EXPECT_NEAR(ExpectedLoss(BitError(kPacket, p / 1e4), 1538, {0}), p * 1.2144, 1e-5 * p);
  }
}

}  // namespace
}  // namespace farspan::link
