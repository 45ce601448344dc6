// How much every loss model loses: inside the 99.9 % interval of its closed form over 10^7 packets,
// with the process's own variance; burst and gap lengths; bit errors by packet size. Each has a
// twin that is only slightly wrong and must be found out.
#include "emulator/link/loss.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "tests/support/loss_cases.h"
#include "tests/support/statistics.h"

namespace farspan::link {
namespace {

using namespace testing;            // NOLINT(google-build-using-namespace)
using namespace farspan::testing;   // NOLINT(google-build-using-namespace)
using namespace farspan::literals;  // NOLINT(google-build-using-namespace)

constexpr uint64_t kSeed = 1;
constexpr Keying kPacket = Keying::kPacket;
constexpr Keying kWire = Keying::kWireTime;

StreamKey Key() { return MakeStreamKey(kSeed, "loss test", 0); }

// --- Variances: lim Var(packets lost of N) / N, for packets back to back ------------------------

using Matrix = std::array<std::array<double, 2>, 2>;

Matrix Multiply(const Matrix& a, const Matrix& b) {
  Matrix c{};
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) c[i][j] = a[i][0] * b[0][j] + a[i][1] * b[1][j];
  }
  return c;
}

// exp(m) by Taylor's series of m / 2^20, squared 20 times.
Matrix Exponential(Matrix m) {
  for (auto& row : m) {
    for (double& x : row) x *= 0x1p-20;
  }
  Matrix sum{{{1, 0}, {0, 1}}};
  Matrix term = sum;
  for (int n = 1; n < 6; ++n) {
    term = Multiply(term, m);
    for (auto& row : term) {
      for (double& x : row) x /= n;
    }
    for (int i = 0; i < 4; ++i) sum[i / 2][i % 2] += term[i / 2][i % 2];
  }
  for (int i = 0; i < 20; ++i) sum = Multiply(sum, sum);
  return sum;
}

struct Moments {
  double loss;
  double variance;
};

Moments Independent(double p) { return {p, p * (1 - p)}; }

// The covariance of packets k apart is that of their states times the chance, 1 - p - r for every
// step, that the state has not been drawn anew.
Moments GilbertElliottByPacket(double p, double r, double bad, double good) {
  const double share = p / (p + r);
  const double loss = share * bad + (1 - share) * good;
  const double states = share * (1 - share) * (bad - good) * (bad - good);
  return {loss, loss * (1 - loss) + 2 * states * (1 - p - r) / (p + r)};
}

// Renewal: cycles of a geometric gap and n losses; Var(n - loss x cycle) per mean cycle.
Moments BurstByPacket(double rate, double n) {
  const double loss = n / (n + (1 - rate) / rate);
  const double cycle = n / loss;
  return {loss, loss * loss * (1 - rate) / (rate * rate) / cycle};
}

// Two packets k apart are both spared if no burst starts in the union of their windows.
Moments BurstInWireTime(double rate, double frames, double packet) {
  const double hazard = -std::log1p(-rate);
  const double window = packet + frames;
  const double spared = std::exp(-hazard * window);
  double variance = spared * (1 - spared);
  for (int k = 1; k * packet < window; ++k) {
    variance += 2 * spared * (std::exp(-hazard * k * packet) - spared);
  }
  return {1 - spared, variance};
}

// Markov-modulated points; `packet` in reference frames. With u = pi exp(Mt), v = exp(Mt) 1, both
// of two packets k apart are spared with probability u exp(Q (k-1) t) v.
Moments GilbertElliottInWireTime(double p, double r, double bad, double good, double packet) {
  const double share = p / (p + r);
  const double hazard_good = -std::log1p(-good);
  double forget = 1 - std::exp(-(p + r) * packet);
  if (bad == 1) {  // spared: good all the time
    const double stay = std::exp(-(p + hazard_good) * packet);
    const double spared = (1 - share) * stay;
    return {1 - spared, spared * (1 - spared) + 2 * share * (1 - share) * stay * stay / forget};
  }
  const double hazard_bad = -std::log1p(-bad);
  const Matrix e = Exponential(
      {{{-(p + hazard_good) * packet, p * packet}, {r * packet, -(r + hazard_bad) * packet}}});
  const std::array<double, 2> u{(1 - share) * e[0][0] + share * e[1][0],
                                (1 - share) * e[0][1] + share * e[1][1]};
  const std::array<double, 2> v{e[0][0] + e[0][1], e[1][0] + e[1][1]};
  const double spared = u[0] + u[1];
  const double both = u[0] * v[0] + u[1] * v[1] - spared * ((1 - share) * v[0] + share * v[1]);
  return {1 - spared, spared * (1 - spared) + 2 * both / forget};
}

Moments BitErrors(double rate, double wire_bytes) {
  return Independent(1 - std::pow(1 - rate, 8 * (wire_bytes - 20)));
}

// --- Rates -------------------------------------------------------------------------------------

struct Case {
  const char* name;
  LossSpec spec;
  uint32_t wire_bytes;
  Moments expected;
  Rate rate{100'000'000'000};
};

std::vector<Case> Cases() {
  const double ref = 1538;
  return {
      {"Bernoulli, packet", Bernoulli(kPacket, 1e-3), 1538, Independent(1e-3)},
      {"Bernoulli, packet, high", Bernoulli(kPacket, 0.3), 84, Independent(0.3)},
      {"Bernoulli, wire time", Bernoulli(kWire, 1e-3), 1538, Independent(1e-3)},
      {"Bernoulli, wire time, high", Bernoulli(kWire, 0.3), 1538, Independent(0.3), 10_gbps},
      {"Bernoulli, wire time, 1.68 ns packets", Bernoulli(kWire, 0.05), 84,
       Independent(1 - std::pow(0.95, 84 / ref)), 400_gbps},
      {"Bernoulli, wire time, jumbo", Bernoulli(kWire, 1e-3), 9038,
       Independent(1 - std::pow(0.999, 9038 / ref)), 25_gbps},
      {"Gilbert-Elliott, packet", GilbertElliott(kPacket, 1e-3, 0.1), 1538,
       GilbertElliottByPacket(1e-3, 0.1, 1, 0)},
      {"Gilbert-Elliott, packet, 4 parameters", GilbertElliott(kPacket, 0.01, 0.2, 0.7, 2e-3), 1538,
       GilbertElliottByPacket(0.01, 0.2, 0.7, 2e-3)},
      {"Gilbert-Elliott, packet, alternating", GilbertElliott(kPacket, 0.8, 0.9, 0.5, 0.1), 1538,
       GilbertElliottByPacket(0.8, 0.9, 0.5, 0.1)},
      {"Gilbert-Elliott, wire time", GilbertElliott(kWire, 1e-3, 0.1), 1538,
       GilbertElliottInWireTime(1e-3, 0.1, 1, 0, 1)},
      {"Gilbert-Elliott, wire time, jumbo", GilbertElliott(kWire, 1e-3, 0.1, 1, 1e-4), 9038,
       GilbertElliottInWireTime(1e-3, 0.1, 1, 1e-4, 9038 / ref)},
      {"Gilbert-Elliott, wire time, 4 parameters", GilbertElliott(kWire, 0.01, 0.2, 0.7, 2e-3),
       1538, GilbertElliottInWireTime(0.01, 0.2, 0.7, 2e-3, 1)},
      {"Gilbert-Elliott, wire time, 400 Gbps", GilbertElliott(kWire, 0.05, 0.5, 0.9, 0.01), 1538,
       GilbertElliottInWireTime(0.05, 0.5, 0.9, 0.01, 1), 400_gbps},
      {"burst, packet", Burst(kPacket, 1e-3, 7), 1538, BurstByPacket(1e-3, 7)},
      {"burst, wire time", Burst(kWire, 1e-3, 7), 1538, BurstInWireTime(1e-3, 7, 1)},
      {"burst, wire time, small packets", Burst(kWire, 1e-3, 7), 384,
       BurstInWireTime(1e-3, 7, 384 / ref)},
      {"bit errors, packet", BitError(kPacket, 1e-7), 1538, BitErrors(1e-7, 1538)},
      {"bit errors, wire time", BitError(kWire, 1e-7), 1538, BitErrors(1e-7, 1538)},
      {"bit errors, wire time, 400 Gbps", BitError(kWire, 1e-4), 84, BitErrors(1e-4, 84), 400_gbps},
  };
}

double Lost(const LossSpec& spec, const Case& c, uint64_t packets) {
  LossModel model(spec, Key(), 0, c.rate);
  BackToBack wire(c.rate);
  uint64_t lost = 0;
  for (uint64_t i = 0; i < packets; ++i) lost += wire.send(model, c.wire_bytes);
  return static_cast<double>(lost) / static_cast<double>(packets);
}

LossSpec Scaled(LossSpec spec, double factor) {
  spec.probability *= factor;
  spec.ge_p *= factor;
  spec.burst_rate *= factor;
  spec.bit_error_rate *= factor;
  return spec;
}

class LossRate : public ::testing::TestWithParam<Case> {};

TEST_P(LossRate, IsInsideItsInterval) {
  const Case& c = GetParam();
  SCOPED_TRACE(c.name);
  RecordProperty("seed", std::to_string(kSeed));
  ASSERT_TRUE(Validate(c.spec, c.rate));
  const uint64_t packets = Tries(10'000'000);
  const double deviation = std::sqrt(c.expected.variance / static_cast<double>(packets));
  EXPECT_NEAR(Lost(c.spec, c, packets), c.expected.loss, kInterval999 * deviation)
      << "seed " << kSeed;

  // The twin: as little wrong as ten standard deviations.
  double factor = 1.001;
  const auto expected = [&](double f) {
    return ExpectedLoss(Scaled(c.spec, f), c.wire_bytes, c.rate);
  };
  while (expected(factor) < c.expected.loss + 10 * deviation) factor *= 1.001;
  EXPECT_GT(Lost(Scaled(c.spec, factor), c, packets), c.expected.loss + kInterval999 * deviation)
      << "factor " << factor << ", seed " << kSeed;
}

TEST_P(LossRate, IsPredicted) {
  const Case& c = GetParam();
  EXPECT_NEAR(ExpectedLoss(c.spec, c.wire_bytes, c.rate), c.expected.loss, 1e-9 * c.expected.loss)
      << c.name;
}

INSTANTIATE_TEST_SUITE_P(, LossRate, ::testing::ValuesIn(Cases()), [](const auto& info) {
  std::string name;
  for (const char ch : std::string(info.param.name)) {
    if (std::isalnum(static_cast<unsigned char>(ch))) name += ch;
  }
  return name;
});

// --- Bit errors by size --------------------------------------------------------------------------

class BitErrorsBySize : public ::testing::TestWithParam<Keying> {};

TEST_P(BitErrorsBySize, FollowTheBitsOfEachFrame) {
  constexpr std::array<uint32_t, 4> kFrames{64, 576, 1518, 9000};
  constexpr double kRate = 1e-5;
  LossModel model(BitError(GetParam(), kRate), Key(), 0, 100_gbps);
  BackToBack wire(100_gbps);
  std::array<uint64_t, 4> lost{};
  const uint64_t each = Tries(10'000'000);
  for (uint64_t i = 0; i < each; ++i) {
    for (size_t size = 0; size < kFrames.size(); ++size) {
      lost[size] += wire.send(model, kFrames[size] + kPreambleAndGapBytes);
    }
  }
  for (size_t size = 0; size < kFrames.size(); ++size) {
    const auto interval = [&](double bytes) {
      const Moments m = BitErrors(kRate, bytes + kPreambleAndGapBytes);
      const double n = static_cast<double>(each);
      return std::fabs(static_cast<double>(lost[size]) - n * m.loss) / std::sqrt(n * m.variance);
    };
    EXPECT_LT(interval(kFrames[size]), kInterval999) << kFrames[size] << " B, seed " << kSeed;
    if (!kSanitized &&
        kFrames[size] < 5000) {  // were preamble and gap counted, or the FCS left out
      EXPECT_GT(interval(kFrames[size] + 20), kInterval999) << kFrames[size] << " B";
    }
    if (!kSanitized && kFrames[size] < 100) {
      EXPECT_GT(interval(kFrames[size] - 4), kInterval999) << kFrames[size] << " B";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, BitErrorsBySize, ::testing::Values(kPacket, kWire),
                         [](const auto& info) {
                           return info.param == kPacket ? "packet" : "wireTime";
                         });

// --- Lengths of bursts and gaps --------------------------------------------------------------

struct Lengths {
  std::vector<uint64_t> lost =
      std::vector<uint64_t>(100'000);  // runs of lost packets by length - 1
  std::vector<uint64_t> good = std::vector<uint64_t>(100'000);
};

Lengths Runs(const LossSpec& spec, uint64_t packets) {
  constexpr uint32_t kWireBytes = 1538;
  LossModel model(spec, Key(), 0, 100_gbps);
  BackToBack wire(100_gbps);
  Lengths lengths;
  bool last = wire.send(model, kWireBytes);
  bool first = true;  // its start was not seen
  uint64_t length = 1;
  for (uint64_t i = 1; i < packets; ++i, ++length) {
    const bool lost = wire.send(model, kWireBytes);
    if (lost == last) continue;
    if (!first) ++(last ? lengths.lost : lengths.good).at(length - 1);
    first = false;
    last = lost;
    length = 0;
  }
  return lengths;
}

std::vector<double> GeometricLaw(double p) {
  std::vector<double> law;
  for (double q = p; law.size() < 100'000 && q > 1e-12; q *= 1 - p) law.push_back(q);
  return law;
}

TEST(GilbertElliottLengths, AreGeometricByPacket) {
  constexpr double kP = 0.02;
  constexpr double kR = 0.25;
  const Lengths seen = Runs(GilbertElliott(kPacket, kP, kR), Tries(10'000'000));
  EXPECT_TRUE(ChiSquare(seen.lost, GeometricLaw(kR)).fits()) << "seed " << kSeed;
  EXPECT_TRUE(ChiSquare(seen.good, GeometricLaw(kP)).fits()) << "seed " << kSeed;
  EXPECT_FALSE(ChiSquare(seen.lost, GeometricLaw(kR * Twin(1.06))).fits());
  EXPECT_FALSE(ChiSquare(seen.good, GeometricLaw(kP * Twin(1.06))).fits());
}

// In wire time a gap has no memory either: every good packet leaves the state good, and the next
// is good if no bad time begins in it. A burst ends with the first packet that finds the state good
// and sees no bad time begin: a walk over (state at its start) until that happens.
std::vector<double> WireTimeBurstLaw(double p, double r) {
  const double mixing = std::exp(-(p + r));
  const double to_bad = p / (p + r) * (1 - mixing);
  const double to_good = r / (p + r) * (1 - mixing);
  const double good = std::exp(-p);
  double in_good = (1 - to_bad - good) / (1 - good);  // after a first lost packet
  double in_bad = to_bad / (1 - good);
  std::vector<double> law;
  while (in_good + in_bad > 1e-12) {
    law.push_back(in_good * good);
    const double next_good = in_good * (1 - to_bad - good) + in_bad * to_good;
    in_bad = in_good * to_bad + in_bad * (1 - to_good);
    in_good = next_good;
  }
  return law;
}

TEST(GilbertElliottLengths, FollowTheMarkovChainInWireTime) {
  constexpr double kP = 0.02;
  constexpr double kR = 0.25;
  const Lengths seen = Runs(GilbertElliott(kWire, kP, kR), Tries(10'000'000));
  EXPECT_TRUE(ChiSquare(seen.lost, WireTimeBurstLaw(kP, kR)).fits()) << "seed " << kSeed;
  EXPECT_TRUE(ChiSquare(seen.good, GeometricLaw(1 - std::exp(-kP))).fits()) << "seed " << kSeed;
  EXPECT_FALSE(ChiSquare(seen.lost, WireTimeBurstLaw(kP, kR * Twin(1.06))).fits());
  EXPECT_FALSE(ChiSquare(seen.good, GeometricLaw(1 - std::exp(-kP * Twin(1.06)))).fits());
}

TEST(BurstLengths, AreExactByPacket) {
  constexpr double kRate = 0.01;
  constexpr uint32_t kFrames = 7;
  const Lengths seen = Runs(Burst(kPacket, kRate, kFrames), Tries(10'000'000));
  std::vector<uint64_t> bursts(1000);  // n bursts touch with probability rate^(n-1) (1 - rate)
  for (size_t i = 0; i < seen.lost.size(); ++i) {
    if (seen.lost[i] == 0) continue;
    ASSERT_EQ((i + 1) % kFrames, 0u) << "a burst of " << i + 1 << " packets, seed " << kSeed;
    bursts[(i + 1) / kFrames - 1] += seen.lost[i];
  }
  EXPECT_TRUE(ChiSquare(bursts, GeometricLaw(1 - kRate)).fits()) << "seed " << kSeed;
  EXPECT_TRUE(ChiSquare(seen.good, GeometricLaw(kRate)).fits()) << "seed " << kSeed;
  EXPECT_FALSE(ChiSquare(seen.good, GeometricLaw(kRate * Twin(1.06))).fits());
}

}  // namespace
}  // namespace farspan::link
