#include "transports/baselines/tcp_listener.h"

#include <netinet/in.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace farspan::baselines {
namespace {

struct HandleHead {
  uint32_t kind = 0;
  uint32_t length = 0;  // of the address that follows
};
static_assert(sizeof(HandleHead) + sizeof(sockaddr_in6) <= transport::kHandleBytes);

}  // namespace

Result<TcpHello> TcpHello::Make(uint32_t sockets) {
  TcpHello hello;
  hello.sockets = sockets;
  if (getrandom(&hello.comm, sizeof hello.comm, 0) != sizeof hello.comm) {
    return TcpError("the system gives no random numbers");
  }
  return hello;
}

transport::Handle ToHandle(uint32_t kind, const SocketAddress& address) {
  transport::Handle handle{};
  const HandleHead head{kind, address.length};
  std::memcpy(handle.data(), &head, sizeof head);
  std::memcpy(handle.data() + sizeof head, &address.storage, address.length);
  return handle;
}

std::optional<SocketAddress> FromHandle(uint32_t kind, const transport::Handle& handle) {
  HandleHead head;
  std::memcpy(&head, handle.data(), sizeof head);
  if (head.kind != kind || head.length < sizeof(sockaddr_in) ||
      head.length > sizeof(sockaddr_in6)) {
    return std::nullopt;
  }
  SocketAddress address;
  address.length = head.length;
  std::memcpy(&address.storage, handle.data() + sizeof head, head.length);
  return address;
}

Result<TcpListener> TcpListener::Open(const TcpConfig& config) {
  auto socket = TcpStream::Open(config);
  if (!socket) return tl::unexpected(socket.error());
  if (::listen(socket->fd, 128) != 0) return TcpError("listening failed");
  return TcpListener(std::move(*socket));
}

Result<void> TcpListener::accept_all() {
  while (true) {
    const int fd = accept4(socket_.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      newcomers_.push_back({TcpStream(fd), {}, 0});
      continue;
    }
    // Any other error is the newcomer's, who has gone with it.
    const bool exhausted =
        errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    const bool known = std::exchange(exhausted_, exhausted);
    if (exhausted && !known) return TcpError("a connection that has come cannot be accepted");
    return {};
  }
}

Result<std::optional<std::vector<TcpStream>>> TcpListener::take() {
  if (auto done = accept_all(); !done) return tl::unexpected(done.error());
  std::erase_if(newcomers_, [](Newcomer& one) { return !read_hello(one); });
  for (const Newcomer& one : newcomers_) {
    if (!one.complete()) continue;
    if (auto streams = gather(one.hello)) return streams;
  }
  return std::optional<std::vector<TcpStream>>{};
}

// False: it is gone, or not one of ours.
bool TcpListener::read_hello(Newcomer& one) {
  if (one.complete()) return true;
  const ssize_t n = ::read(one.stream.fd, reinterpret_cast<char*>(&one.hello) + one.read,
                           sizeof(TcpHello) - one.read);
  if (n < 0) return WouldBlock();
  one.read += static_cast<size_t>(n);
  if (!one.complete()) return n > 0;
  return one.hello.magic == TcpHello::kMagic && one.hello.sockets <= kTcpSocketsMax &&
         one.hello.index < one.hello.sockets;
}

std::optional<std::vector<TcpStream>> TcpListener::gather(const TcpHello& hello) {
  std::vector<Newcomer*> members(hello.sockets);
  for (Newcomer& one : newcomers_) {
    const bool belongs =
        one.complete() && one.hello.comm == hello.comm && one.hello.sockets == hello.sockets;
    if (belongs && members[one.hello.index] == nullptr) members[one.hello.index] = &one;
  }
  if (std::find(members.begin(), members.end(), nullptr) != members.end()) return std::nullopt;
  std::vector<TcpStream> streams;
  for (Newcomer* one : members) streams.push_back(std::move(one->stream));
  std::erase_if(newcomers_, [](const Newcomer& one) { return one.stream.fd < 0; });
  return streams;
}

void TcpListener::watch(std::vector<pollfd>& watched) const {
  if (!exhausted_) watched.push_back({socket_.fd, POLLIN, 0});
  for (const Newcomer& one : newcomers_) {
    if (!one.complete()) watched.push_back({one.stream.fd, POLLIN, 0});
  }
}

}  // namespace farspan::baselines
