// The reliable connection of one comm: n RC queue pairs, its messages and their clear-to-send, as
// NCCL's net_ib does it.
//
// Source: NCCL src/transport/net_ib (v2.30). The receiver says which buffer message n goes to by an
// RDMA write into slot n of the sender's FIFO; the sender then writes the data there, with the
// message's length as immediate, and has its completion once the far NIC has acknowledged all.
// Message n takes queue pair n mod count, or all of them where messages are split, each a multiple
// of 128 B. Timeout, retry count, PSN 0, receiver-not-ready retries for ever: as there. The data
// and its immediate are one request, as NCCL does on RoCE (adaptive routing off). Different:
// clear-to-send has an immediate too, so that the sender may sleep on its completion queue where
// NCCL polls its memory.
//
// Threading: one thread. Nothing allocates after connect(), but where a buffer was not registered
// before: it is then registered from post to completion.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transports/baselines/model_config.h"
#include "transports/core/transport.h"
#include "transports/drivers/verbs/device.h"

namespace farspan::baselines {

inline constexpr uint32_t kRcQueuePairsMax = 16;
inline constexpr uint32_t kRcRequests = 32;  // NCCL_NET_MAX_REQUESTS

// What the sides tell each other over TCP before.
struct RcCard {
  static constexpr uint32_t kMagic = 0x46535243;
  uint32_t magic = kMagic;
  uint32_t queue_pairs = 0;
  uint32_t mtu = 0;  // ibv_mtu
  uint32_t split = 0;
  std::array<uint32_t, kRcQueuePairsMax> numbers{};
  verbs::Gid gid{};
  uint64_t fifo_address = 0;  // of the sender
  uint32_t fifo_key = 0;
  uint32_t reserved = 0;
  bool valid() const {
    return magic == kMagic && queue_pairs >= 1 && queue_pairs <= kRcQueuePairsMax &&
           mtu >= IBV_MTU_256 && mtu <= IBV_MTU_4096;
  }
};

struct RcClear {
  uint64_t address = 0;
  uint64_t bytes = 0;
  uint64_t number = 0;  // of the message
  uint32_t key = 0;
  uint32_t tag = 0;
};

// What part of a message queue pair `index` of `count` carries, as NCCL splits.
struct RcPart {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};
RcPart PartOf(uint64_t bytes, uint32_t count, uint32_t index);

class RcQueuePairs {
 public:
  static Result<std::unique_ptr<RcQueuePairs>> Open(const verbs::Device& device, bool sends,
                                                    const RcConfig& config,
                                                    ibv_comp_channel* channel);
  RcCard card() const;
  Result<void> connect(const RcCard& peer);

  // The number of the message; none while the oldest of kRcRequests is not released.
  Result<std::optional<uint64_t>> post(const transport::Buffer& buffer, uint32_t tag,
                                       const ibv_mr* region);
  // Takes completions. True if there was any; an error ends the connection.
  Result<bool> advance();
  // None while it is pending; its length, and its place is free again.
  std::optional<uint64_t> release(uint64_t number);
  // From here on the next completion notifies.
  Result<void> arm();
  // Nothing is written or received any more; what has completed can still be released.
  void end() { pairs_.clear(); }
  ibv_cq* queue() const { return queue_.get(); }

 private:
  struct Message {
    transport::Buffer buffer;
    uint32_t tag = 0;
    uint32_t key = 0;         // local for a send, remote for a receive
    uint32_t parts_left = 0;  // queue pairs that have not completed
    uint64_t bytes = 0;
    bool used = false;
    verbs::Region region;  // where the buffer was not registered
  };

  RcQueuePairs(const verbs::Device& device, bool sends, const RcConfig& config)
      : device_(device), sends_(sends), config_(config) {}
  Result<void> set_up(ibv_comp_channel* channel);
  Message& at(uint64_t number) { return messages_[number % kRcRequests]; }
  uint32_t parts() const { return config_.split ? config_.queue_pairs : 1; }
  ibv_qp* pair(uint64_t number, uint32_t part) const {
    return pairs_[config_.split ? part : number % pairs_.size()].get();
  }
  Result<void> post_receive(ibv_qp* pair, uint64_t number);
  Result<void> clear(uint64_t number);
  Result<void> write_cleared();
  Result<void> write(uint64_t number, const RcClear& target);
  Result<void> on_completion(const ibv_wc& completion);

  const verbs::Device& device_;
  const bool sends_;
  RcConfig config_;
  std::array<RcClear, kRcRequests> fifo_{};  // sender: the receiver writes it; receiver: to be sent
  verbs::Region fifo_region_;
  uint64_t peer_fifo_ = 0;
  uint32_t peer_fifo_key_ = 0;
  verbs::CompletionQueue queue_;
  std::vector<verbs::QueuePair> pairs_;
  std::array<Message, kRcRequests> messages_;
  uint64_t posted_ = 0;   // messages ever
  uint64_t cleared_ = 0;  // sender: clear-to-sends ever received
  uint64_t written_ = 0;  // sender: messages ever given to the queue pairs
};

}  // namespace farspan::baselines
