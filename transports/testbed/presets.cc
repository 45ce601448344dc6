#include "transports/testbed/presets.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "transports/nccl_window.h"

namespace farspan::testbed {
namespace {

// InfiniBand Architecture, 9.7.6.1.3.
uint32_t TimeoutAbove(TimeNs time) {
  uint32_t timeout = 1;
  while (timeout < 31 && 4'096ll << timeout < time.ns) ++timeout;
  return timeout;
}

NcclPreset Tuned(Rate rate, TimeNs rtt) {
  NcclPreset preset;
  const nccl::Answer answer = nccl::Ask({rtt, rate, preset.channels});
  constexpr uint64_t kMiB = 1u << 20;
  const auto needed = static_cast<uint64_t>(std::ceil(kTunedWindows * answer.needed_buffsize));
  preset.buffsize = std::max(preset.buffsize, (needed + kMiB - 1) / kMiB * kMiB);
  preset.rc.queue_pairs = 4;
  preset.rc.split = true;
  preset.rc.timeout = TimeoutAbove({rtt.ns + rtt.ns / 4});
  preset.rc.adaptive = false;
  preset.tcp.sockets = std::max(4u, answer.needed_sockets);
  preset.tcp.send_buffer_bytes = std::max(preset.tcp.send_buffer_bytes, 2 * answer.bdp_bytes);
  preset.tcp.receive_buffer_bytes = std::max(preset.tcp.receive_buffer_bytes, 4 * answer.bdp_bytes);
  return preset;
}

}  // namespace

Result<NcclPreset> FindPreset(std::string_view name, Rate rate, TimeNs rtt) {
  if (name == "default") return NcclPreset{};
  if (name == "tuned") return Tuned(rate, rtt);
  return Fail(ErrorCode::kInvalid,
              "unknown preset '" + std::string(name) + "'; known: default tuned");
}

}  // namespace farspan::testbed
