#include "transports/nccl_window.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace farspan::nccl {
namespace {

constexpr uint64_t kMiB = 1u << 20;
constexpr double kSteps = 8;
constexpr double kP2pChunk = 128u << 10;
constexpr double kLlPayload = 256u << 10;
constexpr double kTcpWindowMax = 1u << 30;
constexpr uint32_t kDefaultTimeout = 20;
constexpr int kRetryCount = 7;

TimeNs TimeoutTime(uint32_t timeout) {
  return {static_cast<int64_t>(std::llround(4'096 * std::ldexp(1, static_cast<int>(timeout))))};
}

uint64_t UpToMiB(double bytes) {
  return static_cast<uint64_t>(std::ceil(bytes / static_cast<double>(kMiB))) * kMiB;
}

std::string Gbps(double bits_per_s) { return fmt::format("{:.3g} Gb/s", bits_per_s * 1e-9); }
std::string MiB(double bytes) {
  return fmt::format("{:.4g} MiB", bytes / static_cast<double>(kMiB));
}
std::string Ms(TimeNs time) {
  return fmt::format("{:.4g} ms", static_cast<double>(time.ns) * 1e-6);
}

}  // namespace

Answer Ask(const Question& q) {
  const double rtt = ToSeconds(q.rtt);
  const auto rate = static_cast<double>(q.rate.bits_per_s);
  const auto buffer = static_cast<double>(q.buffsize);
  const auto per_rtt = [rtt](double bytes) { return bytes * 8 / rtt; };
  Answer a;
  const double bdp = rate * rtt / 8;
  a.bdp_bytes = static_cast<uint64_t>(std::llround(bdp));
  a.simple_per_channel = per_rtt(buffer);
  a.ring_per_channel = per_rtt(buffer) * q.ranks / 2;
  a.sendrecv_per_channel = per_rtt(kSteps * kP2pChunk);
  a.ll_per_channel = per_rtt(kLlPayload);
  a.all_channels = std::min(rate, std::min(a.simple_per_channel, a.ring_per_channel) * q.channels);
  a.needed_buffsize = bdp / q.channels;
  a.set_buffsize = std::max(UpToMiB(a.needed_buffsize), 4 * kMiB);
  a.packets_per_qp = q.buffsize / q.mtu;
  a.needed_packets = static_cast<uint64_t>(std::ceil(bdp / q.mtu));
  a.tcp_buffer = UpToMiB(2 * bdp / (q.channels * q.sockets));
  a.tcp_per_socket = per_rtt(kTcpWindowMax);
  a.needed_sockets =
      static_cast<uint32_t>(std::max(1.0, std::ceil(rate / q.channels / a.tcp_per_socket)));
  // A timer of T may run for up to 4T; it must not end before an answer can have come.
  while (TimeoutTime(a.timeout).ns < q.rtt.ns && a.timeout < 31) ++a.timeout;
  a.timeout_time = TimeoutTime(a.timeout);
  a.give_up_time = {a.timeout_time.ns * (kRetryCount + 1)};
  return a;
}

std::string ToText(const Question& q, const Answer& a) {
  std::string text = fmt::format("NCCL over {} round trip at {}, {} channels, NCCL_BUFFSIZE {}\n\n",
                                 farspan::ToText(q.rtt), farspan::ToText(q.rate), q.channels,
                                 BytesToText(q.buffsize));
  const auto row = [&](std::string_view what, const std::string& value, std::string_view how) {
    fmt::format_to(std::back_inserter(text), "  {:<42}{:>14}   {}\n", what, value, how);
  };
  row("bandwidth-delay product", MiB(static_cast<double>(a.bdp_bytes)), "rate x RTT");
  text += "\nlimits of one channel\n";
  row("RDMA, SIMPLE", Gbps(a.simple_per_channel), "BUFFSIZE / RTT");
  row(fmt::format("ring of {} ranks over two sites", q.ranks), Gbps(a.ring_per_channel),
      "ranks x BUFFSIZE / (2 RTT), any transport");
  row("send/recv", Gbps(a.sendrecv_per_channel), "8 x 128 KiB / RTT");
  row("LL", Gbps(a.ll_per_channel), "256 KiB / RTT");
  row("all channels together", Gbps(a.all_channels), "channels x the least of RDMA and ring");
  text += "\nto fill the link by RDMA\n";
  row("BUFFSIZE needed", MiB(a.needed_buffsize), "rate x RTT / channels");
  row("NCCL_BUFFSIZE", fmt::format("{}", a.set_buffsize),
      fmt::format("{} MiB of GPU memory per channel and connection", a.set_buffsize / kMiB));
  row("packets in flight per QP, as it is", fmt::format("{}", a.packets_per_qp),
      fmt::format("BUFFSIZE / {} B", q.mtu));
  row("packets in flight needed, all QPs", fmt::format("{}", a.needed_packets), "rate x RTT / MTU");
  text += "\nto fill it by NCCL's sockets\n";
  row("tcp_rmem, tcp_wmem, greatest", fmt::format("{}", a.tcp_buffer),
      "2 x rate x RTT / (channels x sockets)");
  row("one socket, whatever its buffers", Gbps(a.tcp_per_socket), "TCP's window of 1 GiB / RTT");
  row("sockets per channel for that", fmt::format("{}", a.needed_sockets),
      "NCCL_SOCKET_NTHREADS x NCCL_NSOCKS_PERTHREAD");
  text += "\ntimers\n";
  row("NCCL_IB_TIMEOUT", fmt::format("{}", a.timeout),
      fmt::format("4.096 us x 2^{} = {}; NCCL's default is {}", a.timeout, Ms(a.timeout_time),
                  kDefaultTimeout));
  row("a dead link is noticed after", Ms(a.give_up_time),
      fmt::format("at least: (NCCL_IB_RETRY_CNT {} + 1) timeouts; up to 4 times that",
                  kRetryCount));
  text +=
      "\nThe NIC's own adaptive retransmission may come long before NCCL_IB_TIMEOUT, and before "
      "one\n"
      "RTT: docs/hardware.md says how to switch it off.\n";
  return text;
}

std::string ToJson(const Question& q, const Answer& a) {
  const nlohmann::ordered_json json{{"schema", "farspan.nccl.v1"},
                                    {"label", "model"},
                                    {"rtt_ns", q.rtt.ns},
                                    {"rate_bits_per_s", q.rate.bits_per_s},
                                    {"channels", q.channels},
                                    {"buffsize_bytes", q.buffsize},
                                    {"ranks", q.ranks},
                                    {"mtu_bytes", q.mtu},
                                    {"sockets_per_channel", q.sockets},
                                    {"bdp_bytes", a.bdp_bytes},
                                    {"simple_per_channel_bits_per_s", a.simple_per_channel},
                                    {"ring_per_channel_bits_per_s", a.ring_per_channel},
                                    {"sendrecv_per_channel_bits_per_s", a.sendrecv_per_channel},
                                    {"ll_per_channel_bits_per_s", a.ll_per_channel},
                                    {"all_channels_bits_per_s", a.all_channels},
                                    {"needed_buffsize_bytes", a.needed_buffsize},
                                    {"nccl_buffsize", a.set_buffsize},
                                    {"packets_per_qp", a.packets_per_qp},
                                    {"needed_packets", a.needed_packets},
                                    {"tcp_buffer_bytes", a.tcp_buffer},
                                    {"tcp_per_socket_bits_per_s", a.tcp_per_socket},
                                    {"needed_sockets_per_channel", a.needed_sockets},
                                    {"nccl_ib_timeout", a.timeout},
                                    {"timeout_ns", a.timeout_time.ns},
                                    {"give_up_ns", a.give_up_time.ns}};
  return json.dump(2) + "\n";
}

}  // namespace farspan::nccl
