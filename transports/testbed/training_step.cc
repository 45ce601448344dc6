#include "transports/testbed/training_step.h"

#include <algorithm>

namespace farspan::testbed {

// Buckets become ready at equal intervals, so the all-reduces wait for them until the last (when
// they are quicker than that) or are never idle after the first.
double StepSeconds(const TrainingStep& step, uint64_t bucket_bytes, double all_reduce_s) {
  const double compute = ToSeconds(step.compute), backward = compute * 2 / 3;
  const auto buckets = static_cast<double>((step.gradient_bytes + bucket_bytes - 1) / bucket_bytes);
  const double first_ready = compute - backward + backward / buckets;
  return std::max(compute + all_reduce_s, first_ready + buckets * all_reduce_s);
}

}  // namespace farspan::testbed
