// IP addresses and prefixes of either version, as frames carry them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace farspan::roce {

// In network order; IPv4 addresses take the first four bytes, the others are 0.
using IpAddress = std::array<uint8_t, 16>;

struct IpPrefix {
  IpAddress address{};     // bits after `length` are 0
  uint8_t length = 0;      // bits: 0-32 or 0-128
  uint8_t ip_version = 4;  // 4 or 6
  friend bool operator==(const IpPrefix&, const IpPrefix&) = default;

  bool contains(uint8_t version, const IpAddress& candidate) const {
    if (version != ip_version) return false;
    const size_t whole = length / 8;
    if (std::memcmp(address.data(), candidate.data(), whole) != 0) return false;
    const int rest = length % 8;
    return rest == 0 || (address[whole] ^ candidate[whole]) >> (8 - rest) == 0;
  }
};

}  // namespace farspan::roce
