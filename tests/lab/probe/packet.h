// What the lab's probe sends: numbered, time-stamped datagrams whose every bit can be checked.
//
// Times are CLOCK_MONOTONIC_RAW in ns, which all network namespaces of a host share, so that a
// one-way delay needs no synchronised clocks. The rest of the datagram repeats one word derived
// from the header: a flipped bit anywhere shows. Host byte order: both ends are on one host.
// The UDP checksum is switched off, or the kernel would drop a corrupted datagram before the probe
// could count it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace farspan::probe {

struct Packet {
  uint64_t sequence = 0;
  int64_t sent_ns = 0;
  int64_t received_ns = 0;  // these two are set by the reflector, else 0
  int64_t reflected_ns = 0;
};

inline constexpr size_t kPacketBytesMin = 48;  // magic, the four fields above, one word of fill
inline constexpr size_t kPacketBytesMax = 65507;

// Fills `out` (kPacketBytesMin or more) completely.
void Write(const Packet& packet, std::span<std::byte> out);

// Nothing if any bit is not as Write left it.
std::optional<Packet> Read(std::span<const std::byte> in);

int64_t NowNs();  // CLOCK_MONOTONIC_RAW

}  // namespace farspan::probe
