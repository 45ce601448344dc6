// Hugepages reserved by the engine itself, given back on every way out.
//
// A small guardian process holds the reservation: when the pipe from the engine closes, whether by
// close(), exit, abort or SIGKILL, it lowers the kernel's page count by exactly what was added, and
// ends. Needs root. Call before EAL starts and before any thread does: it forks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "emulator/base/result.h"

namespace farspan::dpdk {

class HugepageReservation {
 public:
  // Adds `pages` of 2 MiB on `node` (-1: where the kernel likes). All or none: kMachine if memory
  // is short or too fragmented, with how much could be had.
  static Result<std::unique_ptr<HugepageReservation>> Take(uint64_t pages, int node = -1);

  ~HugepageReservation();  // gives back, and waits until it is done
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
