// Where the control server listens and its clients connect: "127.0.0.1:9464", "[::1]:9464",
// "localhost:9464" or "unix:/run/farspan.sock". Numeric addresses only: what a name resolves to is
// somebody else's decision, and loopback must be certain.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "emulator/base/result.h"

namespace farspan::control {

inline constexpr std::string_view kDefaultAddress = "127.0.0.1:9464";

struct Address {
  std::string path;  // of a Unix socket; empty: TCP
  std::string host;  // numeric, without brackets
  uint16_t port = 0;

  bool is_unix() const { return !path.empty(); }
  bool is_loopback() const;  // TCP on 127.0.0.0/8 or ::1
  std::string text() const;
};

Result<Address> ParseAddress(std::string_view text);

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};
SocketAddress ToSocketAddress(const Address& address);

// A listening, non-blocking socket, closed (and a Unix socket's file removed) with its owner. A
// Unix socket belongs to its owner alone (mode 0600); the file that a dead server left is replaced.
class Listener {
 public:
  // Port 0 takes any free one.
  static Result<Listener> Open(const Address& address);
  ~Listener();
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;

  int fd() const { return fd_; }
  const Address& address() const { return address_; }  // with the port really bound

 private:
  Listener(int fd, Address address) : fd_(fd), address_(std::move(address)) {}
  int fd_;
  Address address_;
};

// The text of a file that nobody but its owner can read, without surrounding white space.
Result<std::string> ReadToken(const std::string& path);

}  // namespace farspan::control
