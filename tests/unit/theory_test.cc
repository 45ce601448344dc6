// The closed forms against the figures of the papers they come from and against sampling.
#include "transports/testbed/theory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "emulator/base/distributions.h"

namespace farspan::testbed {
namespace {

// 128 MiB in datagrams of 4096 + 98 B at 400 Gb/s over 25 ms of round trip.
MessageOnLink Example(double loss) {
  return {.datagrams = 32'768, .datagram_s = 4194 * 8 / 400e9, .rtt_s = 25e-3, .loss = loss};
}

TEST(Theory, LosslessBoundsOfTheRunningExample) {
  EXPECT_NEAR(Example(0).injection_s(), 2.75e-3, 0.005e-3);
  EXPECT_NEAR(LosslessReceiver(Example(0)), 15.25e-3, 0.005e-3);
  EXPECT_NEAR(LosslessSender(Example(0)), 27.75e-3, 0.005e-3);
  EXPECT_NEAR(SelectiveRepeatMean(Example(0)), LosslessReceiver(Example(0)), 1e-9);
  EXPECT_NEAR(GoBackNMean(Example(0)), LosslessSender(Example(0)), 1e-12);
}

struct Published {
  double loss, mean, p999;  // factors of the sender's bound
};

TEST(Theory, SelectiveRepeatAgreesWithThePublishedFactors) {
  for (const auto& [loss, mean, p999] :
       {Published{1e-6, 1.03, 1.90}, {1e-5, 1.24, 1.90}, {1e-4, 1.84, 1.90}, {1e-3, 1.93, 2.80}}) {
    const MessageOnLink message = Example(loss);
    const double bound = LosslessSender(message);
    const double back = message.rtt_s / 2;
    EXPECT_NEAR((SelectiveRepeatMean(message) + back) / bound, mean, 0.01) << loss;
    EXPECT_NEAR((SelectiveRepeatQuantile(message, 0.999) + back) / bound, p999, 0.01) << loss;
  }
}

// An independent path to the same numbers: draw how often each datagram fails, take the last.
double SampledMean(const MessageOnLink& message, int samples) {
  const Geometric failures_before_success(1 - message.loss);
  double sum = 0;
  uint64_t draw = 0;
  for (int s = 0; s < samples; ++s) {
    double last = 0;
    for (uint64_t i = 1; i <= message.datagrams; ++i) {
      const uint64_t word = Draw({7}, RandomPurpose::kTest, draw++).lo;
      const double sent = static_cast<double>(i) * message.datagram_s;
      last =
          std::max(last, sent + message.rtt_s * static_cast<double>(failures_before_success(word)));
    }
    sum += last + message.rtt_s / 2;
  }
  return sum / samples;
}

TEST(Theory, SelectiveRepeatAgreesWithSampling) {
  // Shorter and longer than a round trip; many rounds.
  for (const MessageOnLink& message :
       {MessageOnLink{200, 1e-5, 10e-3, 0.01}, MessageOnLink{2000, 1e-5, 3e-3, 0.02},
        MessageOnLink{50, 1e-4, 20e-3, 0.3}}) {
    const double mean = SelectiveRepeatMean(message);
    EXPECT_NEAR(SampledMean(message, 2000), mean, 0.03 * mean);
    // The twin: a quarter of the loss is another figure.
    MessageOnLink less = message;
    less.loss /= 4;
    EXPECT_GT(std::abs(SelectiveRepeatMean(less) - mean), 0.03 * mean);
  }
}

TEST(Theory, GoBackNPaysARoundTripPerFailure) {
  const MessageOnLink message{.datagrams = 1000, .datagram_s = 1e-6, .rtt_s = 1e-2, .loss = 0.5};
  EXPECT_NEAR(GoBackNMean(message), 1e-3 + 1e-2 * 1001, 1e-9);
}

TEST(Theory, BlockFailureIsTheBinomialTail) {
  EXPECT_NEAR(BlockFailure(1, 0, 0.1), 0.1, 1e-12);
  EXPECT_NEAR(BlockFailure(1, 1, 0.1), 0.01, 1e-12);
  EXPECT_NEAR(BlockFailure(2, 1, 0.1), 3 * 0.01 * 0.9 + 0.001, 1e-12);
  EXPECT_EQ(BlockFailure(128, 5, 0), 0);
  double all = std::pow(0.8, 10);
  EXPECT_NEAR(BlockFailure(10, 0, 0.2), 1 - all, 1e-12);
}

TEST(Theory, ParityOfTheDesign) {
  // "128+5 is good to 1e-3, 128+10 to 1e-2": blocks that fall back at most 1 in 10,000.
  EXPECT_LE(BlockFailure(128, 5, 1e-3), 1e-4);
  EXPECT_LE(BlockFailure(128, 10, 1e-2), 1e-4);
  EXPECT_GT(BlockFailure(128, 5, 1e-2), 1e-4);
  EXPECT_EQ(ParityFor(128, 0, 1e-4, 32), 0);
  EXPECT_EQ(ParityFor(128, 0.9, 1e-4, 32), 33);
  for (const double loss : {1e-6, 1e-5, 1e-4, 1e-3, 1e-2}) {
    const int parity = ParityFor(128, loss, 1e-6, 64);
    EXPECT_LE(BlockFailure(128, parity, loss), 1e-6);
    EXPECT_GT(BlockFailure(128, parity - 1, loss), 1e-6);
  }
}

struct CubicRow {
  double rtt_s, loss, window;
};

// RFC 9438, tables 1 and 2.
TEST(Theory, CubicsWindowIsThePublishedOne) {
  for (const auto& [rtt_s, loss, window] : {CubicRow{0.1, 1e-4, 187},
                                            {0.1, 1e-5, 1054},
                                            {0.1, 1e-8, 187'400},
                                            {0.01, 1e-7, 5926},
                                            {0.01, 1e-3, 38}}) {
    EXPECT_NEAR(CubicWindow(rtt_s, loss), window, 0.02 * window) << rtt_s << " " << loss;
  }
}

}  // namespace
}  // namespace farspan::testbed
