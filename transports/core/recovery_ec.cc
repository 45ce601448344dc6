#include <algorithm>

#include "transports/core/erasure_code.h"
#include "transports/core/loss_estimate.h"
#include "transports/core/recoveries.h"

namespace farspan::transport {
namespace {

class ErasureCoded final : public Recovery {
 public:
  explicit ErasureCoded(const RecoveryConfig& config) : config_(config) {}

  GroupPlan plan_group(const QueueView& queue) override { return PlanParity(config_, queue); }
  TimeNs loss_delay(const PathView& path) const override { return path.reordering; }
  LossAction on_lost(const LostPacket&) override { return {.copies = 1}; }

 private:
  const RecoveryConfig config_;
};

}  // namespace

GroupPlan PlanParity(const RecoveryConfig& config, const QueueView& queue) {
  const auto ceil_div = [](uint32_t a, uint32_t b) { return (a + b - 1) / b; };
  constexpr uint32_t kMaxBlocks = 64;
  const uint32_t k = std::min(config.block_data, ErasureCode::kColumns);
  GroupPlan plan;
  plan.data = std::min(k, queue.message_left);
  const uint32_t blocks_of_message = ceil_div(queue.message_datagrams, k);
  plan.parity = ParityFor(plan.data, queue.loss, config.fallback_target / blocks_of_message,
                          ErasureCode::kMaxParity);
  if (plan.parity == 0) return plan;
  plan.blocks =
      std::min({ceil_div(queue.burst, plan.parity), ceil_div(queue.message_left, k), kMaxBlocks});
  plan.data = std::min(k, ceil_div(queue.message_left, plan.blocks));
  return plan;
}

RecoveryPtr MakeErasureCoded(const RecoveryConfig& config) {
  return std::make_unique<ErasureCoded>(config);
}

}  // namespace farspan::transport
