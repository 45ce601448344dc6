// Socket addresses as people write them.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "emulator/base/result.h"

namespace farspan {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  friend bool operator==(const SocketAddress& a, const SocketAddress& b);
};

// "10.0.0.1:7000", "[fd00::1]:7000", ":7000" (any address). Names are not looked up.
Result<SocketAddress> ParseSocketAddress(std::string_view text);
// One that others can connect to: not any address.
Result<SocketAddress> ParseReachable(std::string_view text);
std::string ToText(const SocketAddress& address);
// Without the port, and without brackets: "10.0.0.1", "fd00::1".
std::string HostOf(const SocketAddress& address);
SocketAddress WithPort(SocketAddress address, uint16_t port);
// Of a bound socket; of a connected one.
SocketAddress LocalAddress(int descriptor);
SocketAddress PeerAddress(int descriptor);

}  // namespace farspan
