// Idle: what a polling lcore does when it found nothing to do.
//
// Spinning needs a core of its own: three pollers on two cores cost every message a scheduler tick
// of 4 ms. Otherwise the lcore sleeps, at most until the next deadline less what the machine
// usually oversleeps, and never longer than a poll interval. While packets follow each other
// closely that is short, so that one wake-up serves several; else a port's doorbell ends the sleep.
// Threads: the lcore's own.
#pragma once

#include <poll.h>

#include <vector>

#include "emulator/base/time.h"
#include "emulator/dpdk/clock.h"

namespace farspan::dpdk {

class Idle {
 public:
  explicit Idle(bool spin) : spin_(spin) {}

  // `fd` is readable while there is work.
  void listen(int fd) { doorbells_.push_back({.fd = fd, .events = POLLIN, .revents = 0}); }
  // Whether all work is announced by a doorbell or a deadline.
  void all_announced(bool all) { announced_ = all; }

  // On the lcore, before its first round: kernel timers of this thread may fire at once.
  void start();
  // Doorbells are not answered any more.
  void stop_listening() { doorbells_.clear(); }

  void worked(TimeNs now) {
    work_before_ = last_work_;
    last_work_ = now;
  }
  // Nothing was to be done at `now`; `deadline` is when there will be.
  void wait(TimeNs now, TimeNs deadline, ClockReader& clock);

 private:
  static constexpr TimeNs kBusy{5'000'000};   // work so recent may be followed by more
  static constexpr TimeNs kBurst{100'000};    // two pieces of it within this are a burst
  static constexpr TimeNs kPollBusy{20'000};  // then sleep no longer than this
  static constexpr TimeNs kPollIdle{500'000};
  static constexpr TimeNs kShortestSleep{5'000};  // below it, look again at once
  static constexpr TimeNs kOversleepMax{200'000};

  void answer();

  const bool spin_;
  std::vector<pollfd> doorbells_;
  bool announced_ = false;
  TimeNs last_work_{};
  TimeNs work_before_{};
  TimeNs oversleep_{50'000};  // moving estimate
};

}  // namespace farspan::dpdk
