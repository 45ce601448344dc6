// What an engine's snapshot implies: figures that the metrics and the API both show.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "emulator/control/engine_control.h"

namespace farspan::control {

struct OwnDrop {
  std::string_view cause;
  uint64_t packets;
};
std::array<OwnDrop, 5> OwnDrops(const PortSnapshot& port);

// The least bound that at least a share `q` of the observations does not exceed; the greatest
// observation where that is smaller. 0 without observations.
TimeNs Quantile(const HistogramSnapshot& histogram, double q);

// Loss to expect of packets of the mean size of those offered so far, over all lanes; nothing where
// nothing was offered, or where a trace says which packets are lost.
std::optional<double> ExpectedLoss(const DirectionSnapshot& direction);

// The sum of the lanes' rates; nothing where a lane has no bottleneck.
std::optional<Rate> RateCap(const link::DirectionSpec& spec);

}  // namespace farspan::control
