#include "transports/testbed/group.h"

#include <fmt/format.h>

namespace farspan::testbed {

Result<void> CheckSlots(const transport::Properties& properties,
                        const collectives::SlotConfig& slots) {
  if (slots.slots <= properties.max_requests && slots.slot_bytes <= properties.max_message_bytes) {
    return {};
  }
  return Fail(ErrorCode::kInvalid,
              fmt::format("a lane has {} slots of {} B; {} takes {} messages of {} B at most at "
                          "once: lower the buffer size",
                          slots.slots, slots.slot_bytes, properties.name, properties.max_requests,
                          properties.max_message_bytes));
}

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
