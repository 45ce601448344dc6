#include "emulator/control/address.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

namespace farspan::control {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr size_t kTokenBytesMin = 16;
constexpr size_t kTokenBytesMax = 4096;

tl::unexpected<Error> BadAddress(std::string_view text) {
  return Fail(ErrorCode::kInvalid,
              fmt::format("\"{}\" is not an address; expected HOST:PORT with a numeric host, as in "
                          "\"127.0.0.1:9464\" or \"[::1]:9464\", or \"unix:/path/of/a.sock\"",
                          text));
}

// A socket's file, left behind by a server that is no more.
bool IsStale(const Address& address) {
  struct stat info {};
  if (lstat(address.path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  const SocketAddress peer = ToSocketAddress(address);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool refused = connect(fd, peer.get(), peer.length) != 0 && errno == ECONNREFUSED;
  close(fd);
  return refused;
}

Error BindError(const Address& address, int error) {
  Error result{ErrorCode::kMachine, "", address.text()};
  switch (error) {
    case EADDRINUSE:
      result.message =
          address.is_unix()
              ? "another server answers there, or the file is no socket; stop it, or choose "
                "another path with --http"
              : fmt::format(
                    "the port is in use by another program (see: ss -ltnp 'sport = :{}'); "
                    "stop it, or choose another with --http",
                    address.port);
      break;
    case EACCES:
    case EPERM:
      result.message = address.is_unix()
                           ? "no permission to make a socket there; choose a directory you may "
                             "write to, with --http unix:/path"
                           : "no permission to listen there; ports below 1024 need root: choose "
                             "another with --http";
      break;
    case EADDRNOTAVAIL:
      result.message = "this machine has no such address (see: ip address); choose with --http";
      break;
    default:
      result.message = fmt::format("cannot listen: {}", std::strerror(error));
  }
  return result;
}

uint16_t BoundPort(int fd) {
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length);
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

}  // namespace

bool Address::is_loopback() const {
  if (is_unix()) return false;
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

std::string Address::text() const {
  if (is_unix()) return fmt::format("{}{}", kUnixPrefix, path);
  const bool v6 = host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

Result<Address> ParseAddress(std::string_view text) {
  Address address;
  if (text.starts_with(kUnixPrefix)) {
    address.path = text.substr(kUnixPrefix.size());
    if (address.path.empty() || address.path.find('\0') != std::string::npos) {
      return BadAddress(text);
    }
    if (address.path.size() >= sizeof(sockaddr_un::sun_path)) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("the path of a Unix socket has at most {} bytes, this one {}",
                              sizeof(sockaddr_un::sun_path) - 1, address.path.size()),
                  std::string(text));
    }
    return address;
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return BadAddress(text);
  const std::string_view port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc{} || end != port.data() + port.size()) return BadAddress(text);

  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  address.host = host == "localhost" ? "127.0.0.1" : std::string(host);
  in6_addr ignored{};
  const int family = bracketed ? AF_INET6 : AF_INET;
  if (inet_pton(family, address.host.c_str(), &ignored) != 1) return BadAddress(text);
  return address;
}

SocketAddress ToSocketAddress(const Address& address) {
  SocketAddress result;
  if (address.is_unix()) {
    auto* un = reinterpret_cast<sockaddr_un*>(&result.storage);
    un->sun_family = AF_UNIX;
    address.path.copy(un->sun_path, sizeof un->sun_path - 1);
    result.length = sizeof *un;
    return result;
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(&result.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
  if (inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    result.length = sizeof *v4;
  } else {
    inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    result.length = sizeof *v6;
  }
  return result;
}

Result<Listener> Listener::Open(const Address& address) {
  const SocketAddress where = ToSocketAddress(address);
  const int fd = socket(where.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return tl::unexpected(BindError(address, errno));
  const int yes = 1;
  if (address.is_unix()) {
    fchmod(fd, 0600);  // before bind: the file never exists with a wider mode
  } else {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  }
  int failed = bind(fd, where.get(), where.length);
  if (failed != 0 && errno == EADDRINUSE && address.is_unix() && IsStale(address)) {
    unlink(address.path.c_str());
    failed = bind(fd, where.get(), where.length);
  }
  if (failed != 0 || listen(fd, 64) != 0) {
    const int error = errno;
    close(fd);
    return tl::unexpected(BindError(address, error));
  }
  Address bound = address;
  if (!address.is_unix()) bound.port = BoundPort(fd);
  return Listener(fd, std::move(bound));
}

Listener::Listener(Listener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), address_(std::move(other.address_)) {}

Listener::~Listener() {
  if (fd_ < 0) return;
  if (address_.is_unix()) unlink(address_.path.c_str());
  close(fd_);
}

Result<std::string> ReadToken(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return Fail(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kMachine,
                fmt::format("cannot read the token: {}", std::strerror(errno)), path);
  }
  struct stat info {};
  std::string token(kTokenBytesMax, '\0');
  const bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  const ssize_t got = regular ? read(fd, token.data(), token.size()) : 0;
  close(fd);
  if (!regular) return Fail(ErrorCode::kInvalid, "the token must be in a regular file", path);
  if ((info.st_mode & 0077) != 0 || (info.st_uid != geteuid() && geteuid() != 0)) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("the token file must be yours and readable by you alone, but its mode "
                            "is {:04o}; mend it with: chmod 600 {}",
                            info.st_mode & 07777, path),
                path);
  }
  token.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  const auto is_blank = [](unsigned char c) { return c <= ' '; };
  token.erase(std::find_if_not(token.rbegin(), token.rend(), is_blank).base(), token.end());
  token.erase(token.begin(), std::find_if_not(token.begin(), token.end(), is_blank));
  if (token.size() < kTokenBytesMin || std::any_of(token.begin(), token.end(), is_blank)) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("a token is one word of at least {} characters; make one with: "
                            "(umask 077; head -c 32 /dev/urandom | base64 > {})",
                            kTokenBytesMin, path),
                path);
  }
  return token;
}

}  // namespace farspan::control
