#include "transports/core/recoveries.h"

namespace farspan::transport {
namespace {

class GoBackN final : public Recovery {
 public:
  bool in_order() const override { return true; }
  GroupPlan plan_group(const QueueView&) override { return {}; }
  TimeNs loss_delay(const PathView& path) const override { return path.reordering; }

  // What was in flight when it went back is thrown away by the receiver and asks for nothing.
  LossAction on_lost(const LostPacket& packet) override {
    if (!packet.needed || packet.number < resumed_at_) return {};
    resumed_at_ = packet.next_number;
    return {.go_back = true};
  }

 private:
  uint64_t resumed_at_ = 0;
};

}  // namespace

RecoveryPtr MakeGoBackN(const RecoveryConfig&) { return std::make_unique<GoBackN>(); }

}  // namespace farspan::transport
