#include "transports/testbed/theory.h"

#include <algorithm>
#include <cmath>

#include "emulator/base/check.h"

namespace farspan::testbed {
namespace {

// ln P(each of `count` datagrams has arrived in `attempts`).
double LogAllArrived(double count, double loss, int attempts) {
  return count * std::log1p(-std::pow(loss, attempts));
}

}  // namespace

double LosslessReceiver(const MessageOnLink& message) {
  return message.injection_s() + message.rtt_s / 2;
}

double LosslessSender(const MessageOnLink& message) {
  return message.injection_s() + message.rtt_s;
}

double GoBackNMean(const MessageOnLink& message) {
  const double failures =
      static_cast<double>(message.datagrams) * message.loss / (1 - message.loss);
  return message.injection_s() + message.rtt_s * (1 + failures);
}

double SelectiveRepeatCdf(const MessageOnLink& message, double receiver_s) {
  // Datagram i has left at i x datagram_s; by q it can have arrived in 1 + floor((q - i) / rtt)
  // attempts. Datagrams with the same number of attempts are a run.
  const double q = receiver_s - message.rtt_s / 2;
  const double total = static_cast<double>(message.datagrams);
  if (q < message.injection_s() * (1 - 1e-12)) return 0;
  double log_probability = 0;
  double rest = total;  // datagrams not yet counted, all later than the run at hand
  const double most = std::floor(q / message.rtt_s);
  for (double level = 0; level <= most && rest > 0; ++level) {
    const double before = std::floor((q - (level + 1) * message.rtt_s) / message.datagram_s);
    const double older = std::clamp(before, 0.0, rest);
    log_probability += LogAllArrived(rest - older, message.loss, static_cast<int>(level) + 1);
    rest = older;
    if (std::pow(message.loss, level + 1) * rest < 1e-18) break;
  }
  return std::exp(log_probability);
}

double SelectiveRepeatMean(const MessageOnLink& message) {
  constexpr int kStepsPerRtt = 20'000;
  const double step = message.rtt_s / kStepsPerRtt;
  double mean = LosslessReceiver(message);
  for (double at = mean + step / 2;; at += step) {
    const double missing = 1 - SelectiveRepeatCdf(message, at);
    if (missing < 1e-12) return mean;
    mean += missing * step;
  }
}

double SelectiveRepeatQuantile(const MessageOnLink& message, double probability) {
  FARSPAN_CHECK(probability > 0 && probability < 1);
  double low = LosslessReceiver(message);
  if (SelectiveRepeatCdf(message, low) >= probability) return low;
  double high = low;
  while (SelectiveRepeatCdf(message, high) < probability) high += message.rtt_s;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (SelectiveRepeatCdf(message, middle) < probability ? low : high) = middle;
  }
  return high;
}

double CubicWindow(double rtt_s, double loss) {
  constexpr double kC = 0.4, kBeta = 0.7;
  const double cubic =
      std::pow(kC * (3 + kBeta) / (4 * (1 - kBeta)), 0.25) * std::pow(rtt_s / loss, 0.75);
  return std::max(cubic, std::sqrt(1.5 / loss));
}

double BlockFailure(int data, int parity, double loss) {
  if (loss <= 0) return 0;
  const int symbols = data + parity;
  double failure = 0;
  for (int lost = parity + 1; lost <= symbols; ++lost) {
    failure += std::exp(std::lgamma(symbols + 1.0) - std::lgamma(lost + 1.0) -
                        std::lgamma(symbols - lost + 1.0) + lost * std::log(loss) +
                        (symbols - lost) * std::log1p(-loss));
  }
  return std::min(failure, 1.0);
}

int ParityFor(int data, double loss, double target, int parity_max) {
  int parity = 0;
  while (parity <= parity_max && BlockFailure(data, parity, loss) > target) ++parity;
  return parity;
}

}  // namespace farspan::testbed
