// Where a UD queue pair is, as an Endpoint's address; and what the global route header tells of a
// datagram that has arrived.
//
// Source: InfiniBand Architecture Specification 1.4, 8.3 and annex A17 (RoCEv2): the first 40 bytes
// of a UD receive are the GRH, in whose place RoCEv2 puts the IPv6 header or, in its last 20 bytes,
// the IPv4 header. Pure functions.
#pragma once

#include <span>

#include "transports/core/endpoint.h"
#include "transports/drivers/verbs/gid.h"

namespace farspan::verbs {

inline constexpr size_t kGrhBytes = 40;

struct UdAddress {
  Gid gid{};
  uint32_t queue_pair = 0;
};

transport::Address ToCore(const UdAddress& address);
bool IsUdAddress(const transport::Address& address);
UdAddress FromCore(const transport::Address& address);

Gid SourceOf(std::span<const uint8_t, kGrhBytes> header);
// CE, of the header's ECN field (RFC 3168).
bool IsMarked(std::span<const uint8_t, kGrhBytes> header);

}  // namespace farspan::verbs
