// PacketFifo: FIFOs of PacketRefs that share one pool of blocks, so that a link's memory is planned
// once however its packets are spread over queues, lanes and path epochs.
//
// The pool allocates and touches everything at construction; push and pop never allocate. Blocks
// are handed out last-in first-out, in address order at first: a link that holds little stays in
// cache. Single thread. A FIFO must be destroyed or emptied before its pool.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "emulator/base/check.h"
#include "emulator/link/packet_ref.h"

namespace farspan::link {

class BlockPool {
 public:
  static constexpr uint32_t kBlockPackets = 127;  // with the link, just under a page

  struct Block {
    std::array<PacketRef, kBlockPackets> packets;
    Block* next = nullptr;
  };

  // Enough blocks for `packets` spread over `fifos` FIFOs in any way.
  BlockPool(uint64_t packets, uint64_t fifos) : blocks_(BlockCount(packets, fifos)) {
    for (size_t i = blocks_.size(); i-- > 0;) put(&blocks_[i]);
  }
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  static uint64_t MemoryBytes(uint64_t packets, uint64_t fifos) {
    return BlockCount(packets, fifos) * sizeof(Block);
  }

  Block* take() {
    FARSPAN_CHECK(free_ != nullptr);
    Block* block = free_;
    free_ = block->next;
    block->next = nullptr;
    return block;
  }
  void put(Block* block) {
    block->next = free_;
    free_ = block;
  }

 private:
  // A FIFO leaves less than a block unused at either end, and keeps one when empty.
  static uint64_t BlockCount(uint64_t packets, uint64_t fifos) {
    return packets / kBlockPackets + 1 + 2 * fifos;
  }

  std::vector<Block> blocks_;
  Block* free_ = nullptr;
};

class PacketFifo {
 public:
  explicit PacketFifo(BlockPool* pool) : pool_(pool) {}
  PacketFifo(PacketFifo&& other) noexcept { *this = std::move(other); }
  PacketFifo& operator=(PacketFifo&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(head_, other.head_);
    std::swap(tail_, other.tail_);
    std::swap(read_, other.read_);
    std::swap(write_, other.write_);
    std::swap(size_, other.size_);
    return *this;
  }

  // Gives the block back that an empty FIFO keeps.
  void retire() {
    FARSPAN_CHECK(size_ == 0);
    if (head_ != nullptr) pool_->put(head_);
    head_ = tail_ = nullptr;
  }

  bool empty() const { return size_ == 0; }
  uint64_t size() const { return size_; }
  const PacketRef& front() const { return head_->packets[read_]; }

  void push(const PacketRef& packet) {
    if (tail_ == nullptr || write_ == BlockPool::kBlockPackets) grow();
    __builtin_prefetch(tail_->packets.data() + write_ + kAhead, 1);
    tail_->packets[write_++] = packet;
    ++size_;
  }

  void drop_front() {
    __builtin_prefetch(head_->packets.data() + read_ + kAhead);
    ++read_;
    if (--size_ == 0 || read_ == BlockPool::kBlockPackets) shrink();
  }
  // Handles of the packets behind the first `ahead`; fewer where the FIFO ends.
  size_t peek(size_t ahead, std::span<uint64_t> handles) const {
    if (size_ <= ahead) return 0;
    const size_t count = std::min<size_t>(handles.size(), size_ - ahead);
    const BlockPool::Block* block = head_;
    size_t index = read_ + ahead;
    for (size_t i = 0; i < count; ++i, ++index) {
      while (index >= BlockPool::kBlockPackets) {
        block = block->next;
        index -= BlockPool::kBlockPackets;
      }
      handles[i] = block->packets[index].handle;
    }
    return count;
  }
  PacketRef pop() {
    const PacketRef packet = front();
    drop_front();
    return packet;
  }

 private:
  // Packets: two bursts and a line, so that a burst, and a look at the next one, find theirs in
  // cache. Past a block's end is most often the next block, and never does harm.
  static constexpr size_t kAhead = 72;

  void grow() {
    BlockPool::Block* block = pool_->take();
    if (tail_ == nullptr) {
      head_ = block;
      read_ = 0;
    } else {
      tail_->next = block;
    }
    tail_ = block;
    write_ = 0;
  }
  void shrink() {
    if (size_ == 0) {  // keep the last block: a FIFO in use returns to it at once
      read_ = write_ = 0;
      return;
    }
    BlockPool::Block* done = head_;
    head_ = done->next;
    read_ = 0;
    pool_->put(done);
  }

  BlockPool* pool_ = nullptr;
  BlockPool::Block* head_ = nullptr;
  BlockPool::Block* tail_ = nullptr;
  uint32_t read_ = 0;
  uint32_t write_ = 0;
  uint64_t size_ = 0;
};

}  // namespace farspan::link
