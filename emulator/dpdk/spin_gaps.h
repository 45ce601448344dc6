// The machine's own gaps: how long a thread that does nothing but read the counter is kept from it.
//
// Interrupts, the hypervisor, other threads and SMIs stop any loop. No software on the machine can
// be more punctual than such a loop, so the certificate puts these figures, taken on the engine's
// own core just before and just after a run, beside the engine's lateness.
//
// A gap is the time between two consecutive readings. Quantiles over gaps count each pass of the
// loop once; expected_lateness() weighs by time instead: it is how late a perfect engine on this
// core would have handed over packets due at random instants, and is what the engine's own
// lateness compares with.
// Threads: the measurement runs on the calling thread and spins for the whole duration.
#pragma once

#include <array>
#include <cstdint>

#include "emulator/base/result.h"
#include "emulator/base/time.h"

namespace farspan::dpdk {

class SpinGaps {
 public:
  static constexpr TimeNs kLongGap{1'000};

  void add(TimeNs gap);

  uint64_t count() const { return count_; }
  TimeNs total() const { return total_; }
  TimeNs max() const { return max_; }
  double share_in_long_gaps() const;  // of time, in gaps above kLongGap

  // Upper bound of the bucket that holds the q-quantile of gaps; buckets are 1/4 octave wide.
  TimeNs quantile(double q) const;
  // Smallest bucket bound that the wait of a random instant exceeds with probability <= 1 - q.
  TimeNs expected_lateness(double q) const;

  // Bucket i holds gaps in [bound(i - 1), bound(i)), the first from 0.
  static constexpr int kBuckets = 4 * 40;
  static TimeNs bound(int bucket);
  uint64_t bucket_count(int bucket) const { return buckets_[bucket].count; }

 private:
  struct Bucket {
    uint64_t count = 0;
    int64_t sum_ns = 0;
  };
  std::array<Bucket, kBuckets> buckets_{};
  uint64_t count_ = 0;
  TimeNs total_{};
  TimeNs max_{};
  TimeNs long_total_{};
};

// On the calling thread, wherever it is pinned: an lcore measures its own core. `tick_hz` from
// ClockQuality.
SpinGaps MeasureSpinGaps(TimeNs duration, double tick_hz);

// On a thread pinned to `cpu` for the purpose; kMachine if it cannot be pinned there.
Result<SpinGaps> MeasureSpinGapsOn(int cpu, TimeNs duration, double tick_hz);

}  // namespace farspan::dpdk
