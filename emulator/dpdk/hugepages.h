// Hugepages reserved by the engine itself, given back on every way out.
//
// A small guardian process holds the reservation: when the pipe from the engine closes, whether by
// close(), exit, abort or SIGKILL, it lowers the kernel's page count by exactly what was added, and
// ends. Needs root. Call before EAL starts and before any thread does: it forks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "emulator/base/result.h"
#include "emulator/base/time.h"

namespace farspan::dpdk {

// Held by the one process on the machine that looks at what memory is free, and takes it: two at
// once would count on the same pages. An flock of the kernel's own page count, so nothing is left
// behind; where the kernel has no hugepages or no such locks, it holds nothing.
class MemoryLock {
 public:
  static constexpr TimeNs kPatience{60'000'000'000};

  // Waits while another process holds it; kMachine after `at_most`.
  static Result<MemoryLock> Take(TimeNs at_most = kPatience);

  ~MemoryLock();
  MemoryLock(MemoryLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  MemoryLock& operator=(MemoryLock&& other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }

 private:
  explicit MemoryLock(int file) : file_(file) {}

  int file_;
};

class HugepageReservation {
 public:
  // With a MemoryLock held. Adds `pages` of 2 MiB on `node` (-1: where the kernel likes). All or
  // none: kMachine if memory is short or too fragmented, with how much could be had.
  static Result<std::unique_ptr<HugepageReservation>> Take(uint64_t pages, int node = -1);

  // Gives back under the MemoryLock, which this process must not hold, and waits until it is done.
  ~HugepageReservation();
  HugepageReservation(const HugepageReservation&) = delete;
  HugepageReservation& operator=(const HugepageReservation&) = delete;

  uint64_t pages() const { return pages_; }

 private:
  HugepageReservation(uint64_t pages, int pipe, int guardian)
      : pages_(pages), pipe_(pipe), guardian_(guardian) {}

  uint64_t pages_;
  int pipe_;
  int guardian_;
};

}  // namespace farspan::dpdk
