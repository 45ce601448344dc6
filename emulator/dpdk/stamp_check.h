// Whether a port's receive timestamps can be believed: its clock at the start, every stamp later.
//
// A stamp is plausible if the packet came after the port's ring was last found empty and before it
// was read, give or take the stated error of the mapping (ClockQuality). What is not is replaced by
// the software's time; a port with more than one such in a hundred is not believed any more. A
// thousand without make it proven: the clock that is read is the clock that stamps.
// Threads: judge() on the receiving lcore; given_up() and proven() from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/dpdk/clock.h"

namespace farspan::dpdk {

// Two readings of a device's clock, some milliseconds apart: it runs, at a rate that clocks have.
inline Result<void> CheckDeviceClock(const ClockSample& first, const ClockSample& second) {
  constexpr double kSlowestHz = 1e6;
  constexpr double kFastestHz = 1e11;
  if (second.ticks <= first.ticks || second.ns <= first.ns) {
    return Fail(ErrorCode::kMachine, "the device's clock does not run");
  }
  const double hz = static_cast<double>(second.ticks - first.ticks) * 1e9 /
                    static_cast<double>(second.ns - first.ns);
  if (hz < kSlowestHz || hz > kFastestHz) {
    return Fail(ErrorCode::kMachine, "the device's clock runs at " + std::to_string(hz) + " Hz");
  }
  return {};
}

// How far a mapped stamp may be from the truth.
inline TimeNs StampError(const ClockQuality& quality) {
  const double offset = quality.offset_ns < 0 ? -quality.offset_ns : quality.offset_ns;
  return {static_cast<int64_t>(offset + quality.sample_uncertainty_ns) + 1};
}

class StampCheck {
 public:
  bool judge(TimeNs stamp, TimeNs ring_empty, TimeNs read, TimeNs error) {
    const bool plausible = stamp >= ring_empty - error && stamp <= read + error;
    if (!plausible) ++implausible_;
    if (++judged_ == kWindow) {
      const bool believed = implausible_ <= kWindow / 100;
      proven_.store(believed, std::memory_order_relaxed);
      if (!believed) given_up_.store(true, std::memory_order_relaxed);
      judged_ = 0;
      implausible_ = 0;
    }
    return plausible;
  }
  bool given_up() const { return given_up_.load(std::memory_order_relaxed); }
  bool proven() const { return proven_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kWindow = 1'000;

  uint32_t judged_ = 0;
  uint32_t implausible_ = 0;
  std::atomic<bool> given_up_{false};
  std::atomic<bool> proven_{false};
};

}  // namespace farspan::dpdk
