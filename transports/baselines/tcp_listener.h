// How the connections of one comm find each other: each begins with a hello that says which comm it
// belongs to, of how many connections, and as which of them.
//
// Anybody may connect: what says no proper hello, or contradicts the others, is dropped or waits in
// vain for the rest, and nothing else happens. Where no descriptor is left for who comes, they wait
// in the kernel until there is one. Threading: one thread; nothing blocks.
#pragma once

#include <poll.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "transports/baselines/tcp_stream.h"
#include "transports/core/transport.h"

namespace farspan::baselines {

inline constexpr uint32_t kTcpSocketsMax = 64;  // of one comm

struct TcpHello {
  static constexpr uint32_t kMagic = 0x46535450;  // another program must not get in

  uint32_t magic = kMagic;
  uint32_t sockets = 0;
  uint64_t comm = 0;  // random, the same on all connections of a comm
  uint32_t index = 0;
  uint32_t reserved = 0;

  // Of a new comm.
  static Result<TcpHello> Make(uint32_t sockets);
};

// A listener's address as a Handle. `kind` is a magic number of the transport's own: a handle of
// another kind has no address.
transport::Handle ToHandle(uint32_t kind, const SocketAddress& address);
std::optional<SocketAddress> FromHandle(uint32_t kind, const transport::Handle& handle);

class TcpListener {
 public:
  static Result<TcpListener> Open(const TcpConfig& config);

  SocketAddress address() const { return LocalAddress(socket_.fd); }
  // The connections of a comm, once all have said hello. An error, once, where descriptors run out.
  Result<std::optional<std::vector<TcpStream>>> take();
  // Adds what it waits for.
  void watch(std::vector<pollfd>& watched) const;

 private:
  struct Newcomer {
    TcpStream stream;
    TcpHello hello;
    size_t read = 0;
    bool complete() const { return read == sizeof(TcpHello); }
  };

  explicit TcpListener(TcpStream socket) : socket_(std::move(socket)) {}
  Result<void> accept_all();
  static bool read_hello(Newcomer& one);
  std::optional<std::vector<TcpStream>> gather(const TcpHello& hello);

  TcpStream socket_;
  std::vector<Newcomer> newcomers_;  // whose hello is not complete, or whose comm is not
  bool exhausted_ = false;           // no descriptor for the next one: tried again, not watched
};

}  // namespace farspan::baselines
