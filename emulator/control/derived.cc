#include "emulator/control/derived.h"

#include <algorithm>
#include <cmath>

#include "emulator/link/loss.h"

namespace farspan::control {

std::array<OwnDrop, 5> OwnDrops(const PortSnapshot& port) {
  return {{{"missed", port.own_missed},
           {"kernel_missed", port.own_kernel_missed},
           {"no_buffer", port.own_no_buffer},
           {"egress_full", port.own_egress_full},
           {"oversize", port.own_oversize}}};
}

TimeNs Quantile(const HistogramSnapshot& histogram, double q) {
  if (histogram.counts.empty() || histogram.counts.back() == 0) return {};
  const double total = static_cast<double>(histogram.counts.back());
  const auto needed = static_cast<uint64_t>(std::ceil(q * total));
  for (size_t i = 0; i < histogram.bounds.size(); ++i) {
    if (histogram.counts[i] >= needed) return std::min(histogram.bounds[i], histogram.max);
  }
  return histogram.max;
}

std::optional<double> ExpectedLoss(const DirectionSnapshot& direction) {
  const link::DirectionCounters& c = direction.counters;
  if (c.offered_packets == 0) return std::nullopt;
  const auto mean_bytes = static_cast<uint32_t>(c.offered_bytes / c.offered_packets);
  double loss = 0;
  double weights = 0;
  for (const link::LaneSpec& lane : direction.spec.lanes) {
    if (lane.loss.kind == link::LossKind::kTrace) return std::nullopt;
    loss += lane.weight * link::ExpectedLoss(lane.loss, mean_bytes, lane.rate);
    weights += lane.weight;
  }
  return loss / weights;
}

std::optional<Rate> RateCap(const link::DirectionSpec& spec) {
  Rate sum;
  for (const link::LaneSpec& lane : spec.lanes) {
    if (lane.rate.bits_per_s == 0) return std::nullopt;
    sum.bits_per_s += lane.rate.bits_per_s;
  }
  return sum;
}

}  // namespace farspan::control
