// A synthetic training problem over the testbed: logistic regression by gradient descent, the
// gradients of four ranks in two sites summed at every step by a hierarchical all-reduce over Span
// in virtual time.
//
// The sites' data disagree: their labels come from two different weights, so that at the best
// common weights each site still has a gradient, which the other's cancels. That is where
// quantisation without memory comes to a stop: while both gradients round to opposite codes their
// sum is zero, however far the weights are from the best. Features have unlike scales, so that
// small gradients share a group with large ones. Everything is drawn from the seed.
#pragma once

#include <cstdint>
#include <vector>

#include "transports/testbed/quantised.h"

namespace farspan::test {

enum class Feedback : uint8_t { kNone, kFull, kBackwards };  // kBackwards: with the wrong sign

struct TrainingOptions {
  testbed::Compression compression = testbed::Compression::kNone;
  Feedback feedback = Feedback::kNone;
  uint32_t sites = 2;
  uint32_t steps = 400;
  uint64_t seed = 1;
};

struct Training {
  std::vector<double> losses;  // of all ranks' data before each step, and after the last
  uint64_t wan_bytes = 0;      // of a step, given by one site to the others
};

Training Train(const TrainingOptions& options);

}  // namespace farspan::test
