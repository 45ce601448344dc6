// Forwarder: to which site a frame goes.
//
// wire: two sites, always the other one. mesh by prefix: longest match on the destination address;
// ARP and IPv6 neighbour discovery follow their target's address; other broadcast and multicast
// goes to all. mesh by MAC: the site where the destination address was last seen as a source
// (IEEE 802.1D learning, without ageing: a station that moves is learned anew from its next frame);
// unknown, broadcast and multicast go to all. TTL and addresses are untouched.
//
// Threads: any; learned addresses are relaxed atomics shared by all lcores.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "emulator/config/schema.h"
#include "emulator/roce/frame_view.h"

namespace farspan::dpdk {

class Forwarder {
 public:
  static constexpr int kAll = -1;   // a copy to every other site
  static constexpr int kNone = -2;  // nowhere: no site has it, or the site it came from

  explicit Forwarder(const config::EmulatorConfig& config);

  bool wire() const { return wire_; }
  // A site's index, kAll or kNone.
  int route(std::span<const uint8_t> bytes, uint32_t frame_bytes, int from) {
    if (wire_) return 1 - from;
    return by_mac_ ? by_mac(bytes, from) : by_prefix(bytes, frame_bytes, from);
  }

 private:
  struct Entry {
    roce::IpPrefix prefix;
    int site = 0;
  };
  static constexpr size_t kMacSlots = 1u << 14;

  int by_mac(std::span<const uint8_t> bytes, int from);
  int by_prefix(std::span<const uint8_t> bytes, uint32_t frame_bytes, int from) const;
  int longest_match(uint8_t version, const roce::IpAddress& address, int from) const;

  const bool wire_;
  const bool by_mac_;
  std::vector<Entry> entries_;  // longest first
  // Address << 16 | site + 1, placed by hash: a later station may displace an earlier one, whose
  // frames then go to all until it is heard again.
  std::vector<std::atomic<uint64_t>> macs_;
};

}  // namespace farspan::dpdk
