#include "transports/baselines/tcp_stream.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace farspan::baselines {

namespace {

std::string Remedy(int error) {
  if (error == ENFILE) return " (all that the system may open; sysctl fs.file-max raises it)";
  if (error != EMFILE) return "";
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return fmt::format(" (this process may open {}; ulimit -n raises it)", limit.rlim_cur);
}

}  // namespace

tl::unexpected<Error> TcpError(const std::string& what) {
  const int error = errno;
  return Fail(ErrorCode::kMachine,
              fmt::format("{}: {}{}", what, std::strerror(error), Remedy(error)));
}

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

TcpStream::TcpStream(TcpStream&& other) noexcept
    : fd(std::exchange(other.fd, -1)), pieces(std::move(other.pieces)) {}

TcpStream& TcpStream::operator=(TcpStream&& other) noexcept {
  std::swap(fd, other.fd);
  std::swap(pieces, other.pieces);
  return *this;
}

TcpStream::~TcpStream() {
  if (fd >= 0) ::close(fd);
}

Result<TcpStream> TcpStream::Open(const TcpConfig& config) {
  TcpStream stream(
      ::socket(config.local.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (stream.fd < 0) return TcpError("a TCP socket cannot be made");
  const auto set = [&](int level, int name, const void* value, socklen_t bytes) {
    return setsockopt(stream.fd, level, name, value, bytes) == 0;
  };
  const int on = 1;
  const auto timeout_ms = static_cast<int>(config.timeout.ns / 1'000'000);
  set(IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
  // A receiver owes nothing, so that only probes tell it that its peer is gone.
  const int idle_s = std::max(1, timeout_ms / 2000), every_s = 1;
  set(SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  set(IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  set(IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
  const std::string& congestion = config.congestion;
  if (!congestion.empty() && !set(IPPROTO_TCP, TCP_CONGESTION, congestion.data(),
                                  static_cast<socklen_t>(congestion.size()))) {
    return TcpError(
        fmt::format("the kernel has no TCP congestion control '{}' (see "
                    "net.ipv4.tcp_available_congestion_control)",
                    congestion));
  }
  const auto buffer = [&](int forced, int plain, uint64_t bytes) {
    const int value = static_cast<int>(std::min<uint64_t>(bytes, INT32_MAX / 2));
    if (bytes > 0 && !set(SOL_SOCKET, forced, &value, sizeof value)) {
      set(SOL_SOCKET, plain, &value, sizeof value);
    }
  };
  buffer(SO_SNDBUFFORCE, SO_SNDBUF, config.send_buffer_bytes);
  buffer(SO_RCVBUFFORCE, SO_RCVBUF, config.receive_buffer_bytes);
  if (bind(stream.fd, config.local.get(), config.local.length) != 0) {
    return TcpError(fmt::format("TCP address {} cannot be used", ToText(config.local)));
  }
  return stream;
}

Result<TcpStream> TcpStream::Connect(const TcpConfig& config, const SocketAddress& peer) {
  auto stream = Open(config);
  if (stream && ::connect(stream->fd, peer.get(), peer.length) != 0 && errno != EINPROGRESS) {
    return TcpError(fmt::format("connecting to {} failed", ToText(peer)));
  }
  return stream;
}

void WaitFor(std::vector<pollfd>& watched, TimeNs at_most) {
  const int64_t ns = std::clamp<int64_t>(at_most.ns, 0, 1'000'000'000);
  const timespec wait{ns / 1'000'000'000, ns % 1'000'000'000};
  ppoll(watched.data(), watched.size(), &wait, nullptr);
}

}  // namespace farspan::baselines
