// Receiver: the receiving half of a connection.
//
// Places payload at its message's buffer, decodes blocks as soon as they have enough symbols, and
// acknowledges. An ACK says of one path which numbers arrived (`high` down to `low`, but gaps),
// and of the connection how many messages are complete, what is missing first in the next one, and
// how many receives are posted: all of it facts that stay true, so ACKs may be lost, repeated and
// overtaken.
//
// An ACK is composed for a path when ack_packets wait for one, when one has waited for RTT /
// ack_per_rtt (or a quarter of the driver's granularity, if that is longer), at a gap, at a
// message's end, and when the sender evidently does not know that a message is complete; after a
// message's end and after a receive is posted it is repeated twice. It is composed at the packet
// that causes it, so that it does not matter how packets are batched.
//
// Data is matched to receives by message number; beyond the receives posted it is dropped and not
// acknowledged. Parity that cannot be stored is not acknowledged either: the sender may count on
// every symbol that was.
//
// Threading: one thread. Nothing allocates after construction: memory is paths x window / 8, plus
// requests x paths x window / 8, plus the parity store.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "transports/core/bit_ring.h"
#include "transports/core/connection.h"
#include "transports/core/erasure_code.h"
#include "transports/core/lazy_array.h"

namespace farspan::transport {

class Receiver final : public Connection {
 public:
  Receiver(const SpanConfig& config, const ConnectionSetup& setup, EventQueue& events,
           SpanCounters& counters, TimeNs now, const Route& route);

  std::optional<uint64_t> post(TimeNs now, const Buffer& buffer, uint32_t tag) override;
  Completion test(uint64_t message) override;

 private:
  static constexpr uint32_t kNone = ~0u;

  enum class MessageState : uint8_t { kFree, kPosted, kDone, kFailed };
  struct Message {
    explicit Message(uint64_t window) : received(window) {}
    uint8_t* data = nullptr;
    uint64_t capacity = 0;
    uint64_t bytes = 0;
    uint32_t tag = 0;
    uint32_t datagrams = 0;   // 0: nothing of it has arrived
    uint32_t base = 0;        // first that is missing
    uint32_t blocks = kNone;  // chain of open ones
    MessageState state = MessageState::kFree;
    BitRing received;  // of datagrams from base on; all clear once it is complete
  };

  // A block with parity but not enough of it.
  struct Block {
    uint64_t message = 0;
    uint32_t first = 0;
    uint32_t missing = 0;
    uint32_t next = kNone;
    uint8_t data = 0;
    uint8_t stride = 0;
    uint8_t symbols = 0;
    std::array<uint8_t, ErasureCode::kMaxParity> rows;
    std::array<uint32_t, ErasureCode::kMaxParity> store;
  };

  struct ReceivePath {
    ReceivePath(uint64_t window, uint64_t first) : seen(window), first(first), next(first) {}
    BitRing seen;
    uint64_t first;
    uint64_t next;  // one past the highest number
    TimeNs newest_at{};
    TimeNs ack_at = kNever;
    uint32_t waiting = 0;  // packets since the last ACK
    uint32_t ecn_marked = 0;
  };

  // Connection
  bool pending() const override { return posted_ != complete_; }
  void fail_requests() override;
  Drop on_body(const Packet& packet, uint64_t number) override;
  uint64_t expected_number(const Header& header) const override { return paths_[header.path].next; }
  void on_deadline(TimeNs now) override;
  TimeNs own_deadline() const override;
  // An ACK may have been lost: the sender has to know what has come, or its last sends fail.
  void say_last(TimeNs now) override { compose_ack(now, 0); }

  Drop on_symbol(const Packet& packet, uint64_t number);
  // What becomes of a symbol: kept (or not needed any more), or not.
  enum class Outcome : uint8_t { kKept, kKnown, kOutOfOrder, kRefused, kMalformed };
  Outcome take_symbol(const Packet& packet, uint64_t message_number);
  Outcome take_data(const Packet& packet, uint64_t message_number);
  Outcome take_parity(const Packet& packet, uint64_t message_number);
  bool begin_message(const Packet& packet, Message& msg);
  uint64_t ahead(uint64_t of, uint32_t index);
  void on_arrival(const Packet& packet, uint64_t number, Outcome outcome, bool completed);
  void on_left(ReceivePath& path, uint64_t high);
  void note_number(ReceivePath& path, uint64_t number, bool kept);
  void complete_messages();

  // receiver_blocks.cc
  void fill_blocks(Message& msg, uint32_t index);
  bool decode(Message& msg, Block& block);
  uint32_t find_block(const Message& msg, const Header& header) const;
  void close_block(Message& msg, uint32_t place);
  void close_blocks(Message& msg);
  uint32_t symbol_bytes(const Message& msg, uint32_t first, uint32_t data) const;

  // receiver_ack.cc
  void fire_acks(TimeNs now);
  void compose_ack(TimeNs at, uint32_t path);
  void compose_pages(TimeNs at, uint32_t path, uint64_t low);
  // Gaps from `low` on, as many as one ACK holds; one past the last number it covers.
  uint64_t collect_gaps(const ReceivePath& path, uint64_t low, Header& header) const;
  uint64_t ack_low(const ReceivePath& path) const;
  void fill_ack(const ReceivePath& path, uint64_t low, TimeNs at, Header& header) const;
  void repeat_ack(TimeNs at, uint32_t path);

  // An ACK for every train of a coarse driver, and then some, would be a wake-up at both ends each.
  TimeNs longest_ack_wait(TimeNs rtt) const {
    return {std::max({rtt.ns / config_.ack_per_rtt, config_.granularity.ns / 4, int64_t{1}})};
  }
  bool has(const Message& msg, uint32_t index) const {
    return index < msg.base || msg.received.test(index);
  }
  void mark_received(Message& msg, uint32_t index);
  uint32_t datagram_bytes(const Message& msg, uint32_t index) const;
  Message& message(uint64_t number) { return messages_[number & (config_.max_requests - 1)]; }
  uint8_t* symbol(uint32_t place) {
    return parity_.empty() ? nullptr : &parity_[size_t{place} * setup_.payload_bytes];
  }

  std::vector<ReceivePath> paths_;
  std::vector<Message> messages_;
  std::vector<Block> blocks_;
  uint32_t free_block_ = kNone;
  ErasureCode code_;
  LazyArray<uint8_t> parity_;           // store
  std::vector<uint32_t> free_symbols_;  // a stack

  uint64_t complete_;  // first message that is not
  uint64_t posted_;
  uint64_t overtaken_ = 0;  // by how many at most a datagram has been
  TimeNs ack_wait_;
  TimeNs repeat_at_ = kNever;
  int repeats_left_ = 0;
  uint32_t repeat_path_ = 0;
  TimeNs ping_at_ = kNever;
};

}  // namespace farspan::transport
