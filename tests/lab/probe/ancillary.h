// What the kernel says beside a datagram: when it arrived, its TOS byte, what the socket dropped.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace farspan::probe {

inline constexpr size_t kControlBytes = 128;

struct Ancillary {
  std::optional<int64_t> realtime_ns;  // the kernel's stamp on reception, CLOCK_REALTIME
  uint8_t tos = 0;
  uint32_t socket_dropped = 0;  // so far
};

// What `message` does not say stays as it is in `result`.
Ancillary ReadAncillary(msghdr& message, Ancillary result);

// One instant on the kernel's clock of stamps and on the probe's own.
struct ClockPair {
  int64_t realtime_ns;
  int64_t now_ns;

  // The arrival on the probe's clock (an age is the same on any clock); now, without a stamp.
  int64_t arrival_ns(const Ancillary& ancillary) const;
};

ClockPair NowOnBothClocks();

}  // namespace farspan::probe
