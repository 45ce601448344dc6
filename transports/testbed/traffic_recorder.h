// TrafficRecorder: what traffic counts, interval by interval of a network's virtual time.
//
// Its presence changes nothing else of a run. In a network with granularity a byte may be counted
// that much after it came. Threading: the scheduler's. Ownership: the scheduler must outlive it.
#pragma once

#include <functional>
#include <vector>

#include "emulator/sim/scheduler.h"
#include "transports/testbed/contender.h"

namespace farspan::testbed {

class TrafficRecorder final : private sim::Task {
 public:
  // Intervals begin now.
  TrafficRecorder(sim::Scheduler& scheduler, TimeNs interval, std::function<TrafficBytes()> total);
  ~TrafficRecorder() override { scheduler_.cancel(*this); }
  TrafficRecorder(const TrafficRecorder&) = delete;
  TrafficRecorder& operator=(const TrafficRecorder&) = delete;

  // Up to now; the last one may be shorter.
  std::vector<TrafficBytes> finish();

 private:
  void run(TimeNs now) override;
  void take();

  sim::Scheduler& scheduler_;
  const TimeNs interval_;
  const std::function<TrafficBytes()> total_;
  TrafficBytes before_;
  std::vector<TrafficBytes> intervals_;
};

}  // namespace farspan::testbed
