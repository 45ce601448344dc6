#include "emulator/config/ports.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace farspan::config {
namespace {

constexpr size_t kMaxInterfaceName = 15;  // Linux IFNAMSIZ less its end
constexpr size_t kMaxSocketPath = 107;    // sockaddr_un

auto Refuse(std::string_view text, std::string_view expected) {
  return Fail(ErrorCode::kInvalid,
              '"' + std::string(text) + "\": expected " + std::string(expected));
}

std::optional<uint64_t> WholeNumber(std::string_view text, uint64_t max) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

bool IsHex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// "3b:00.1" or "0000:3b:00.1"
bool IsPci(std::string_view text) {
  constexpr std::string_view kShape = "hhhh:hh:hh.f";
  if (text.size() != kShape.size() && text.size() != kShape.size() - 5) return false;
  const std::string_view shape = kShape.substr(kShape.size() - text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const bool fits = shape[i] == 'h'   ? IsHex(text[i])
                      : shape[i] == 'f' ? text[i] >= '0' && text[i] <= '7'
                                        : text[i] == shape[i];
    if (!fits) return false;
  }
  return true;
}

bool IsInterface(std::string_view text) {
  const auto good = [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != ','; };
  return !text.empty() && text.size() <= kMaxInterfaceName && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(), good);
}

Result<PortSpec> Interface(PortKind kind, std::string_view text, std::string_view name) {
  if (!IsInterface(name)) {
    return Refuse(text,
                  "an interface name of at most 15 characters (\"eth1\"), a PCI address "
                  "(\"0000:3b:00.1\"), \"vhost:/path.sock\", \"af_xdp:eth1\" or a DPDK vdev "
                  "(\"net_null0,size=64\")");
  }
  return PortSpec{kind, std::string(text), std::string(name)};
}

}  // namespace

Result<PortSpec> ParsePort(std::string_view text) {
  if (IsPci(text)) {
    const std::string domain = text.size() == 7 ? "0000:" : "";
    return PortSpec{PortKind::kPci, std::string(text), domain + std::string(text)};
  }
  if (text.starts_with("vhost:")) {
    const std::string_view path = text.substr(6);
    if (!path.starts_with('/') || path.size() > kMaxSocketPath ||
        path.find_first_of(", ") != std::string_view::npos) {
      return Refuse(text, "\"vhost:\" and an absolute path without commas or blanks");
    }
    return PortSpec{PortKind::kVhost, std::string(text), std::string(path)};
  }
  if (text.starts_with("af_xdp:")) return Interface(PortKind::kAfXdp, text, text.substr(7));
  if (text.starts_with("af_packet:")) return Interface(PortKind::kAfPacket, text, text.substr(10));
  if (text.starts_with("net_")) {
    const auto printable = [](char c) { return c >= ' ' && c < 0x7f; };
    if (text.size() < 6 || !std::all_of(text.begin(), text.end(), printable)) {
      return Refuse(text, "a DPDK vdev such as \"net_null0,size=64\"");
    }
    return PortSpec{PortKind::kVdev, std::string(text), std::string(text)};
  }
  return Interface(PortKind::kAfPacket, text, text);
}

Result<roce::IpPrefix> ParsePrefix(std::string_view text) {
  constexpr std::string_view kExpected = "an IP prefix such as \"10.0.1.0/24\" or \"fd00:1::/64\"";
  roce::IpPrefix prefix;
  const size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  const bool v6 = address.find(':') != std::string::npos;
  prefix.ip_version = v6 ? 6 : 4;
  if (address.find('\0') != std::string::npos ||
      inet_pton(v6 ? AF_INET6 : AF_INET, address.c_str(), prefix.address.data()) != 1) {
    return Refuse(text, kExpected);
  }
  const uint8_t most = v6 ? 128 : 32;
  prefix.length = most;
  if (slash != std::string_view::npos) {
    const auto length = WholeNumber(text.substr(slash + 1), most);
    if (!length) return Refuse(text, std::string(kExpected) + ", at most /" + std::to_string(most));
    prefix.length = static_cast<uint8_t>(*length);
  }
  for (int bit = prefix.length; bit < most; ++bit) {
    if ((prefix.address[static_cast<size_t>(bit / 8)] >> (7 - bit % 8) & 1) != 0) {
      return Refuse(text,
                    "no bits set beyond the prefix's length of " + std::to_string(prefix.length));
    }
  }
  return prefix;
}

std::string ToText(const roce::IpPrefix& prefix) {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(prefix.ip_version == 6 ? AF_INET6 : AF_INET, prefix.address.data(), text, sizeof text);
  return std::string(text) + '/' + std::to_string(prefix.length);
}

Result<roce::PortRange> ParsePortRange(std::string_view text) {
  const size_t dash = text.find('-');
  const auto first = WholeNumber(text.substr(0, dash), 65535);
  const auto last =
      dash == std::string_view::npos ? first : WholeNumber(text.substr(dash + 1), 65535);
  if (!first || !last || *first > *last) {
    return Refuse(text, "a port such as 4791, or a range such as \"1000-2000\", up to 65535");
  }
  return roce::PortRange{static_cast<uint16_t>(*first), static_cast<uint16_t>(*last)};
}

namespace {

// "A" or "A-B", each of 24 bits.
std::optional<std::pair<uint32_t, uint32_t>> Range24(std::string_view text) {
  const auto number = [](std::string_view part) -> std::optional<uint32_t> {
    const bool hex = part.starts_with("0x") || part.starts_with("0X");
    if (hex) part.remove_prefix(2);
    uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(part.data(), part.data() + part.size(), value, hex ? 16 : 10);
    if (error != std::errc{} || end != part.data() + part.size() || value > 0xffffff) return {};
    return value;
  };
  const size_t dash = text.find('-');
  const auto first = number(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : number(text.substr(dash + 1));
  if (!first || !last) return std::nullopt;
  return std::pair(*first, *last);
}

}  // namespace

Result<uint8_t> ParseOpcode(std::string_view text) {
  const auto range = Range24(text);
  if (!range || range->first > 255 || range->first != range->second) {
    return Refuse(text, "send, write, ack, nak, cnp, … or an opcode from 0 to 0xff");
  }
  return static_cast<uint8_t>(range->first);
}

Result<roce::QpRange> ParseQpRange(std::string_view text) {
  const auto range = Range24(text);
  if (!range || range->first > range->second) {
    return Refuse(text, "a queue pair number such as 0x11, or a range such as \"0x10-0x1f\"");
  }
  return roce::QpRange{range->first, range->second};
}

Result<roce::PsnRange> ParsePsnRange(std::string_view text) {
  const auto range = Range24(text);
  if (!range)
    return Refuse(text, "a PSN such as 1000, or a range such as \"1000-1010\", of 24 bits");
  return roce::PsnRange{range->first, range->second};
}

Result<uint8_t> ParseDscp(std::string_view text) {
  if (const auto number = WholeNumber(text, 63)) return static_cast<uint8_t>(*number);
  if (text == "BE") return uint8_t{0};
  if (text == "LE") return uint8_t{1};
  if (text == "EF") return uint8_t{46};
  const auto digit = [&](size_t i, char least, char most) {
    return text.size() > i && text[i] >= least && text[i] <= most ? text[i] - '0' : -1;
  };
  if (text.starts_with("CS") && text.size() == 3 && digit(2, '0', '7') >= 0) {
    return static_cast<uint8_t>(8 * digit(2, '0', '7'));
  }
  if (text.starts_with("AF") && text.size() == 4 && digit(2, '1', '4') > 0 &&
      digit(3, '1', '3') > 0) {
    return static_cast<uint8_t>(8 * digit(2, '1', '4') + 2 * digit(3, '1', '3'));
  }
  return Refuse(text, "a DSCP from 0 to 63, or BE, LE, EF, CS0-CS7, AF11-AF43");
}

Result<uint8_t> ParseProtocol(std::string_view text) {
  if (const auto number = WholeNumber(text, 255)) return static_cast<uint8_t>(*number);
  if (text == "icmp") return uint8_t{IPPROTO_ICMP};
  if (text == "tcp") return uint8_t{IPPROTO_TCP};
  if (text == "udp") return uint8_t{IPPROTO_UDP};
  if (text == "icmpv6") return uint8_t{IPPROTO_ICMPV6};
  return Refuse(text, "an IP protocol number from 0 to 255, or icmp, tcp, udp, icmpv6");
}

}  // namespace farspan::config
