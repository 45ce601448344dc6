#include "transports/core/recoveries.h"

namespace farspan::transport {
namespace {

class Auto final : public Recovery {
 public:
  explicit Auto(const RecoveryConfig& config) : config_(config) {}

  GroupPlan plan_group(const QueueView& queue) override {
    return queue.until_dry > queue.smoothed_rtt ? GroupPlan{} : PlanParity(config_, queue);
  }
  TimeNs loss_delay(const PathView& path) const override { return path.reordering; }
  LossAction on_lost(const LostPacket& packet) override {
    return {.copies = packet.until_dry > packet.smoothed_rtt ? 1u : 2u};
  }

 private:
  const RecoveryConfig config_;
};

}  // namespace

RecoveryPtr MakeAuto(const RecoveryConfig& config) { return std::make_unique<Auto>(config); }

}  // namespace farspan::transport
