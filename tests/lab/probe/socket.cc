#include "tests/lab/probe/socket.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace farspan::probe {
namespace {
volatile std::sig_atomic_t stopping = 0;
}  // namespace

void Die(const std::string& what) {
  std::fprintf(stderr, "farspan-probe: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(3);
}

sockaddr_in ResolveAddress(const std::string& address, uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  if (inet_pton(AF_INET, address.c_str(), &result.sin_addr) != 1) {
    errno = EINVAL;
    Die("'" + address + "' is not an IPv4 address");
  }
  return result;
}

Socket::Socket() : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  if (fd_ < 0) Die("socket");
}

Socket::~Socket() { close(fd_); }

void Socket::bind(uint16_t port) {
  const sockaddr_in address = ResolveAddress("0.0.0.0", port);
  if (::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    Die("bind to port " + std::to_string(port));
  }
}

void Socket::set(int level, int option, int value, const char* name) {
  if (setsockopt(fd_, level, option, &value, sizeof(value)) != 0) Die(name);
}

void Socket::set_buffers(int bytes) {
  for (const auto& [forced, plain] :
       {std::pair{SO_RCVBUFFORCE, SO_RCVBUF}, std::pair{SO_SNDBUFFORCE, SO_SNDBUF}}) {
    if (setsockopt(fd_, SOL_SOCKET, forced, &bytes, sizeof(bytes)) != 0) {
      set(SOL_SOCKET, plain, bytes, "socket buffer size");
    }
  }
}

void Socket::set_receive_timeout(int milliseconds) {
  const timeval timeout{.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000L};
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0) Die("SO_RCVTIMEO");
}

void Socket::stamp_arrivals() { set(SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS"); }

bool Stopping() { return stopping != 0; }

void CatchSignals() {
  struct sigaction action {};
  action.sa_handler = [](int) { stopping = 1; };  // without SA_RESTART: waits end at once
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace farspan::probe
