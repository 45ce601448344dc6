// The clock of everything that runs on real networks: CLOCK_MONOTONIC.
#pragma once

#include <ctime>

#include "emulator/base/time.h"

namespace farspan {

inline TimeNs MonotonicNow() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {t.tv_sec * 1'000'000'000 + t.tv_nsec};
}

}  // namespace farspan
