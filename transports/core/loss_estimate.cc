#include "transports/core/loss_estimate.h"

#include <algorithm>
#include <cmath>

namespace farspan::transport {

void LossEstimate::on_lost(uint64_t number) {
  ++packets_;
  ++losses_;
  run_ = number == last_lost_ + 1 ? run_ + 1 : 1;
  last_lost_ = number;
  constexpr double kForget = 0.01;
  burst_ = std::max<double>(run_, burst_ + kForget * (run_ - burst_));
}

double LossEstimate::upper() {
  if (packets_ > 2 * kMemoryPackets) {
    packets_ /= 2;
    losses_ /= 2;
  }
  constexpr double kNormal99 = 2.3263;
  const double shape = 1 + static_cast<double>(losses_);
  const double root = 1 - 1 / (9 * shape) + kNormal99 / (3 * std::sqrt(shape));
  const double events = shape * root * root * root;
  return std::min(0.5, events / (kPriorPackets + static_cast<double>(packets_)));
}

uint32_t ParityFor(uint32_t data, double loss, double target, uint32_t parity_max) {
  if (loss <= 0) return 0;
  for (uint32_t parity = 0; parity < parity_max; ++parity) {
    // P(X > parity), X binomial over n symbols: the terms up to parity, from the first one.
    const uint32_t n = data + parity;
    double term = std::exp(n * std::log1p(-loss));
    double held = term;
    for (uint32_t i = 1; i <= parity; ++i) {
      term *= loss / (1 - loss) * (n - i + 1) / i;
      held += term;
    }
    // The next term bounds what is left, and says it where 1 - held has no digits to say it with.
    const double next = term * loss / (1 - loss) * (n - parity) / (parity + 1);
    const double failure = std::max(1 - held, next);
    if (failure <= target) return parity;
  }
  return parity_max;
}

}  // namespace farspan::transport
