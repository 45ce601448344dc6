// ByteRing: bounded single-producer single-consumer queue of byte records of any length.
//
// The capacity is a power of two, fixed at construction; push never allocates or blocks, pop only
// grows its argument. A record takes its length and 4 bytes, and may wrap around the end. Indices
// are cached on either side, as in base/ring.h.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "emulator/base/check.h"

namespace farspan::dpdk {

class ByteRing {
 public:
  explicit ByteRing(size_t capacity) : bytes_(new uint8_t[capacity]), mask_(capacity - 1) {
    FARSPAN_CHECK(std::has_single_bit(capacity));
  }

  // Producer only: one record of both parts. False when it does not fit: nothing is taken.
  bool push(std::span<const uint8_t> first, std::span<const uint8_t> second) {
    const auto length = static_cast<uint32_t>(first.size() + second.size());
    const size_t tail = tail_.load(std::memory_order_relaxed);
    const size_t end = tail + sizeof length + length;
    if (end - head_seen_ > mask_ + 1) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (end - head_seen_ > mask_ + 1) return false;
    }
    copy_in(tail, {reinterpret_cast<const uint8_t*>(&length), sizeof length});
    copy_in(tail + sizeof length, first);
    copy_in(tail + sizeof length + first.size(), second);
    tail_.store(end, std::memory_order_release);
    return true;
  }

  // Consumer only. False when empty.
  bool pop(std::vector<uint8_t>& record) {
    const size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head == tail_seen_) return false;
    }
    uint32_t length = 0;
    copy_out(head, {reinterpret_cast<uint8_t*>(&length), sizeof length});
    record.resize(length);
    copy_out(head + sizeof length, record);
    head_.store(head + sizeof length + length, std::memory_order_release);
    return true;
  }

 private:
  void copy_in(size_t index, std::span<const uint8_t> from) {
    const size_t at = index & mask_;
    const size_t until_end = std::min(from.size(), mask_ + 1 - at);
    std::copy_n(from.data(), until_end, &bytes_[at]);
    std::copy_n(from.data() + until_end, from.size() - until_end, &bytes_[0]);
  }
  void copy_out(size_t index, std::span<uint8_t> to) const {
    const size_t at = index & mask_;
    const size_t until_end = std::min(to.size(), mask_ + 1 - at);
    std::copy_n(&bytes_[at], until_end, to.data());
    std::copy_n(&bytes_[0], to.size() - until_end, to.data() + until_end);
  }

  std::unique_ptr<uint8_t[]> bytes_;
  const size_t mask_;
  alignas(64) std::atomic<size_t> head_{0};
  size_t tail_seen_ = 0;  // consumer's
  alignas(64) std::atomic<size_t> tail_{0};
  size_t head_seen_ = 0;  // producer's
};

}  // namespace farspan::dpdk
