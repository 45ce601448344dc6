// Addresses as people write them: ports of sites, IP prefixes, port ranges, code points.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "emulator/base/result.h"
#include "emulator/config/schema.h"
#include "emulator/roce/rule_match.h"

namespace farspan::config {

// Syntax only: whether the port exists is found out by the engine. See PortSpec for the forms.
Result<PortSpec> ParsePort(std::string_view text);

// "10.0.1.0/24", "fd00:1::/64"; an address alone is a prefix of full length. Bits beyond the length
// must be 0.
Result<roce::IpPrefix> ParsePrefix(std::string_view text);
std::string ToText(const roce::IpPrefix& prefix);

// "4791" or "1000-2000".
Result<roce::PortRange> ParsePortRange(std::string_view text);

// A number of 24 bits, decimal or 0x and hexadecimal, or a range of them: "0x11", "1000-1010". The
// one of PSNs may go round.
Result<roce::QpRange> ParseQpRange(std::string_view text);
Result<roce::PsnRange> ParsePsnRange(std::string_view text);

// An opcode of the BTH: 0-255, or 0x and hexadecimal.
Result<uint8_t> ParseOpcode(std::string_view text);

// 0-63, or a name: "BE", "EF", "CS6", "AF41" (RFC 2474, 2597, 3246), "LE" (RFC 8622).
Result<uint8_t> ParseDscp(std::string_view text);

// 0-255, or "icmp", "tcp", "udp", "icmpv6".
Result<uint8_t> ParseProtocol(std::string_view text);

}  // namespace farspan::config
