#include "emulator/dpdk/spin_gaps.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <thread>

#include "emulator/dpdk/clock.h"

namespace farspan::dpdk {
namespace {

// Octave from the highest bit, quarter from the next two; values below 4 ns are exact.
int BucketOf(int64_t ns) {
  if (ns < 4) return static_cast<int>(std::max<int64_t>(ns, 0));
  const int octave = std::bit_width(static_cast<uint64_t>(ns)) - 1;
  const auto quarter = static_cast<int>((ns >> (octave - 2)) & 3);
  return std::min(4 * (octave - 1) + quarter, SpinGaps::kBuckets - 1);
}

}  // namespace

TimeNs SpinGaps::bound(int bucket) {
  const int next = bucket + 1;
  if (next < 4) return {next};
  return {int64_t{4 + next % 4} << (next / 4 - 1)};
}

void SpinGaps::add(TimeNs gap) {
  Bucket& bucket = buckets_[BucketOf(gap.ns)];
  ++bucket.count;
  bucket.sum_ns += gap.ns;
  ++count_;
  total_ += gap;
  max_ = std::max(max_, gap);
  if (gap > kLongGap) long_total_ += gap;
}

double SpinGaps::share_in_long_gaps() const {
  return total_.ns == 0 ? 0 : ToSeconds(long_total_) / ToSeconds(total_);
}

TimeNs SpinGaps::quantile(double q) const {
  const double wanted = q * static_cast<double>(count_);
  double seen = 0;
  for (int i = 0; i < kBuckets; ++i) {
    seen += static_cast<double>(buckets_[i].count);
    if (seen >= wanted && seen > 0) return std::min(bound(i), max_);
  }
  return max_;
}

// An instant that falls into a gap of length g waits for its end, uniformly on (0, g]: it waits
// longer than x with probability (sum over gaps of max(0, g - x)) / total.
TimeNs SpinGaps::expected_lateness(double q) const {
  const double allowed = (1 - q) * static_cast<double>(total_.ns);
  double count_above = 0;
  double sum_above = 0;
  for (int i = kBuckets - 1; i >= 0; --i) {
    count_above += static_cast<double>(buckets_[i].count);
    sum_above += static_cast<double>(buckets_[i].sum_ns);
    const auto lower = static_cast<double>(i == 0 ? 0 : bound(i - 1).ns);
    if (sum_above - count_above * lower > allowed) return std::min(bound(i), max_);
  }
  return {0};
}

SpinGaps MeasureSpinGaps(TimeNs duration, double tick_hz) {
  SpinGaps gaps;
  const double ns_per_tick = 1e9 / tick_hz;
  const uint64_t start = ReadTicks();
  const uint64_t end = start + static_cast<uint64_t>(ToSeconds(duration) * tick_hz);
  for (uint64_t last = start; last < end;) {
    const uint64_t now = ReadTicks();
    gaps.add({std::lrint(static_cast<double>(now - last) * ns_per_tick)});
    last = now;
  }
  return gaps;
}

Result<SpinGaps> MeasureSpinGapsOn(int cpu, TimeNs duration, double tick_hz) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  bool pinned = false;
  SpinGaps gaps;
  std::thread([&] {
    pinned = pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0;
    if (pinned) gaps = MeasureSpinGaps(duration, tick_hz);
  }).join();
  if (!pinned) {
    return Fail(ErrorCode::kMachine, "CPU " + std::to_string(cpu) +
                                         " is not available to this process: choose one that "
                                         "taskset -p $$ shows");
  }
  return gaps;
}

}  // namespace farspan::dpdk
