// Idle: what a polling lcore does when it found nothing to do.
//
// Spinning needs a core of its own: three pollers on two cores cost every message a scheduler tick
// of 4 ms. Otherwise the lcore sleeps, at most until the next deadline less what the machine
// usually oversleeps, and never longer than a poll interval that is short while there is traffic.
// Threads: the lcore's own.
#pragma once

#include "emulator/base/time.h"
#include "emulator/dpdk/clock.h"

namespace farspan::dpdk {

class Idle {
 public:
  explicit Idle(bool spin) : spin_(spin) {}

  // On the lcore, before its first round: kernel timers of this thread may fire at once.
  void start();

  void worked(TimeNs now) { last_work_ = now; }
  // Nothing was to be done at `now`; `deadline` is when there will be.
  void wait(TimeNs now, TimeNs deadline, ClockReader& clock);

 private:
  static constexpr TimeNs kBusy{5'000'000};   // traffic is recent
  static constexpr TimeNs kPollBusy{20'000};  // then sleep no longer than this
  static constexpr TimeNs kPollIdle{500'000};
  static constexpr TimeNs kShortestSleep{5'000};  // below it, look again at once
  static constexpr TimeNs kOversleepMax{200'000};

  const bool spin_;
  TimeNs last_work_{};
  TimeNs oversleep_{50'000};  // moving estimate
};

}  // namespace farspan::dpdk
