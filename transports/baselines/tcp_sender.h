// TcpSender: one TCP connection at the side that sends; a model of what Linux does.
//
// Sources: RFC 9293; SACK (RFC 2018); loss by RACK (RFC 8985: a segment is lost once another that
// left later has come and three did, or a quarter of the least round trip has passed; the latter
// alone once reordering was seen) with its tail loss probe; retransmission timer after RFC 6298
// with Linux's floor of 200 ms above the round trip. Windows and pacing are a Controller's, fed by
// a Path of the connection's own. Segments keep their boundaries; the window is counted in bytes.
// What is written is copied, as the kernel does, and stays until it is acknowledged.
// Not modelled: Nagle (off in NCCL), DSACK, F-RTO, proportional rate reduction, slow start after
// idle time, segmentation offload, the CPU.
#pragma once

#include <deque>
#include <memory>

#include "transports/baselines/model_config.h"
#include "transports/baselines/range_set.h"
#include "transports/baselines/tcp_wire.h"
#include "transports/core/endpoint.h"
#include "transports/core/path.h"

namespace farspan::baselines {

class TcpSender {
 public:
  TcpSender(const ModelConfig& config, std::unique_ptr<transport::Path> path,
            ModelCounters& counters);

  // Bytes that the send buffer can still take.
  uint64_t room() const;
  void write(TimeNs now, TcpSegment segment);
  bool empty() const { return segments_.empty(); }

  // When the next segment may leave at the earliest; kNever: there is none, or no room for it.
  TimeNs departure(TimeNs now) const;
  struct Departing {
    const TcpSegment* segment = nullptr;
    uint64_t number = 0;
  };
  Departing take(TimeNs departure);

  void on_ack(TimeNs now, const TcpAck& ack, uint32_t marked);
  void on_timeout(TimeNs now);
  TimeNs deadline() const;
  // A probe of a shut window is due; asking clears it.
  bool take_probe();
  bool dead() const { return dead_; }
  uint64_t expand(uint32_t number) const;

 private:
  enum class State : uint8_t { kUnsent, kInFlight, kLost, kSacked };
  struct Entry {
    TcpSegment segment;
    State state = State::kUnsent;
    bool again = false;
    uint32_t wire_bytes = 0;
    uint64_t transmission = 0;  // counts all of the connection's
    TimeNs sent{};
    transport::DeliveryStamp stamp;
  };
  struct Transmission {
    uint64_t number = 0;
    uint64_t transmission = 0;
    TimeNs sent{};
  };
  // What one ACK brought, for the controller.
  struct Tally {
    uint64_t bytes = 0;
    uint32_t packets = 0;
    bool fresh = false;  // the newest was sent once only
    TimeNs sent{};
    transport::DeliveryStamp stamp;
    uint64_t transmission = 0;
  };

  Entry& entry(uint64_t number) { return segments_[number - oldest_]; }
  const Entry& entry(uint64_t number) const { return segments_[number - oldest_]; }
  uint64_t end() const { return oldest_ + segments_.size(); }
  uint64_t upcoming() const;
  bool in_flight() const { return flying_ != 0; }
  void deliver(uint64_t number, Tally& tally);
  void tell_path(TimeNs now, const Tally& tally, uint32_t marked);
  void find_losses(TimeNs now);
  bool is_lost(const Transmission& flight, TimeNs now) const;
  void lose(TimeNs now, uint64_t number);
  void prune_lost();
  void send_tail_probe();
  void retransmit_all(TimeNs now);
  TimeNs retransmission_wait() const;
  void arm(TimeNs now);

  const ModelConfig& config_;
  const std::unique_ptr<transport::Path> path_;
  ModelCounters& counters_;
  std::deque<Entry> segments_;  // from oldest_ on: not acknowledged, or not sent
  RangeSet sacked_;
  std::deque<uint64_t> lost_;         // to be sent again
  std::deque<Transmission> flights_;  // in the order of departure
  uint64_t oldest_ = 0;
  uint64_t next_ = 0;          // never sent
  uint64_t written_ = 0;       // bytes, of the stream
  uint64_t acknowledged_ = 0;  // bytes
  uint64_t window_ = 0;        // byte not to be passed
  uint64_t flying_ = 0;        // segments
  uint64_t transmissions_ = 0;
  uint64_t newest_delivered_ = 0;  // transmission, one past
  TimeNs newest_rtt_{};            // what it took
  bool reordering_ = false;
  TimeNs reorder_at_ = kNever;  // when time alone declares the next loss
  TimeNs timer_ = kNever;
  bool timer_probes_ = false;  // the timer is the tail loss probe's
  bool tail_probed_ = false;
  bool probe_due_ = false;
  uint32_t backoff_ = 0;
  TimeNs progress_at_{};
  bool dead_ = false;
};

}  // namespace farspan::baselines
