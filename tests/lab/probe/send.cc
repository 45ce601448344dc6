#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <vector>

#include "tests/lab/probe/modes.h"
#include "tests/lab/probe/packet.h"
#include "tests/lab/probe/socket.h"

namespace farspan::probe {
namespace {

constexpr int64_t kCatchUpNs = 2'000'000;

void SleepNs(int64_t ns) {
  const timespec time{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
  nanosleep(&time, nullptr);
}

// A batch of equal datagrams with everything sendmmsg wants to point to.
class Batch {
 public:
  Batch(uint32_t size, uint32_t bytes)
      : bytes_(bytes), memory_(size_t{size} * bytes), vectors_(size), messages_(size) {
    for (uint32_t i = 0; i < size; ++i) {
      vectors_[i] = {.iov_base = &memory_[size_t{i} * bytes], .iov_len = bytes};
      messages_[i].msg_hdr.msg_iov = &vectors_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }

  void stamp(uint64_t first, uint32_t count, int64_t now) {
    for (uint32_t i = 0; i < count; ++i) {
      Write({.sequence = first + i, .sent_ns = now}, {&memory_[size_t{i} * bytes_], bytes_});
    }
  }

  uint32_t send(int fd, uint32_t count) {
    const int sent = sendmmsg(fd, messages_.data(), count, 0);
    if (sent >= 0) return static_cast<uint32_t>(sent);
    if (errno == EINTR || errno == ENOBUFS || errno == EAGAIN) return 0;
    Die("sendmmsg");
  }

 private:
  uint32_t bytes_;
  std::vector<std::byte> memory_;
  std::vector<iovec> vectors_;
  std::vector<mmsghdr> messages_;
};

void WriteTrace(const std::string& path, const std::vector<int64_t>& sent_ns) {
  std::ofstream file(path);
  file << "sequence,sent_ns\n";
  for (size_t i = 0; i < sent_ns.size(); ++i) file << i << ',' << sent_ns[i] << '\n';
  file.close();
  if (!file) Die("writing " + path);
}

}  // namespace

nlohmann::json Send(const SendOptions& options) {
  prctl(PR_SET_TIMERSLACK, 1);
  Socket socket;
  socket.set_buffers(4 << 20);
  socket.set(IPPROTO_IP, IP_TOS, options.tos, "IP_TOS");
  socket.set(SOL_SOCKET, SO_NO_CHECK, 1, "SO_NO_CHECK");
  const sockaddr_in to = ResolveAddress(options.to, options.port);
  if (connect(socket.fd(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0) {
    Die("connect");
  }

  Batch batch(options.batch, options.bytes);
  std::vector<int64_t> sent_ns;
  if (!options.trace.empty()) sent_ns.reserve(options.count);
  const double interval_ns = 1e9 / options.packets_per_s;
  int64_t start = NowNs();
  const int64_t first = start;
  int64_t slipped = 0;
  const auto end = start + static_cast<int64_t>(options.seconds_max * 1e9);
  uint64_t sent = 0;
  int64_t now = start;
  while (sent < options.count && now < end && !Stopping()) {
    const auto due = start + static_cast<int64_t>(static_cast<double>(sent) * interval_ns);
    if (now < due) {
      SleepNs(due - now);
      now = NowNs();
      continue;
    }
    if (const int64_t late = now - due; late > kCatchUpNs) {
      // Whoever kept this program from running must not turn a steady stream into a burst.
      start += late;
      slipped += late;
    }
    const auto ready = static_cast<uint64_t>(static_cast<double>(now - start) / interval_ns) + 1;
    const auto count = static_cast<uint32_t>(
        std::clamp<uint64_t>(std::min(ready, options.count) - sent, 1, options.batch));
    now = NowNs();
    batch.stamp(sent, count, now);
    const uint32_t accepted = batch.send(socket.fd(), count);
    if (!options.trace.empty()) sent_ns.insert(sent_ns.end(), accepted, now);
    sent += accepted;
    now = NowNs();
  }
  if (!options.trace.empty()) WriteTrace(options.trace, sent_ns);
  const double seconds = static_cast<double>(now - first) * 1e-9;
  return {{"schema", "farspan.probe.send.v1"},
          {"sent", sent},
          {"seconds", seconds},
          {"start_ns", first},
          {"packets_per_s", static_cast<double>(sent) / seconds},
          {"payload_bytes", options.bytes},
          {"slipped_ns", slipped}};
}

}  // namespace farspan::probe
