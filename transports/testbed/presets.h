// Presets: how NCCL is set up on a long link, as it comes and as someone who knows would set it.
//
//   default   NCCL's and Linux's own values: BUFFSIZE 4 MiB, one queue pair or socket, IB_TIMEOUT
//             20, the NIC's adaptive retransmission on, socket buffers of 4 and 6 MiB
//   tuned     buffers of kTunedWindows bandwidth-delay products over all channels (a ring of two
//             ranks then reaches kTunedWindows / (kTunedWindows + 1) of the rate), four queue pairs
//             or sockets, the least timeout that a round trip cannot reach, adaptive
//             retransmission off, socket buffers that never limit
//
// Both have 16 channels, as `farspan nccl`. Sources: nccl_window.h.
#pragma once

#include <string_view>

#include "emulator/base/result.h"
#include "emulator/base/units.h"
#include "transports/baselines/model_config.h"

namespace farspan::testbed {

inline constexpr uint32_t kTunedWindows = 4;

struct NcclPreset {
  uint32_t channels = 16;
  uint64_t buffsize = 4u << 20;
  baselines::RcConfig rc;
  baselines::TcpModelConfig tcp;
};

Result<NcclPreset> FindPreset(std::string_view name, Rate rate, TimeNs rtt);

}  // namespace farspan::testbed
