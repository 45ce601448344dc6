// RuleMatch: which packets a fault rule means, as a driver matches them at ingress. Plain data.
//
// All conditions that are set must hold. The rule then counts the packets that meet them (per
// direction, in the order of ingress, from time `from` on) and picks packet number n, the first
// being 1, if n >= start, (n - start) is a multiple of `every`, and fewer than `count` were picked.
// Not modelled: RoCE header fields, ranges of VLANs.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "emulator/base/time.h"

namespace farspan::roce {

// In network order; IPv4 addresses take the first four bytes, the others are 0.
using IpAddress = std::array<uint8_t, 16>;

struct IpPrefix {
  IpAddress address{};     // bits after `length` are 0
  uint8_t length = 0;      // bits: 0-32 or 0-128
  uint8_t ip_version = 4;  // 4 or 6
  friend bool operator==(const IpPrefix&, const IpPrefix&) = default;
};

struct PortRange {
  uint16_t first = 0;
  uint16_t last = 65535;  // inclusive
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

struct RuleMatch {
  std::optional<IpPrefix> src;
  std::optional<IpPrefix> dst;
  std::optional<PortRange> src_port;  // TCP and UDP; a fragment without ports does not match
  std::optional<PortRange> dst_port;
  std::optional<uint8_t> protocol;  // IP protocol number
  std::optional<uint8_t> dscp;
  std::optional<uint16_t> vlan;  // outer tag
  uint64_t start = 1;
  uint64_t every = 1;
  uint64_t count = 0;  // 0: no bound
  TimeNs from{};       // since the link's start
  friend bool operator==(const RuleMatch&, const RuleMatch&) = default;
};

}  // namespace farspan::roce
