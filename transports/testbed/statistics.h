// Statistics of independent samples: what may be said of their distribution, and how surely.
//
// Mean with Student's t; quantiles with the distribution-free interval of order statistics
// (Conover, Practical Nonparametric Statistics, 3.2). A quantile that too few samples stand for is
// not given: p99 needs 1,000, p99.9 needs 10,000, the median 10. All intervals hold 95 %.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace farspan::testbed {

struct Estimate {
  double value = 0;
  double low = 0;
  double high = 0;
};

struct Summary {
  uint64_t samples = 0;
  double mean = 0;
  std::optional<Estimate> mean_interval;  // needs 2 samples
  std::optional<Estimate> p50, p99, p999;
};

Summary Summarise(std::vector<double> samples);

// The q-quantile, none where fewer than `needed` samples stand for it. `sorted` ascends.
std::optional<Estimate> Quantile(std::span<const double> sorted, double q, size_t needed);

}  // namespace farspan::testbed
