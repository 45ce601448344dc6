// RcRequester: one direction of an RC queue pair, at the side that sends.
//
// Source: InfiniBand Architecture, 9.7 (PSNs, ACK and NAK, retries; 9.7.6.1.3 the local ACK
// timeout: T = 4.096 us x 2^timeout, detected after T to 4 T) and NVIDIA's adaptive retransmission
// (a first wait of milliseconds that doubles up to T, whatever the round trip). A NAK makes it go
// back to the packet named (go-back-N) or send the gap again (selective); a timeout makes it go
// back to the oldest packet that is not acknowledged. Both consume a retry (a selective NAK does
// not: it tells that later packets have come), and progress gives the retries back; when there are
// none left, the queue pair has failed.
//
// PSNs are 64 bits here and 32 on the wire (24 in IBTA): nothing depends on their width. Pacing and
// congestion control are the path's, which all queue pairs to one place share, as they share the
// NIC's port. Not modelled: flow control by credits (RNR), what a NIC's scheduler does between
// queue pairs, congestion notification packets (marks are counted in ACKs).
#pragma once

#include <deque>
#include <optional>

#include "emulator/base/random.h"
#include "transports/baselines/model_config.h"
#include "transports/core/endpoint.h"
#include "transports/core/path.h"

namespace farspan::baselines {

// A work request: a RDMA WRITE, or its piece for this queue pair.
struct RcWork {
  uint64_t message = 0;
  uint64_t offset = 0;  // in the message
  uint64_t bytes = 0;   // of this piece
  uint64_t message_bytes = 0;
  uint32_t inline_bytes = 0;  // CTS only: in the header
  uint32_t tag = 0;           // CTS only
  transport::PayloadRef data;
  uint64_t first = 0;    // PSN
  uint64_t packets = 0;  // at least one

  uint64_t last() const { return first + packets - 1; }
};

class RcRequester {
 public:
  RcRequester(const ModelConfig& config, transport::Path* path, StreamKey key,
              ModelCounters& counters);
  ~RcRequester();
  RcRequester(const RcRequester&) = delete;
  RcRequester& operator=(const RcRequester&) = delete;

  void post(RcWork work);
  // When the next packet may leave at the earliest; kNever: there is none, or no room for it.
  TimeNs departure(TimeNs now) const;
  struct Packet {
    const RcWork* work = nullptr;
    uint64_t number = 0;
    uint32_t bytes = 0;  // of payload
    bool ack = false;    // asks for one
  };
  Packet take(TimeNs departure);

  // All before `expected` have arrived.
  void on_ack(TimeNs now, uint64_t expected, uint32_t marked);
  // The `count` packets from `first` on have not, and later ones have.
  void on_nak(TimeNs now, uint64_t first, uint64_t count);
  void on_timeout(TimeNs now);
  TimeNs deadline() const { return timer_; }
  bool exhausted() const { return exhausted_; }
  std::optional<RcWork> pop_complete();
  uint64_t expand(uint32_t number) const;
  uint64_t in_flight() const { return next_ - oldest_; }

 private:
  struct SentPacket {
    TimeNs sent{};
    transport::DeliveryStamp stamp;
    uint32_t wire_bytes = 0;  // 0: not in flight
    bool again = false;
  };

  const RcWork& work_of(uint64_t number) const;
  uint32_t payload_of(const RcWork& work, uint64_t number) const;
  uint32_t wire_bytes(uint64_t number) const;
  uint64_t upcoming() const { return repairs_.empty() ? next_ : repairs_.front(); }
  void lose(TimeNs now, uint64_t number);
  void go_back(TimeNs now, uint64_t number);
  void spend_retry();
  void arm(TimeNs now);

  const ModelConfig& config_;
  transport::Path* const path_;
  const StreamKey key_;
  ModelCounters& counters_;
  std::deque<RcWork> works_;     // not completely acknowledged, or not yet told
  size_t complete_ = 0;          // of works_
  std::deque<SentPacket> sent_;  // from oldest_ on
  std::deque<uint64_t> repairs_;
  uint64_t oldest_ = 0;  // not acknowledged
  uint64_t next_ = 0;    // to be sent, in order
  uint64_t end_ = 0;     // one past the last that was posted
  bool ask_ = false;     // the next packet asks for an ACK
  TimeNs timer_ = kNever;
  uint64_t draws_ = 0;
  uint32_t retries_ = 0;
  uint32_t level_ = 0;  // of the adaptive wait
  bool exhausted_ = false;
};

// Length of a packet's header: model_wire.h's, RETH where it stands, immediate data.
uint32_t RcHeaderBytes(const ModelConfig& config, const RcWork& work, uint64_t number);

}  // namespace farspan::baselines
