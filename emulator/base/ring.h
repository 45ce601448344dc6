// SpscRing: bounded single-producer single-consumer queue between two threads.
//
// Capacity is a power of two, fixed at construction; push and pop never allocate or block. Indices
// are cached on either side, so that an empty or full ring is not polled through the other core's
// cache line (as in DPDK's rte_ring and Lamport's queue with caching).
// T must be trivially copyable.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <type_traits>

#include "emulator/base/check.h"

namespace farspan {

template <typename T>
class SpscRing {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit SpscRing(size_t capacity) : slots_(new T[capacity]), mask_(capacity - 1) {
    FARSPAN_CHECK(std::has_single_bit(capacity));
  }

  // Producer only. False when full: the value is not taken.
  bool push(const T& value) {
    const size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ > mask_) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail - head_seen_ > mask_) return false;
    }
    slots_[tail & mask_] = value;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  // Consumer only. False when empty.
  bool pop(T& value) {
    const size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head == tail_seen_) return false;
    }
    value = slots_[head & mask_];
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

 private:
  std::unique_ptr<T[]> slots_;
  const size_t mask_;
  alignas(64) std::atomic<size_t> head_{0};
  size_t tail_seen_ = 0;  // consumer's
  alignas(64) std::atomic<size_t> tail_{0};
  size_t head_seen_ = 0;  // producer's
};

}  // namespace farspan
