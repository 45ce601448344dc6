// Connection: one accepted socket as cpp-httplib's server wants to see it, with the bounds that the
// library lacks: a deadline for the whole request (not for each byte of it), a limit on all bytes
// read, and an end when the server stops.
#pragma once

#include <httplib.h>

#include <array>
#include <chrono>
#include <string>

namespace farspan::control {

class Connection : public httplib::Stream {
 public:
  // Owns `fd` (non-blocking). `stop_fd` becomes readable, and stays so, when the server stops.
  Connection(int fd, int stop_fd, std::chrono::milliseconds patience, size_t read_bytes_max);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* data, size_t size) override;         // -1: too late, too much, or stopped
  ssize_t write(const char* data, size_t size) override;  // all of it, or -1
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return fd_; }

  // Ends the sending side and discards what the peer still sends, for a moment: closing with unread
  // data would take the response from the peer before it has read it.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  bool wait(short events) const;
  ssize_t fill();

  const int fd_;
  const int stop_fd_;
  const std::chrono::milliseconds patience_;
  Clock::time_point deadline_;
  size_t budget_;
  bool writing_ = false;
  std::array<char, 4096> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace farspan::control
