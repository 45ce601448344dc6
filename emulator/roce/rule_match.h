// RuleMatch: which packets a fault rule means, as a driver matches them at ingress. Plain data.
//
// All conditions that are set must hold; one that is not set holds for every frame, so that an
// empty rule means all of them. A condition that is set does not hold for frames that lack what it
// asks about: a port does not match ARP, nor the later fragments of a datagram. The rule then
// counts the packets that meet them (per direction, in the order of ingress, whatever other rules
// pick) and picks packet number n, the first being 1, if n >= start, (n - start) is a multiple of
// `every`, and fewer than `count` were picked. Where several rules pick a packet, the first gets
// it. Not modelled: RoCE header fields, ranges of VLANs.
#pragma once

#include <cstdint>
#include <optional>

#include "emulator/base/time.h"
#include "emulator/roce/ip_address.h"

namespace farspan::roce {

struct PortRange {
  uint16_t first = 0;
  uint16_t last = 65535;  // inclusive
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

struct SizeRange {
  uint32_t first = 0;
  uint32_t last = UINT32_MAX;  // inclusive
  friend bool operator==(const SizeRange&, const SizeRange&) = default;
};

struct RuleMatch {
  std::optional<IpPrefix> src{};
  std::optional<IpPrefix> dst{};
  std::optional<PortRange> src_port{};  // TCP and UDP
  std::optional<PortRange> dst_port{};
  std::optional<uint8_t> protocol{};  // IPv4's, or the last IPv6 next header
  std::optional<uint8_t> dscp{};
  std::optional<uint16_t> vlan{};         // outer tag
  std::optional<uint16_t> ethertype{};    // behind the tags
  std::optional<SizeRange> frame_size{};  // bytes, without FCS
  uint64_t start = 1;
  uint64_t every = 1;
  uint64_t count = 0;     // 0: no bound
  TimeNs from{};          // since the link's start
  TimeNs until = kNever;  // exclusive
  friend bool operator==(const RuleMatch&, const RuleMatch&) = default;
};

}  // namespace farspan::roce
