#include <algorithm>
#include <cmath>

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
    const bool early = packet.until_dry > packet.smoothed_rtt;
    return {.copies = early && !packet.again ? 1 : copies(packet)};
  }

 private:
  // So many that of the repairs which a round trip calls for hardly ever one is lost for good; but
  // two at least, and no more than a sixteenth of what is in flight for all of them.
  uint32_t copies(const LostPacket& packet) const {
    const double repairs = std::max(1.0, packet.loss * static_cast<double>(packet.inflight));
    const double enough =
        std::ceil(std::log(config_.fallback_target / repairs) / std::log(packet.loss));
    return static_cast<uint32_t>(
        std::clamp(enough, 2.0, std::clamp(1 / (16 * packet.loss), 2.0, kMostCopies)));
  }

  static constexpr double kMostCopies = 8;

  const RecoveryConfig config_;
};

}  // namespace

RecoveryPtr MakeAuto(const RecoveryConfig& config) { return std::make_unique<Auto>(config); }

}  // namespace farspan::transport
