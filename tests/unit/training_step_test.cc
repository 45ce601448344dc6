// The step of training: closed form against a walk over the buckets, and what it must lie between.
#include "transports/testbed/training_step.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace farspan::testbed {
namespace {

// Bucket by bucket. `waits`: for the one before it; a twin whose buckets do not is another model.
double Walk(const TrainingStep& step, uint64_t bucket_bytes, double all_reduce_s, bool waits) {
  const double compute = ToSeconds(step.compute);
  const uint64_t buckets = (step.gradient_bytes + bucket_bytes - 1) / bucket_bytes;
  double end = 0;
  for (uint64_t i = 1; i <= buckets; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(buckets);
    const double ready = compute / 3 + compute * 2 / 3 * share;
    end = (waits ? std::max(ready, end) : ready) + all_reduce_s;
  }
  return std::max(end, compute);
}

TEST(TrainingStep, IsWhatAWalkOverTheBucketsGives) {
  bool differs = false;
  for (const uint64_t bucket : {1u << 20, 25u << 20, 128u << 20, 999u << 20}) {
    for (const double all_reduce_s : {1e-5, 1e-3, 0.0125, 0.05, 0.3, 4.0}) {
      for (const TrainingStep& step : {TrainingStep{}, TrainingStep{{150'000'000}, 700'000'000}}) {
        const double walked = Walk(step, bucket, all_reduce_s, true);
        EXPECT_NEAR(StepSeconds(step, bucket, all_reduce_s), walked, 1e-9 * walked);
        differs = differs || Walk(step, bucket, all_reduce_s, false) < 0.9 * walked;
      }
    }
  }
  EXPECT_TRUE(differs);
}

// 1 s of computation, 10 buckets: ready at 0.4 s, 0.4667 s, … 1 s.
TEST(TrainingStep, ByHand) {
  const TrainingStep step{{1'000'000'000}, 1'000};
  EXPECT_NEAR(StepSeconds(step, 100, 0.05), 1.05, 1e-12);  // quicker than they come: the last alone
  EXPECT_NEAR(StepSeconds(step, 100, 0.2), 0.4 + 10 * 0.2, 1e-12);
  EXPECT_NEAR(StepSeconds(step, 1'000, 0.5), 1.5, 1e-12);  // one bucket hides nothing
  EXPECT_NEAR(StepSeconds(step, 101, 0.2), 0.4 + 10 * 0.2, 1e-12);
  EXPECT_NEAR(StepSeconds(step, 99, 0.2), 1.0 / 3 + 2.0 / 33 + 11 * 0.2, 1e-12);
}

}  // namespace
}  // namespace farspan::testbed
