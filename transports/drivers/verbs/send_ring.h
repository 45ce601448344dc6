// SendRing: datagrams on their way to a UD queue pair, in registered slots, as chains of work
// requests.
//
//   add() as long as there is room; then post(): one call, one doorbell for all that was added.
//   completed(id) with the wr_id of a completion: its chain's slots, and all before, are free.
//
// Only a chain's last request asks for a completion (they complete in order). Ownership: the
// memory is the user's. Nothing allocates after construction. Threading: one thread.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <span>
#include <vector>

#include "transports/core/endpoint.h"

namespace farspan::verbs {

inline constexpr uint32_t kQueueKey = 0x4653'5045;  // no privilege: its highest bit is 0

class SendRing {
 public:
  // `slots` pieces of `slot_bytes` each.
  SendRing(std::span<uint8_t> memory, size_t slot_bytes, uint32_t local_key);

  size_t room() const { return requests_.size() - static_cast<size_t>(added_ - free_); }
  // Copies the datagram: header, payload, trailer. Needs room.
  void add(const transport::TxSlot& slot, ibv_ah* handle, uint32_t queue_pair);
  // The number of what was added last: completed() reaches it once it has left.
  uint64_t last() const { return added_; }
  uint64_t done() const { return free_; }
  // The chain of what was added since, null where there is nothing; it counts as posted.
  ibv_send_wr* take();
  void completed(uint64_t id) { free_ = id; }

 private:
  size_t index(uint64_t number) const { return static_cast<size_t>(number % requests_.size()); }

  std::vector<ibv_sge> pieces_;
  std::vector<ibv_send_wr> requests_;
  size_t slot_bytes_;
  uint64_t added_ = 0;   // ever
  uint64_t posted_ = 0;  // ever
  uint64_t free_ = 0;    // ever completed
};

}  // namespace farspan::verbs
