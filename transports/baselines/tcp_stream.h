// One TCP connection as the TCP baseline uses it: its options, and what is to be moved over it.
//
// Threading: one thread. Ownership: a stream owns its descriptor, not the bytes of its pieces.
#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "transports/drivers/address.h"

namespace farspan::baselines {

struct TcpConfig {
  SocketAddress local;                // to listen on and to connect from; port 0 as a rule
  uint32_t sockets = 1;               // per comm (NCCL_NSOCKS_PERTHREAD x NCCL_SOCKET_NTHREADS)
  std::string congestion;             // TCP_CONGESTION; empty: the system's
  uint64_t send_buffer_bytes = 0;     // SO_SNDBUF; 0: the system grows it (tcp_wmem)
  uint64_t receive_buffer_bytes = 0;  // SO_RCVBUF; 0: the system grows it (tcp_rmem)
  TimeNs timeout{10'000'000'000};
};

// A part of a message that has its place on one connection.
struct TcpPiece {
  std::byte* at = nullptr;
  uint64_t left = 0;
  uint32_t request = 0;
};

struct TcpStream {
  int fd = -1;
  std::deque<TcpPiece> pieces;  // moved in this order

  // Bound to the configured address, non-blocking, with the configured options.
  static Result<TcpStream> Open(const TcpConfig& config);
  // The same, on its way to the peer.
  static Result<TcpStream> Connect(const TcpConfig& config, const SocketAddress& peer);

  TcpStream() = default;
  explicit TcpStream(int descriptor) : fd(descriptor) {}
  TcpStream(TcpStream&& other) noexcept;
  TcpStream& operator=(TcpStream&& other) noexcept;
  ~TcpStream();
};

// What the last system call failed with, and whether it only has to wait.
tl::unexpected<Error> TcpError(const std::string& what);
bool WouldBlock();
// Sleeps until one of these is ready, for a second at most.
void WaitFor(std::vector<pollfd>& watched, TimeNs at_most);

}  // namespace farspan::baselines
