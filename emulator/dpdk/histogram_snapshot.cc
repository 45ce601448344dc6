#include "emulator/dpdk/histogram_snapshot.h"

namespace farspan::dpdk {

control::HistogramSnapshot SnapshotOf(const LatencyHistogram& histogram) {
  constexpr int kStep = LatencyHistogram::kSubBuckets / 2;
  constexpr int kFirst = LatencyHistogram::Bucket({63});
  constexpr int kLast = LatencyHistogram::Bucket({(int64_t{1} << 34) - 1});
  static_assert(LatencyHistogram::UpperBound(kFirst) == TimeNs{63} &&
                (kLast - kFirst) % kStep == 0);
  control::HistogramSnapshot snapshot;
  uint64_t seen = histogram.negative();
  for (int i = 0; i < LatencyHistogram::kBuckets; ++i) {
    seen += histogram.bucket(i);
    if (i < kFirst || i > kLast || (i - kFirst) % kStep != 0) continue;
    snapshot.bounds.push_back(LatencyHistogram::UpperBound(i));
    snapshot.counts.push_back(seen);
  }
  snapshot.counts.push_back(seen);
  snapshot.sum_ns = histogram.sum_ns();
  snapshot.max = histogram.max();
  return snapshot;
}

}  // namespace farspan::dpdk
