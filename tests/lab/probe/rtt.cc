#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "tests/lab/probe/analysis.h"
#include "tests/lab/probe/ancillary.h"
#include "tests/lab/probe/modes.h"
#include "tests/lab/probe/packet.h"
#include "tests/lab/probe/socket.h"

namespace farspan::probe {
namespace {

// One datagram at a time, with its time of arrival.
class Inbox {
 public:
  struct Arrival {
    std::span<std::byte> datagram;
    sockaddr_in from;
    int64_t received_ns;
  };

  explicit Inbox(Socket& socket) : socket_(socket), memory_(kPacketBytesMax) {
    socket_.stamp_arrivals();
  }

  // Nothing if a signal or the socket's timeout came first.
  std::optional<Arrival> receive() {
    Arrival arrival{};
    iovec vector{.iov_base = memory_.data(), .iov_len = memory_.size()};
    msghdr message{.msg_name = &arrival.from,
                   .msg_namelen = sizeof(arrival.from),
                   .msg_iov = &vector,
                   .msg_iovlen = 1,
                   .msg_control = control_.data(),
                   .msg_controllen = control_.size(),
                   .msg_flags = 0};
    const ssize_t bytes = recvmsg(socket_.fd(), &message, 0);
    if (bytes < 0) {
      if (errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED) return std::nullopt;
      Die("recvmsg");
    }
    arrival.received_ns = NowOnBothClocks().arrival_ns(ReadAncillary(message));
    arrival.datagram = {memory_.data(), static_cast<size_t>(bytes)};
    return arrival;
  }

 private:
  Socket& socket_;
  std::vector<std::byte> memory_;
  alignas(cmsghdr) std::array<std::byte, kControlBytes> control_{};
};

struct RoundTrip {
  std::vector<int64_t> total;
  std::vector<int64_t> forward;
  std::vector<int64_t> backward;
};

// Waits until `deadline` for answers.
void Collect(const Socket& socket, Inbox& inbox, int64_t deadline, uint32_t count,
             RoundTrip& result) {
  while (NowNs() < deadline && result.total.size() < count && !Stopping()) {
    const int64_t wait = std::max<int64_t>(deadline - NowNs(), 0);
    const timespec timeout{.tv_sec = wait / 1'000'000'000, .tv_nsec = wait % 1'000'000'000};
    pollfd poll_for{.fd = socket.fd(), .events = POLLIN, .revents = 0};
    if (ppoll(&poll_for, 1, &timeout, nullptr) <= 0) continue;
    const auto arrival = inbox.receive();
    const auto packet = arrival ? Read(arrival->datagram) : std::nullopt;
    if (!packet) continue;
    const int64_t forward = packet->received_ns - packet->sent_ns;
    const int64_t backward = arrival->received_ns - packet->reflected_ns;
    result.total.push_back(forward + backward);
    result.forward.push_back(forward);
    result.backward.push_back(backward);
  }
}

}  // namespace

nlohmann::json Reflect(uint16_t port, double seconds_max) {
  Socket socket;
  socket.set_buffers(4 << 20);
  socket.set_receive_timeout(20);
  socket.bind(port);
  Inbox inbox(socket);
  std::fprintf(stderr, "ready\n");
  const auto end = NowNs() + static_cast<int64_t>(seconds_max * 1e9);
  uint64_t reflected = 0;
  while (NowNs() < end && !Stopping()) {
    const auto arrival = inbox.receive();
    auto packet = arrival ? Read(arrival->datagram) : std::nullopt;
    if (!packet) continue;
    packet->received_ns = arrival->received_ns;
    packet->reflected_ns = NowNs();
    Write(*packet, arrival->datagram);
    sendto(socket.fd(), arrival->datagram.data(), arrival->datagram.size(), 0,
           reinterpret_cast<const sockaddr*>(&arrival->from), sizeof(arrival->from));
    ++reflected;
  }
  return {{"schema", "farspan.probe.reflect.v1"}, {"reflected", reflected}};
}

nlohmann::json MeasureRtt(const RttOptions& options) {
  prctl(PR_SET_TIMERSLACK, 1);
  Socket socket;
  const sockaddr_in to = ResolveAddress(options.to, options.port);
  if (connect(socket.fd(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0) {
    Die("connect");
  }
  Inbox inbox(socket);
  RoundTrip result;
  std::vector<std::byte> datagram(options.bytes);
  const auto interval = static_cast<int64_t>(options.interval_s * 1e9);
  const int64_t start = NowNs();
  uint32_t sent = 0;
  for (; sent < options.count && !Stopping(); ++sent) {
    Write({.sequence = sent, .sent_ns = NowNs()}, datagram);
    send(socket.fd(), datagram.data(), datagram.size(), 0);
    Collect(socket, inbox, start + (sent + 1) * interval, options.count, result);
  }
  Collect(socket, inbox, NowNs() + static_cast<int64_t>(options.timeout_s * 1e9), sent, result);
  return {{"schema", "farspan.probe.rtt.v1"},
          {"sent", sent},
          {"received", result.total.size()},
          {"rtt_ns", ToJson(Summarise(result.total))},
          {"forward_ns", ToJson(Summarise(result.forward))},
          {"backward_ns", ToJson(Summarise(result.backward))}};
}

}  // namespace farspan::probe
