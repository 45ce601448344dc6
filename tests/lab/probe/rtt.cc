#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "tests/lab/probe/analysis.h"
#include "tests/lab/probe/modes.h"
#include "tests/lab/probe/packet.h"
#include "tests/lab/probe/socket.h"

namespace farspan::probe {
namespace {

struct RoundTrip {
  std::vector<int64_t> total;
  std::vector<int64_t> forward;
  std::vector<int64_t> backward;
};

// Waits until `deadline` for answers.
void Collect(const Socket& socket, int64_t deadline, uint32_t count, RoundTrip& result) {
  std::vector<std::byte> buffer(kPacketBytesMax);
  while (NowNs() < deadline && result.total.size() < count && !Stopping()) {
    const int64_t wait = std::max<int64_t>(deadline - NowNs(), 0);
    const timespec timeout{.tv_sec = wait / 1'000'000'000, .tv_nsec = wait % 1'000'000'000};
    pollfd poll_for{.fd = socket.fd(), .events = POLLIN, .revents = 0};
    if (ppoll(&poll_for, 1, &timeout, nullptr) <= 0) continue;
    const ssize_t bytes = recv(socket.fd(), buffer.data(), buffer.size(), 0);
    const int64_t now = NowNs();
    if (bytes < 0) continue;
    const auto packet = Read({buffer.data(), static_cast<size_t>(bytes)});
    if (!packet) continue;
    result.total.push_back(now - packet->sent_ns);
    result.forward.push_back(packet->reflected_ns - packet->sent_ns);
    result.backward.push_back(now - packet->reflected_ns);
  }
}

}  // namespace

nlohmann::json Reflect(uint16_t port, double seconds_max) {
  Socket socket;
  socket.set_buffers(4 << 20);
  socket.set_receive_timeout(20);
  socket.bind(port);
  std::fprintf(stderr, "ready\n");
  const auto end = NowNs() + static_cast<int64_t>(seconds_max * 1e9);
  std::vector<std::byte> buffer(kPacketBytesMax);
  uint64_t reflected = 0;
  while (NowNs() < end && !Stopping()) {
    sockaddr_in from{};
    socklen_t size = sizeof(from);
    const ssize_t bytes = recvfrom(socket.fd(), buffer.data(), buffer.size(), 0,
                                   reinterpret_cast<sockaddr*>(&from), &size);
    if (bytes < 0) {
      if (errno == EAGAIN || errno == EINTR) continue;
      Die("recvfrom");
    }
    const std::span<std::byte> datagram(buffer.data(), static_cast<size_t>(bytes));
    auto packet = Read(datagram);
    if (!packet) continue;
    packet->reflected_ns = NowNs();
    Write(*packet, datagram);
    sendto(socket.fd(), datagram.data(), datagram.size(), 0, reinterpret_cast<sockaddr*>(&from),
           size);
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
  RoundTrip result;
  std::vector<std::byte> datagram(options.bytes);
  const auto interval = static_cast<int64_t>(options.interval_s * 1e9);
  const int64_t start = NowNs();
  uint32_t sent = 0;
  for (; sent < options.count && !Stopping(); ++sent) {
    Write({.sequence = sent, .sent_ns = NowNs()}, datagram);
    send(socket.fd(), datagram.data(), datagram.size(), 0);
    Collect(socket, start + (sent + 1) * interval, options.count, result);
  }
  Collect(socket, NowNs() + static_cast<int64_t>(options.timeout_s * 1e9), sent, result);
  return {{"schema", "farspan.probe.rtt.v1"},
          {"sent", sent},
          {"received", result.total.size()},
          {"rtt_ns", ToJson(Summarise(result.total))},
          {"forward_ns", ToJson(Summarise(result.forward))},
          {"backward_ns", ToJson(Summarise(result.backward))}};
}

}  // namespace farspan::probe
