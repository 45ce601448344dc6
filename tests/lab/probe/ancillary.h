// What the kernel says beside a datagram: when it arrived, and its TOS byte.
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
};

Ancillary ReadAncillary(msghdr& message);

// One instant on the kernel's clock of stamps and on the probe's own.
struct ClockPair {
  int64_t realtime_ns;
  int64_t now_ns;

  // The arrival on the probe's clock (an age is the same on any clock); now, without a stamp.
  int64_t arrival_ns(const Ancillary& ancillary) const;
};

ClockPair NowOnBothClocks();

}  // namespace farspan::probe
