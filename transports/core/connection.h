// Connection: what both halves of a Span connection have in common.
//
// Identity, negotiated settings, sealing and opening of packets, numbers and replay of control
// packets, the control packets that wait to be sent, silence and closing. Sender and Receiver are
// its two kinds. Threading: one thread. Nothing allocates after construction.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "emulator/base/time.h"
#include "transports/core/endpoint.h"
#include "transports/core/span_config.h"
#include "transports/core/wire.h"

namespace farspan::transport {

// A peer that owes something is asked at least this often before it is given up.
inline constexpr int64_t kProbesPerTimeout = 16;

// Hints for poll_event; the oldest is forgotten when nobody asks.
class EventQueue {
 public:
  explicit EventQueue(size_t capacity) : events_(capacity) {}
  void push(Event event);
  std::optional<Event> pop();

 private:
  std::vector<Event> events_;
  uint64_t head_ = 0;
  uint64_t tail_ = 0;
};

// Composed packets on their way out; the oldest goes when there are too many.
struct ControlPacket {
  // As the datagram that leaves now; counts it.
  void fill(TimeNs now, bool with_mac, TxSlot& slot, SpanCounters& counters) const;

  std::array<uint8_t, TxSlot::kMaxHeader> bytes;
  uint32_t size = 0;
  uint64_t mac = 0;
  Route route;
};
class ControlQueue {
 public:
  ControlPacket& push();
  bool empty() const { return head_ == tail_; }
  ControlPacket& pop() { return packets_[head_++ % kCapacity]; }

 private:
  static constexpr size_t kCapacity = 32;
  std::vector<ControlPacket> packets_ = std::vector<ControlPacket>(kCapacity);
  uint64_t head_ = 0;
  uint64_t tail_ = 0;
};

// Which of the last 64 numbers have been seen.
class ReplayWindow {
 public:
  uint64_t expected() const { return next_; }
  bool fresh(uint64_t number) const;
  void accept(uint64_t number);

 private:
  uint64_t next_ = 0;
  uint64_t seen_ = 0;  // bit i: next_ - 1 - i
};

struct ConnectionSetup {
  CommId comm;
  uint64_t own_id = 0;
  uint64_t peer_id = 0;
  uint32_t paths = 1;
  uint32_t payload_bytes = 0;
  uint32_t window = 0;
  bool payload_crc = false;
  bool in_order = false;
  uint64_t first_number = 0;
  TimeNs rtt{};
};

// A received packet whose checksum holds and that is for this connection.
struct Packet {
  TimeNs at{};
  const Route* route = nullptr;
  Header header;
  std::span<const uint8_t> header_bytes;
  std::span<const uint8_t> payload;  // empty where lengths_only
  uint32_t payload_bytes = 0;
  uint64_t mac = 0;
  bool ecn_marked = false;
};

class Connection {
 public:
  Connection(const SpanConfig& config, const ConnectionSetup& setup, EventQueue& events,
             SpanCounters& counters, TimeNs now);
  virtual ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  CommId comm() const { return setup_.comm; }
  uint64_t own_id() const { return setup_.own_id; }
  bool covers_payload() const { return setup_.payload_crc; }
  CommState state() const { return state_; }
  const std::string& failure() const { return failure_; }
  // Closed by the user, the peer knows or has been told often enough, nothing is left to be said,
  // and the driver holds no slot whose payload it still has to read.
  bool gone() const { return gone_ && held_slots_ == 0 && control_.empty(); }

  Drop on_packet(const Packet& packet);
  void on_timeout(TimeNs now);
  void on_trouble(TimeNs now, const Trouble& trouble);
  TimeNs next_deadline() const;
  // One datagram that leaves at `horizon` or before; false if there is none.
  bool transmit(TimeNs now, TimeNs horizon, TxSlot& slot);
  void report_sent(uint64_t id, TimeNs actual);
  void close(TimeNs now, Reason reason = Reason::kNone);
  void fail(TimeNs now, std::string why, Reason reason);

  virtual std::optional<uint64_t> post(TimeNs now, const Buffer& buffer, uint32_t tag) = 0;
  virtual Completion test(uint64_t message) = 0;

 protected:
  // Numbers, composes and seals; `path` says which route it takes.
  void send_control(Header header, uint32_t path);
  void seal(const Header& header, uint64_t number, TxSlot& slot, uint32_t id_bits);
  void owe(TimeNs now);  // something is pending from now on that was not
  uint64_t mac_of(std::span<const uint8_t> header, std::span<const uint8_t> payload,
                  uint64_t number) const;

  virtual bool pending() const = 0;
  virtual void fail_requests() = 0;
  // Control packets have been checked for replay; data and parity are the receiver's to check.
  virtual Drop on_body(const Packet& packet, uint64_t number) = 0;
  virtual uint64_t expected_number(const Header& /*header*/) const { return 0; }
  virtual void on_deadline(TimeNs now) = 0;
  virtual TimeNs own_deadline() const = 0;
  virtual bool transmit_data(TimeNs /*now*/, TimeNs /*horizon*/, TxSlot& /*slot*/) { return false; }
  virtual void on_sent(uint64_t /*id*/, TimeNs /*actual*/) {}
  // What the peer must know before it hears a CLOSE.
  virtual void say_last(TimeNs /*now*/) {}

  const SpanConfig& config_;
  const ConnectionSetup setup_;
  EventQueue& events_;
  SpanCounters& counters_;
  std::array<Route, kMaxPaths> routes_{};
  TimeNs heard_at_;  // when the peer last sent something acceptable

 private:
  TimeNs silence_limit() const { return std::max(heard_at_, owed_since_) + config_.timeout; }
  void begin_close(TimeNs now, Reason reason);
  void send_close(TimeNs now);

  CommState state_ = CommState::kReady;
  std::string failure_;
  std::string trouble_;  // what the driver could last not do for us
  TimeNs trouble_at_{INT64_MIN};
  ControlQueue control_;
  struct ControlNumbers {
    uint64_t next = 0;
    ReplayWindow seen;
  };
  std::array<ControlNumbers, kMaxPaths> control_numbers_{};
  TimeNs owed_since_;
  bool closing_ = false;
  bool gone_ = false;
  uint32_t held_slots_ = 0;  // by the driver: with an id, not reported sent
  Reason close_reason_ = Reason::kNone;
  int closes_left_ = 0;
  TimeNs close_at_ = kNever;
  TimeNs close_wait_{};
};

}  // namespace farspan::transport
