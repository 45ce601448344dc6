#include "transports/core/fixed.h"

namespace farspan::transport {
namespace {

class Fixed final : public Controller {
 public:
  explicit Fixed(const ControllerConfig& config) : rate_(config.rate), window_(config.max_window) {}

  void on_sent(const SentInfo&) override {}
  void on_ack(const AckInfo&) override {}
  void on_loss(const LossInfo&) override {}
  void on_timeout(TimeNs) override {}
  uint64_t window_bytes() const override { return window_; }
  Rate pacing_rate() const override { return rate_; }

 private:
  const Rate rate_;
  const uint64_t window_;
};

}  // namespace

ControllerPtr MakeFixed(const ControllerConfig& config) { return std::make_unique<Fixed>(config); }

}  // namespace farspan::transport
