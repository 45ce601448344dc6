// LatencyHistogram: times from 0 ns to hours with a relative resolution of 1/16, counted by one
// thread, read by any.
//
// Log-linear buckets (as in G. Tene's HdrHistogram): exact below 16 ns, then 16 per octave.
// Counters are relaxed atomics of a single writer: an add is a plain load and store. A reader may
// see a count a few packets old; totals are sums of what it sees.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <span>

#include "emulator/base/time.h"

namespace farspan::dpdk {

class LatencyHistogram {
 public:
  static constexpr int kSubBuckets = 16;
  static constexpr int kBuckets = kSubBuckets * 41;  // up to 2^44 ns, 4.9 hours

  // Negative times are counted apart: for lateness they mean "early", which must never be.
  void add(TimeNs time, uint64_t times = 1) {
    if (time.ns < 0) {
      bump(negative_, times);
      return;
    }
    bump(buckets_[static_cast<size_t>(Bucket(time))], times);
    bump(sum_ns_, static_cast<uint64_t>(time.ns) * times);
    if (time.ns > max_ns_.load(std::memory_order_relaxed)) {
      max_ns_.store(time.ns, std::memory_order_relaxed);
    }
  }

  // now - then for each of `then`. Those of a burst mostly share a bucket: runs are added as one.
  void add_since(std::span<const TimeNs> then, TimeNs now) {
    int bucket = 0;
    uint64_t run = 0;
    uint64_t sum = 0;
    int64_t longest = max_ns_.load(std::memory_order_relaxed);
    for (const TimeNs instant : then) {
      const TimeNs time = now - instant;
      if (time.ns < 0) [[unlikely]] {
        bump(negative_, 1);
        continue;
      }
      if (const int next = Bucket(time); next != bucket) {
        bump(buckets_[static_cast<size_t>(bucket)], run);
        bucket = next;
        run = 0;
      }
      ++run;
      sum += static_cast<uint64_t>(time.ns);
      longest = std::max(longest, time.ns);
    }
    bump(buckets_[static_cast<size_t>(bucket)], run);
    bump(sum_ns_, sum);
    max_ns_.store(longest, std::memory_order_relaxed);
  }

  static constexpr int Bucket(TimeNs time) {
    const auto ns = static_cast<uint64_t>(time.ns);
    if (ns < kSubBuckets) return static_cast<int>(ns);
    const int octave = std::bit_width(ns) - 5;  // ns >> octave is in [16, 32)
    const int bucket = kSubBuckets * octave + static_cast<int>(ns >> octave);
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }
  // The largest time that falls in a bucket.
  static constexpr TimeNs UpperBound(int bucket) {
    if (bucket < kSubBuckets) return {bucket};
    const int octave = bucket / kSubBuckets - 1;
    return {((int64_t{bucket} % kSubBuckets + kSubBuckets + 1) << octave) - 1};
  }

  uint64_t bucket(int i) const {
    return buckets_[static_cast<size_t>(i)].load(std::memory_order_relaxed);
  }
  uint64_t negative() const { return negative_.load(std::memory_order_relaxed); }
  double sum_ns() const { return static_cast<double>(sum_ns_.load(std::memory_order_relaxed)); }
  TimeNs max() const { return {max_ns_.load(std::memory_order_relaxed)}; }
  uint64_t count() const {
    uint64_t total = 0;
    for (const auto& b : buckets_) total += b.load(std::memory_order_relaxed);
    return total;
  }
  // Upper bound of the bucket that holds the q-quantile, not above the maximum; 0 if empty.
  TimeNs quantile(double q) const;

 private:
  static void bump(std::atomic<uint64_t>& counter, uint64_t by) {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }

  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
  std::atomic<uint64_t> negative_{0};
  std::atomic<uint64_t> sum_ns_{0};
  std::atomic<int64_t> max_ns_{0};
};

}  // namespace farspan::dpdk
