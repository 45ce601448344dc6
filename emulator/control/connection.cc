#include "emulator/control/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace farspan::control {
namespace {
constexpr std::chrono::milliseconds kFinishPatience{200};
constexpr size_t kFinishBytesMax = 1u << 20;
}  // namespace

Connection::Connection(int fd, int stop_fd, std::chrono::milliseconds patience,
                       size_t read_bytes_max)
    : fd_(fd),
      stop_fd_(stop_fd),
      patience_(patience),
      deadline_(Clock::now() + patience),
      budget_(read_bytes_max) {}

Connection::~Connection() { close(fd_); }

bool Connection::wait(short events) const {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now());
    if (left.count() <= 0) return false;
    pollfd fds[] = {{fd_, events, 0}, {stop_fd_, POLLIN, 0}};
    const int ready = poll(fds, 2, static_cast<int>(left.count()));
    if (ready < 0 && errno == EINTR) continue;
    return ready > 0 && fds[1].revents == 0;
  }
}

bool Connection::is_readable() const { return begin_ < end_ || wait(POLLIN); }
bool Connection::is_writable() const { return wait(POLLOUT); }

ssize_t Connection::fill() {
  const size_t room = std::min(buffer_.size(), budget_);
  if (room == 0) return -1;
  for (;;) {
    if (!wait(POLLIN)) return -1;
    const ssize_t got = recv(fd_, buffer_.data(), room, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return got;
    budget_ -= static_cast<size_t>(got);
    begin_ = 0;
    end_ = static_cast<size_t>(got);
    return got;
  }
}

ssize_t Connection::read(char* data, size_t size) {
  if (begin_ == end_) {
    const ssize_t got = fill();
    if (got <= 0) return got;
  }
  const size_t n = std::min(size, end_ - begin_);
  std::copy_n(buffer_.data() + begin_, n, data);
  begin_ += n;
  return static_cast<ssize_t>(n);
}

ssize_t Connection::write(const char* data, size_t size) {
  if (!writing_) {
    writing_ = true;
    deadline_ = Clock::now() + patience_;
  }
  size_t sent = 0;
  while (sent < size) {
    const ssize_t n = send(fd_, data + sent, size - sent, MSG_NOSIGNAL);
    if (n >= 0) {
      sent += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      if (!wait(POLLOUT)) return -1;
    } else if (errno != EINTR) {
      return -1;
    }
  }
  return static_cast<ssize_t>(size);
}

void Connection::finish() {
  shutdown(fd_, SHUT_WR);
  deadline_ = Clock::now() + kFinishPatience;
  budget_ = kFinishBytesMax;
  while (fill() > 0) {
  }
}

// Nothing here asks who the peer is: the address and the token decide.
void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  ip.clear();
  port = 0;
}
void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  ip.clear();
  port = 0;
}

}  // namespace farspan::control
