#include "emulator/dpdk/latency_histogram.h"

#include <algorithm>
#include <cmath>

namespace farspan::dpdk {

TimeNs LatencyHistogram::quantile(double q) const {
  const auto rank = static_cast<uint64_t>(std::ceil(q * static_cast<double>(count())));
  uint64_t seen = 0;
  for (int i = 0; i < kBuckets - 1; ++i) {
    seen += bucket(i);
    if (seen >= rank && seen != 0) return std::min(UpperBound(i), max());
  }
  return max();
}

}  // namespace farspan::dpdk
