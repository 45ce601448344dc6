// The UDP sockets of the probe, IPv4 only; failures end the program with what and why.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>

namespace farspan::probe {

[[noreturn]] void Die(const std::string& what);  // exit 3, with errno's text

sockaddr_in ResolveAddress(const std::string& address, uint16_t port);

class Socket {
 public:
  Socket();
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int fd() const { return fd_; }
  void bind(uint16_t port);
  void set(int level, int option, int value, const char* name);
  // As much as asked for, if privileged; else as much as the system allows.
  void set_buffers(int bytes);
  void set_receive_timeout(int milliseconds);
  void stamp_arrivals();  // CLOCK_REALTIME, by the kernel, beside each datagram

 private:
  int fd_ = -1;
};

// True after SIGINT or SIGTERM, which CatchSignals asked for.
bool Stopping();
void CatchSignals();

}  // namespace farspan::probe
