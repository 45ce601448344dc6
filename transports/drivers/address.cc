#include "transports/drivers/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <charconv>
#include <cstring>

namespace farspan {

bool operator==(const SocketAddress& a, const SocketAddress& b) {
  return a.length == b.length && std::memcmp(&a.storage, &b.storage, a.length) == 0;
}

Result<SocketAddress> ParseSocketAddress(std::string_view text) {
  const auto wrong = [&] {
    return Fail(ErrorCode::kInvalid,
                fmt::format("'{}' is not an address: expected \"10.0.0.1:7000\" or "
                            "\"[fd00::1]:7000\"",
                            text));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  uint16_t port = 0;
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), port);
  if (error != std::errc{} || end != digits.end()) return wrong();

  std::string host(text.substr(0, colon));
  SocketAddress address;
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    address.length = sizeof v6;
    host = host.substr(1, host.size() - 2);
    if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) return wrong();
    return address;
  }
  auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  address.length = sizeof v4;
  if (!host.empty() && inet_pton(AF_INET, host.c_str(), &v4.sin_addr) != 1) return wrong();
  return address;
}

Result<SocketAddress> ParseReachable(std::string_view text) {
  auto address = ParseSocketAddress(text);
  if (!address) return address;
  if (const std::string host = HostOf(*address); host == "0.0.0.0" || host == "::") {
    return Fail(ErrorCode::kInvalid,
                fmt::format("'{}' is no address by which other ranks reach this one: expected that "
                            "of an interface, as in 10.0.0.1:7000",
                            text));
  }
  return address;
}

std::string HostOf(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (address.storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  } else {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  }
  return text;
}

std::string ToText(const SocketAddress& address) {
  if (address.storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
    return fmt::format("[{}]:{}", HostOf(address), ntohs(v6.sin6_port));
  }
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
  return fmt::format("{}:{}", HostOf(address), ntohs(v4.sin_port));
}

SocketAddress WithPort(SocketAddress address, uint16_t port) {
  if (address.storage.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in&>(address.storage).sin_port = htons(port);
  }
  return address;
}

SocketAddress LocalAddress(int descriptor) {
  SocketAddress address;
  address.length = sizeof address.storage;
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&address.storage), &address.length);
  return address;
}

SocketAddress PeerAddress(int descriptor) {
  SocketAddress address;
  address.length = sizeof address.storage;
  getpeername(descriptor, reinterpret_cast<sockaddr*>(&address.storage), &address.length);
  return address;
}

}  // namespace farspan
