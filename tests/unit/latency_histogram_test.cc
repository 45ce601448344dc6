// LatencyHistogram: its buckets tile time, its quantiles are those of the values, rounded up.
#include "emulator/dpdk/latency_histogram.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "emulator/dpdk/histogram_snapshot.h"

namespace farspan::dpdk {
namespace {

using Histogram = LatencyHistogram;
constexpr int64_t kRange = int64_t{1} << 44;

TEST(LatencyHistogram, BucketsTileTime) {
  EXPECT_EQ(Histogram::UpperBound(0), TimeNs{0});
  EXPECT_EQ(Histogram::UpperBound(Histogram::kBuckets - 1), TimeNs{kRange - 1});
  for (int i = 1; i < Histogram::kBuckets; ++i) {
    const TimeNs below = Histogram::UpperBound(i - 1);
    const TimeNs upper = Histogram::UpperBound(i);
    ASSERT_LT(below, upper);
    ASSERT_EQ(Histogram::Bucket(upper), i);
    ASSERT_EQ(Histogram::Bucket(below + TimeNs{1}), i);
    ASSERT_LE(16 * (upper.ns - below.ns - 1), below.ns + 1);  // at most 1/16 above the lowest
  }
}

// Spread over the octaves, as latencies are, not over the numbers.
rc::Gen<int64_t> AnyTime() {
  return rc::gen::map(rc::gen::pair(rc::gen::inRange(0, 45), rc::gen::inRange(int64_t{0}, kRange)),
                      [](const auto& p) { return p.second >> p.first; });
}

RC_GTEST_PROP(LatencyHistogramProperty, QuantilesAreRoundedUpByAtMostASixteenth, ()) {
  const auto times = *rc::gen::nonEmpty(rc::gen::container<std::vector<int64_t>>(AnyTime()));
  const double q = *rc::gen::element(0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0);
  Histogram h;
  for (const int64_t ns : times) h.add({ns});
  std::vector<int64_t> sorted = times;
  std::sort(sorted.begin(), sorted.end());
  const double rank = std::ceil(q * static_cast<double>(sorted.size()));
  const int64_t exact = sorted[static_cast<size_t>(std::max(rank, 1.0)) - 1];
  RC_ASSERT(h.quantile(q).ns >= exact);
  RC_ASSERT(h.quantile(q).ns <= exact + exact / 16);
  RC_ASSERT(h.quantile(q) <= h.max());
  RC_ASSERT(h.max().ns == sorted.back());
  RC_ASSERT(h.count() == times.size());
  RC_ASSERT(h.sum_ns() == static_cast<double>(std::accumulate(times.begin(), times.end(), 0ll)));
}

RC_GTEST_PROP(LatencyHistogramProperty, ABurstCountsAsItsPacketsOneByOne, ()) {
  const auto times = *rc::gen::container<std::vector<int64_t>>(
      rc::gen::oneOf(AnyTime(), rc::gen::inRange<int64_t>(-3, 40)));
  const TimeNs now{kRange};
  Histogram one_by_one;
  Histogram burst;
  std::vector<TimeNs> then;
  for (const int64_t ns : times) {
    one_by_one.add({ns});
    then.push_back(now - TimeNs{ns});
  }
  burst.add_since(then, now);
  for (int i = 0; i < Histogram::kBuckets; ++i) RC_ASSERT(burst.bucket(i) == one_by_one.bucket(i));
  RC_ASSERT(burst.negative() == one_by_one.negative());
  RC_ASSERT(burst.sum_ns() == one_by_one.sum_ns());
  RC_ASSERT(burst.max() == one_by_one.max());
}

RC_GTEST_PROP(LatencyHistogramProperty, SnapshotsCountExactly, ()) {
  const auto times = *rc::gen::container<std::vector<int64_t>>(AnyTime());
  const auto early = *rc::gen::inRange(0, 3);
  Histogram h;
  for (const int64_t ns : times) h.add({ns});
  if (early != 0) h.add({-5}, static_cast<uint64_t>(early));
  const control::HistogramSnapshot snapshot = SnapshotOf(h);
  RC_ASSERT(snapshot.counts.size() == snapshot.bounds.size() + 1);
  RC_ASSERT(std::is_sorted(snapshot.bounds.begin(), snapshot.bounds.end()));
  for (size_t i = 0; i < snapshot.bounds.size(); ++i) {
    const int64_t bound = snapshot.bounds[i].ns;
    const auto within =
        std::count_if(times.begin(), times.end(), [&](auto ns) { return ns <= bound; });
    RC_ASSERT(snapshot.counts[i] == static_cast<uint64_t>(within + early));
  }
  RC_ASSERT(snapshot.counts.back() == times.size() + static_cast<uint64_t>(early));
  RC_ASSERT(snapshot.max == h.max());
  RC_ASSERT(snapshot.sum_ns == h.sum_ns());
}

TEST(LatencyHistogram, SnapshotBoundsAreFewAndFineEnough) {
  const Histogram h;
  const std::vector<TimeNs> bounds = SnapshotOf(h).bounds;
  EXPECT_EQ(bounds.front(), TimeNs{63});
  EXPECT_EQ(bounds.back(), TimeNs{(int64_t{1} << 34) - 1});
  EXPECT_LE(bounds.size(), 64u);
  for (size_t i = 1; i < bounds.size(); ++i) {
    EXPECT_LE(bounds[i].ns + 1, (bounds[i - 1].ns + 1) * 3 / 2);
  }
}

TEST(LatencyHistogram, NegativeTimesAreCountedApart) {
  Histogram h;
  h.add({-1}, 3);
  EXPECT_EQ(h.negative(), 3u);
  EXPECT_EQ(h.count(), 0u);
  EXPECT_EQ(h.quantile(0.5), TimeNs{0});
  h.add({0});
  EXPECT_EQ(h.negative(), 3u);
  EXPECT_EQ(h.count(), 1u);
}

TEST(LatencyHistogram, BeyondItsRangeTheMaximumStands) {
  Histogram h;
  h.add({1'000}, 99);
  h.add({kRange * 2});
  EXPECT_EQ(h.quantile(1.0), TimeNs{kRange * 2});
  EXPECT_EQ(h.max(), TimeNs{kRange * 2});
  EXPECT_EQ(h.quantile(0.99), TimeNs{1'023});
}

}  // namespace
}  // namespace farspan::dpdk
