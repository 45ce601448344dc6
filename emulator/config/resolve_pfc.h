// Fills in what PFC takes from elsewhere in a configuration: the sender's line rate from its site's
// port_rate, the largest frame from engine.mtu, the poll gap by the kind of port, the thresholds
// from the queue's limit and the headroom; and refuses what cannot be.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "emulator/base/result.h"
#include "emulator/config/schema.h"
#include "emulator/link/pfc.h"

namespace farspan::config {

Result<void> ResolvePfc(EmulatorConfig& config);

// What all links that begin at a site ask of its host together.
struct PfcOfSite {
  uint8_t priorities = 0;  // bit p: priority p may be paused
  std::array<uint16_t, link::kPfcPriorities> quanta{};
  Rate line_rate{};
  TimeNs poll_gap{};  // the least that one of them allows for
};
PfcOfSite PfcTowards(const EmulatorConfig& config, size_t site);

}  // namespace farspan::config
