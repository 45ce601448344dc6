#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <vector>

#include "tests/lab/probe/analysis.h"
#include "tests/lab/probe/ancillary.h"
#include "tests/lab/probe/modes.h"
#include "tests/lab/probe/packet.h"
#include "tests/lab/probe/socket.h"

namespace farspan::probe {
namespace {

constexpr uint32_t kBurst = 64;

class Receiver {
 public:
  explicit Receiver(const ReceiveOptions& options)
      : options_(options),
        memory_(kBurst * kPacketBytesMax),
        control_(kBurst * kControlBytes),
        vectors_(kBurst),
        messages_(kBurst) {
    socket_.set_buffers(64 << 20);
    socket_.stamp_arrivals();
    socket_.set(IPPROTO_IP, IP_RECVTOS, 1, "IP_RECVTOS");
    socket_.set_receive_timeout(20);
    socket_.bind(options.port);
    samples_.reserve(options.expected);
  }

  void run() {
    const int64_t start = NowNs();
    const auto end = start + static_cast<int64_t>(options_.seconds_max * 1e9);
    const auto idle = static_cast<int64_t>(options_.idle_s * 1e9);
    int64_t last = 0;
    for (int64_t now = start; now < end && !Stopping(); now = NowNs()) {
      if (receive_burst()) {
        last = now;
      } else if (last != 0 && now - last > idle) {
        break;
      }
    }
  }

  nlohmann::json report() const {
    nlohmann::json result = ToJson(Analyse(samples_), options_.gaps_max);
    result["schema"] = "farspan.probe.receive.v1";
    result["corrupted"] = corrupted_;
    return result;
  }

  void write_trace() const {
    std::ofstream file(options_.trace);
    file << "sequence,sent_ns,received_ns,tos\n";
    for (const Sample& s : samples_) {
      file << s.sequence << ',' << s.sent_ns << ',' << s.received_ns << ',' << int{s.tos} << '\n';
    }
    file.close();
    if (!file) Die("writing " + options_.trace);
  }

 private:
  bool receive_burst() {
    for (uint32_t i = 0; i < kBurst; ++i) {
      vectors_[i] = {.iov_base = &memory_[i * kPacketBytesMax], .iov_len = kPacketBytesMax};
      messages_[i].msg_hdr = {.msg_name = nullptr,
                              .msg_namelen = 0,
                              .msg_iov = &vectors_[i],
                              .msg_iovlen = 1,
                              .msg_control = &control_[i * kControlBytes],
                              .msg_controllen = kControlBytes,
                              .msg_flags = 0};
    }
    const int count = recvmmsg(socket_.fd(), messages_.data(), kBurst, MSG_WAITFORONE, nullptr);
    if (count < 0) {
      if (errno == EAGAIN || errno == EINTR) return false;
      Die("recvmmsg");
    }
    const ClockPair now = NowOnBothClocks();
    for (int i = 0; i < count; ++i) record(i, now);
    return count > 0;
  }

  void record(int index, const ClockPair& now) {
    const Ancillary ancillary = ReadAncillary(messages_[index].msg_hdr);
    const uint32_t bytes = messages_[index].msg_len;
    const auto packet = Read({&memory_[index * kPacketBytesMax], bytes});
    if (!packet) {
      ++corrupted_;
      return;
    }
    samples_.push_back(
        {packet->sequence, packet->sent_ns, now.arrival_ns(ancillary), bytes, ancillary.tos});
  }

  ReceiveOptions options_;
  Socket socket_;
  std::vector<std::byte> memory_;
  std::vector<std::byte> control_;
  std::vector<iovec> vectors_;
  std::vector<mmsghdr> messages_;
  std::vector<Sample> samples_;
  uint64_t corrupted_ = 0;
};

}  // namespace

nlohmann::json Receive(const ReceiveOptions& options) {
  Receiver receiver(options);
  std::fprintf(stderr, "ready\n");
  receiver.run();
  if (!options.trace.empty()) receiver.write_trace();
  return receiver.report();
}

}  // namespace farspan::probe
