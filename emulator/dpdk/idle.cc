#include "emulator/dpdk/idle.h"

#include <rte_pause.h>
#include <sys/prctl.h>

#include <algorithm>
#include <ctime>

namespace farspan::dpdk {

void Idle::start() { prctl(PR_SET_TIMERSLACK, 1UL); }

void Idle::wait(TimeNs now, TimeNs deadline, ClockReader& clock) {
  if (spin_) {
    rte_pause();
    return;
  }
  const TimeNs poll = now - last_work_ < kBusy ? kPollBusy : kPollIdle;
  const TimeNs sleep = std::min(poll, deadline - now - oversleep_);
  if (sleep < kShortestSleep) {
    rte_pause();
    return;
  }
  const timespec time{.tv_sec = 0, .tv_nsec = sleep.ns};
  nanosleep(&time, nullptr);
  const TimeNs over = std::clamp(clock.now() - now - sleep, TimeNs{}, kOversleepMax);
  oversleep_ = TimeNs{(7 * oversleep_.ns + over.ns) / 8};
}

}  // namespace farspan::dpdk
