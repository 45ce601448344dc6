// Sender: the sending half of a connection.
//
// Cuts messages into datagrams, sprays them over the paths (the one that can send first, in turn),
// keeps the state of every packet in flight in a ring per path, and turns ACKs into losses, repairs
// and completions. What to send again and what to code is the recovery's to say, how fast the
// controllers'.
//
// A block of a coded group can be decoded as long as the symbols that were sent, less those that
// were lost, are no fewer than its datagrams: the sender counts both and so knows each block's
// deficit from the ACKs alone; only deficits are sent again, and only data.
//
// Threading: one thread. O(1) per packet, and nothing allocates after construction: memory is
// paths x window x (96 + 1/8) bytes, and the parity store.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "transports/core/bit_ring.h"
#include "transports/core/connection.h"
#include "transports/core/erasure_code.h"
#include "transports/core/lazy_array.h"
#include "transports/core/path.h"
#include "transports/core/recovery.h"

namespace farspan::transport {

class Sender final : public Connection {
 public:
  Sender(const SpanConfig& config, const ConnectionSetup& setup, std::span<Path* const> paths,
         RecoveryPtr recovery, EventQueue& events, SpanCounters& counters, TimeNs now);

  std::optional<uint64_t> post(TimeNs now, const Buffer& buffer, uint32_t tag) override;
  Completion test(uint64_t message) override;
  void on_sent(uint64_t id, TimeNs actual) override;
  void open_paths();     // says hello on each of them
  void release_paths();  // what was in flight is no longer; before destruction

 private:
  static constexpr uint32_t kNone = ~0u;

  enum class State : uint8_t { kFree, kInFlight, kSuspect, kLost, kAcked };
  struct SentPacket {
    TimeNs sent{};
    TimeNs nacked{};
    DeliveryStamp stamp;
    uint32_t index = 0;     // datagram, or slot of the parity store
    uint32_t next = kNone;  // suspect
    uint32_t block = kNone;
    uint32_t loss = kNone;  // lost: its record, while there is one; else that of a copy to follow
    uint16_t message = 0;
    uint16_t wire_bytes = 0;
    uint16_t generation = 0;  // of the block
    State state = State::kFree;
    bool parity = false;
    bool repair = false;    // sent in place of one that was lost
    bool spare = false;     // a further copy of a repair: if it is lost, so be it
    bool repaired = false;  // lost, and a repair for its block has left
    bool chained = false;   // among the suspects, or was and has not been looked at since
  };
  // A datagram that is to be sent again, or whose block may yet need it. There are as many records
  // as packets could be lost: new data waits where that is not certain.
  struct Loss {
    uint32_t origin = 0;  // place of the packet; spare: of the first copy, which has left
    uint32_t index = 0;
    uint32_t block = kNone;
    uint32_t next = kNone;
    uint16_t message = 0;
    uint8_t copies = 0;
    bool queued = false;     // as a symbol of its block that is yet to leave
    bool spare = false;      // one copy has left
    bool cancelled = false;  // it came after all
  };
  struct Chain {  // of losses, or of suspects
    uint32_t head = kNone;
    uint32_t tail = kNone;
    bool empty() const { return head == kNone; }
  };

  enum class MessageState : uint8_t { kFree, kPending, kDone, kFailed };
  struct Message {
    const uint8_t* data = nullptr;
    uint64_t bytes = 0;
    uint32_t memory = 0;
    uint32_t tag = 0;
    uint32_t datagrams = 0;
    MessageState state = MessageState::kFree;
  };

  struct Block {
    uint64_t message = 0;
    uint32_t first = 0;
    uint32_t planned = 0;  // symbols sent or certain to be sent
    uint32_t lost = 0;
    uint32_t acked = 0;
    uint32_t queued = 0;      // repairs on their way out
    uint32_t duplicates = 0;  // symbols that came after all, beside their repair
    uint32_t parity_slot = 0;
    uint32_t next_free = kNone;
    uint16_t generation = 0;
    uint8_t data = 0;
    uint8_t stride = 0;
    Chain missing{};  // lost data that nothing was sent for
  };
  // The coded group that the cursor stands in, or whose parity is being sent.
  struct Group {
    uint64_t message = 0;
    uint32_t first = 0;
    uint32_t end = 0;
    uint32_t blocks = 0;
    uint32_t parity = 0;  // 0: no group
    uint32_t sent = 0;    // parity symbols
    std::array<uint32_t, 64> block{};
  };

  struct SendPath {
    SendPath(Path* path, uint64_t window, uint64_t first);
    Path* shared;
    BitRing unacked;
    uint64_t next;             // number
    uint64_t unsettled;        // lowest number in flight or chained
    uint64_t oldest_inflight;  // lowest in flight, `next` if none is
    uint64_t highest;          // one past the highest number reported
    uint64_t inflight = 0;     // packets
    TimeNs timeout_after{};
    uint32_t backoff = 0;
    uint32_t ecn_marked = 0;
    Chain suspects;
  };

  // What one ACK did, for the controller.
  struct AckTally {
    uint64_t bytes = 0;
    uint32_t packets = 0;
    DeliveryStamp stamp;
    TimeNs sent{};
  };

  // Connection
  bool pending() const override { return posted_ != complete_; }
  void fail_requests() override;
  Drop on_body(const Packet& packet, uint64_t number) override;
  void on_deadline(TimeNs now) override;
  TimeNs own_deadline() const override;
  bool transmit_data(TimeNs now, TimeNs horizon, TxSlot& slot) override;

  // sender_ack.cc
  Drop on_ack(const Packet& packet);
  void on_range(TimeNs at, uint32_t path, uint64_t low, uint64_t high, std::span<const Gap> gaps,
                AckTally& tally);
  void on_delivered(TimeNs at, uint32_t path, uint64_t number, AckTally& tally);
  void on_late_symbol(const SentPacket& sent);
  void on_missing(TimeNs at, uint32_t path, uint64_t number);
  void on_progress(TimeNs at, const Header& header);
  void declare_lost(TimeNs at, uint32_t path, uint64_t number);
  bool repair_block(Block& block, const LostPacket& packet);
  void free_if_resolved(uint32_t block);
  void check_suspects(TimeNs now, uint32_t path);
  void on_path_timeout(TimeNs now, uint32_t path);
  TimeNs suspect_due(const SendPath& path) const;
  TimeNs patience(uint32_t path, uint64_t number) const;
  TimeNs path_timeout(const SendPath& path) const;
  void settle(SendPath& path);
  void rescue(TimeNs now);
  void ping(uint32_t path, uint64_t low, uint64_t high);
  uint64_t left_by(TimeNs now, uint32_t path);

  // sender_send.cc
  enum class Work : uint8_t { kNone, kRepair, kParity, kData };
  Work next_work(TimeNs now);
  bool next_repair(TimeNs now);
  bool may_follow(TimeNs now, uint32_t spare) const;
  bool data_ready() const;
  uint32_t pick_path(TimeNs now, TimeNs horizon, bool repair);
  TimeNs earliest_departure(bool repair) const;
  bool usable(const SendPath& path, bool repair, bool all) const;
  bool may_send(const SendPath& path, bool repair) const;
  GroupPlan fit(GroupPlan plan) const;
  void start_group();
  void encode_group();
  bool alloc_parity(uint32_t count, uint32_t& first);
  void send_repair(TimeNs now, uint32_t path, TxSlot& slot);
  void send_parity(TimeNs now, uint32_t path, TxSlot& slot);
  void send_new(TimeNs now, uint32_t path, TxSlot& slot);
  SentPacket& send_symbol(TimeNs now, uint32_t path, uint64_t message, const Header& header,
                          TxSlot& slot);
  SentPacket& send_datagram(TimeNs now, uint32_t path, uint64_t message, uint32_t index,
                            TxSlot& slot);
  void go_back(uint64_t message, uint32_t index);
  void drop_group();
  void end_message();
  void skip_known();
  TimeNs until_dry() const;
  uint32_t datagram_bytes(const Message& message, uint32_t index) const;

  SentPacket& packet(uint32_t path, uint64_t number) { return packets_[ref(path, number)]; }
  const SentPacket& packet(uint32_t path, uint64_t number) const {
    return packets_[ref(path, number)];
  }
  uint32_t ref(uint32_t path, uint64_t number) const {
    return path * setup_.window + static_cast<uint32_t>(number & (setup_.window - 1));
  }
  // The number of the packet in a place of a path's ring.
  uint64_t number_at(uint32_t path, uint32_t place) const;
  Message& message(uint64_t number) { return messages_[number & (config_.max_requests - 1)]; }
  const Message& message(uint64_t number) const {
    return messages_[number & (config_.max_requests - 1)];
  }
  uint64_t full_message(uint16_t low) const { return Expand(low, 16, complete_); }
  void join(SentPacket& sent, uint32_t block) {
    sent.block = block;
    sent.generation = blocks_[block].generation;
  }
  template <typename Item>
  static void append(LazyArray<Item>& items, Chain& chain, uint32_t place) {
    items[place].next = kNone;
    (chain.empty() ? chain.head : items[chain.tail].next) = place;
    chain.tail = place;
  }
  template <typename Item>
  static uint32_t remove_head(const LazyArray<Item>& items, Chain& chain) {
    const uint32_t place = chain.head;
    chain.head = items[place].next;
    return place;
  }
  uint32_t record_loss(uint32_t place);
  void forget_loss(uint32_t loss);

  const RecoveryPtr recovery_;
  std::vector<SendPath> paths_;
  LazyArray<SentPacket> packets_;  // per path a ring of setup_.window
  LazyArray<Loss> losses_;
  uint32_t free_loss_ = kNone;
  uint32_t fresh_losses_ = 0;  // those from here on have never been used
  uint64_t losses_used_ = 0;
  std::vector<Message> messages_;
  std::vector<Block> blocks_;
  uint32_t free_block_ = kNone;
  ErasureCode code_;
  LazyArray<uint8_t> parity_;         // store
  std::vector<uint8_t> parity_busy_;  // a slot is on its way to the driver's on_sent
  uint32_t parity_next_ = 0;

  uint64_t complete_;        // first message that the receiver does not have
  uint64_t posted_;          // next one
  uint64_t credits_;         // first message without a receive
  uint32_t base_index_ = 0;  // first datagram of complete_ that the receiver lacks
  uint64_t cursor_message_;
  uint32_t cursor_index_ = 0;
  uint64_t fresh_message_ = 0;  // beyond here nothing has left yet, where the cursor went back
  uint32_t fresh_index_ = 0;
  uint64_t unsent_ = 0;  // datagrams of posted messages from the cursor on
  uint64_t inflight_ = 0;
  Group group_;
  Chain repairs_;
  uint32_t turn_ = 0;  // of the paths
  TimeNs idle_ping_at_ = kNever;
  uint32_t idle_pings_ = 0;
  TimeNs told_rtt_{};
};

}  // namespace farspan::transport
