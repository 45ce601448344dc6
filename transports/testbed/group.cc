#include "transports/testbed/group.h"

namespace farspan::testbed {

bool RankRun::progress() {
  if (finished()) return executor_.progress();  // its last sends are still under way
  if (!started_) {
    started_ = true;
    start_ = transport_.now();
    executor_.start(plan_, buffers_);
  }
  while (true) {
    if (!executor_.progress()) return false;
    if (!executor_.finished()) return true;
    ends_.push_back(transport_.now());
    if (ends_.size() == iterations_) return true;
    executor_.start(plan_, buffers_);
  }
}

}  // namespace farspan::testbed
