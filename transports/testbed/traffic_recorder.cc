#include "transports/testbed/traffic_recorder.h"

#include <utility>

namespace farspan::testbed {

TrafficRecorder::TrafficRecorder(sim::Scheduler& scheduler, TimeNs interval,
                                 std::function<TrafficBytes()> total)
    : scheduler_(scheduler), interval_(interval), total_(std::move(total)), before_(total_()) {
  scheduler_.set(*this, scheduler_.now() + interval_);
}

std::vector<TrafficBytes> TrafficRecorder::finish() {
  scheduler_.cancel(*this);
  take();
  while (!intervals_.empty() && intervals_.back() == TrafficBytes{}) intervals_.pop_back();
  return std::move(intervals_);
}

void TrafficRecorder::run(TimeNs now) {
  take();
  scheduler_.set(*this, now + interval_);
}

void TrafficRecorder::take() {
  const TrafficBytes total = total_();
  intervals_.push_back(total - before_);
  before_ = total;
}

}  // namespace farspan::testbed
