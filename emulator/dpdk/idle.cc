#include "emulator/dpdk/idle.h"

#include <rte_pause.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <ctime>

namespace farspan::dpdk {

void Idle::start() { prctl(PR_SET_TIMERSLACK, 1UL); }

// An interface that went down leaves an error, which would ring for ever; reading it clears it.
void Idle::answer() {
  for (const pollfd& doorbell : doorbells_) {
    if ((doorbell.revents & POLLERR) == 0) continue;
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(doorbell.fd, SOL_SOCKET, SO_ERROR, &error, &size);
  }
}

void Idle::wait(TimeNs now, TimeNs deadline, ClockReader& clock) {
  if (spin_) {
    rte_pause();
    return;
  }
  const bool busy = announced_ ? now - work_before_ < kBurst : now - last_work_ < kBusy;
  const TimeNs sleep = std::min(busy ? kPollBusy : kPollIdle, deadline - now - oversleep_);
  if (sleep < kShortestSleep) {
    rte_pause();
    return;
  }
  const timespec time{.tv_sec = 0, .tv_nsec = sleep.ns};
  if (ppoll(doorbells_.data(), busy ? 0 : doorbells_.size(), &time, nullptr) > 0) {
    answer();
    return;
  }
  const TimeNs over = std::clamp(clock.now() - now - sleep, TimeNs{}, kOversleepMax);
  oversleep_ = TimeNs{(7 * oversleep_.ns + over.ns) / 8};
}

}  // namespace farspan::dpdk
