// What NCCL can have in flight across a long link, and what to set so that it is enough.
//
// NCCL moves data through 8 slots (NCCL_STEPS) of NCCL_BUFFSIZE / 8 per channel; with RDMA a slot
// is free again when the far side's acknowledgement has come, so that a channel carries at most
// BUFFSIZE / RTT. A ring has the same limit once more, whatever the transport: each step waits for
// the one before it. Send/receive has slots of NCCL_P2P_NET_CHUNKSIZE (128 KiB); LL holds 512 KiB
// of which half are flags. Over sockets a send is done when the kernel has taken it: TCP's buffers
// are the window. Sources: NCCL 2.30.7 (src/transport/net.cc, net_ib/, net_socket.cc) and its user
// guide; Linux ip-sysctl (tcp_adv_win_scale 1: half of a receive buffer is window); RFC 7323 (a
// window is at most 1 GiB); InfiniBand Architecture, 9.7.6.1.3 (local ACK timeout).
// Units: bytes, bits/s, ns. Not modelled: plugins that complete a send early; loss; CPU.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emulator/base/time.h"
#include "emulator/base/units.h"

namespace farspan::nccl {

struct Question {
  TimeNs rtt{};
  Rate rate{};
  uint32_t channels = 16;
  uint64_t buffsize = 4u << 20;  // NCCL's default
  uint32_t ranks = 2;            // of a ring over two sites
  uint32_t mtu = 4096;           // RoCE's
  uint32_t sockets = 1;          // per channel: NCCL_SOCKET_NTHREADS x NCCL_NSOCKS_PERTHREAD
};

// All rates in bits/s, as real numbers: these are limits, not settings.
struct Answer {
  uint64_t bdp_bytes = 0;
  double simple_per_channel = 0;  // BUFFSIZE / RTT
  double ring_per_channel = 0;    // ranks x BUFFSIZE / (2 RTT)
  double sendrecv_per_channel = 0;
  double ll_per_channel = 0;
  double all_channels = 0;      // the lesser of simple and ring, at most the rate
  double needed_buffsize = 0;   // bytes, for the rate over these channels
  uint64_t set_buffsize = 0;    // the same in whole MiB
  uint64_t packets_per_qp = 0;  // in flight at most: buffsize / mtu
  uint64_t needed_packets = 0;  // in flight at the rate, all QPs
  uint64_t tcp_buffer = 0;      // tcp_rmem and tcp_wmem, for each socket
  double tcp_per_socket = 0;    // window of 1 GiB / RTT
  uint32_t needed_sockets = 0;  // per channel, for that limit alone
  uint32_t timeout = 20;        // NCCL_IB_TIMEOUT: NCCL's 20, or the least above 4 RTT
  TimeNs timeout_time{};        // 4.096 us x 2^timeout
  TimeNs give_up_time{};        // retry_cnt 7: 8 of them
};

Answer Ask(const Question& question);

std::string ToText(const Question& question, const Answer& answer);
// Schema "farspan.nccl.v1".
std::string ToJson(const Question& question, const Answer& answer);

}  // namespace farspan::nccl
