#include "transports/core/recoveries.h"

namespace farspan::transport {
namespace {

class SelectiveRepeat final : public Recovery {
 public:
  GroupPlan plan_group(const QueueView&) override { return {}; }
  TimeNs loss_delay(const PathView& path) const override { return path.reordering; }
  LossAction on_lost(const LostPacket&) override { return {.copies = 1}; }
};

}  // namespace

RecoveryPtr MakeSelectiveRepeat(const RecoveryConfig&) {
  return std::make_unique<SelectiveRepeat>();
}

}  // namespace farspan::transport
