// ModelConfig: what a baseline's virtual-time model is asked to be, and what it counts.
#pragma once

#include <cstdint>
#include <string>

#include "emulator/base/time.h"
#include "transports/core/congestion.h"

namespace farspan::baselines {

// Verbs RC as NCCL's net_ib sets it up; defaults are NCCL's and a ConnectX's own.
struct RcConfig {
  bool selective = false;    // newer NICs: what is missing is sent again, not all after it
  uint32_t queue_pairs = 1;  // NCCL_IB_QPS_PER_CONNECTION
  bool split = false;        // NCCL_IB_SPLIT_DATA_ON_QPS; else requests take the QPs in turn
  uint32_t timeout = 20;     // NCCL_IB_TIMEOUT: T = 4.096 us x 2^timeout, waited for T to 4 T
  uint32_t retry_count = 7;  // NCCL_IB_RETRY_CNT
  bool adaptive = true;      // the NIC's adaptive retransmission:
  TimeNs adaptive_first{2'000'000};  // its first wait, which doubles up to T
  uint32_t ack_packets = 64;         // at most this many packets wait for an ACK
};

// Kernel TCP as NCCL's Socket transport uses it; defaults are Linux's.
struct TcpModelConfig {
  uint32_t sockets = 1;                      // NCCL_SOCKET_NTHREADS x NCCL_NSOCKS_PERTHREAD
  uint64_t send_buffer_bytes = 4u << 20;     // tcp_wmem's greatest
  uint64_t receive_buffer_bytes = 6u << 20;  // tcp_rmem's greatest; half of it is window
  uint32_t ack_packets = 2;
};

struct ModelConfig {
  std::string model = "rc-gbn";  // rc-gbn, rc-sr or tcp
  std::string congestion = "fixed";
  transport::ControllerConfig controller;  // rate and seed; the model fills in the rest
  uint32_t payload_bytes = 4096;           // of a full packet: the path MTU, or TCP's MSS
  uint32_t window_packets = 1u << 19;      // in flight per queue pair, a power of two
  uint32_t max_requests = 32;              // per comm
  uint32_t max_connections = 256;
  bool lengths_only = false;
  TimeNs timeout{10'000'000'000};       // of a handshake
  TimeNs handshake_retry{100'000'000};  // the first; doubles
  uint64_t seed = 1;
  RcConfig rc;
  TcpModelConfig tcp;
};

// Monotonic; of one endpoint. A packet received is counted once among data, duplicate, discarded,
// control and dropped.
struct ModelCounters {
  uint64_t data_sent = 0;  // packets; the first time
  uint64_t data_resent = 0;
  uint64_t control_sent = 0;
  uint64_t resent_bytes = 0;  // payload
  uint64_t data_received = 0;
  uint64_t received_bytes = 0;  // payload, each byte once
  uint64_t data_duplicate = 0;
  uint64_t data_discarded = 0;  // not next in order, where order is asked for, or beyond the window
  uint64_t control_received = 0;
  uint64_t dropped = 0;  // damaged, or for nobody
  uint64_t naks = 0;     // sent
  uint64_t timeouts = 0;
};

}  // namespace farspan::baselines
