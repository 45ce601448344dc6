// PacketStore: where the frames of one direction wait while the model holds their refs.
//
// Small frames are copied into a byte ring, in order, and their mbuf goes back to the pool at once:
// at a million packets held, sequential copies of 64 B cost a third of touching a million scattered
// mbufs. Larger frames, chains, and what finds the ring full keep their mbuf. A handle is the
// mbuf's address, or the slot's offset with the lowest bit set. Slots are freed in any order; room
// is regained in the order of the ring.
//
// Threads: the direction's lcore only. Ownership: put() takes the mbuf; take() and copy() give one
// to the caller; drop() ends the packet.
#pragma once

#include <rte_config.h>
#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "emulator/base/result.h"
#include "emulator/base/time.h"

namespace farspan::dpdk {

class PacketStore {
 public:
  static constexpr uint32_t kCopiedFrameBytes = 256;
  static constexpr uint32_t kSlotOverheadBytes = 16;

  // `pool` gives the mbufs that copied frames leave in; `ring_bytes` 0: every frame keeps its mbuf.
  static Result<std::unique_ptr<PacketStore>> Create(rte_mempool* pool, uint64_t ring_bytes,
                                                     int node);
  ~PacketStore();
  PacketStore(const PacketStore&) = delete;
  PacketStore& operator=(const PacketStore&) = delete;

  // Takes `packets` with their arrival times; their handles go to `handles`.
  void put(std::span<rte_mbuf* const> packets, const TimeNs* arrivals, uint64_t* handles);

  // The packet itself: out of the store. nullptr where no mbuf is free; it is then still held.
  rte_mbuf* take(uint64_t handle);
  // A copy; the packet stays. nullptr where no mbuf is free.
  rte_mbuf* copy(uint64_t handle);
  void drop(uint64_t handle);

  TimeNs arrival(uint64_t handle) const;
  uint32_t frame_bytes(uint64_t handle) const;
  std::span<const uint8_t> bytes(uint64_t handle) const;  // of the first segment
  void prefetch(uint64_t handle) const {
    if (in_ring(handle)) {
      rte_prefetch0(slot(handle));
      rte_prefetch0(reinterpret_cast<const uint8_t*>(slot(handle)) + RTE_CACHE_LINE_SIZE);
    } else {
      rte_prefetch0(mbuf(handle));
    }
  }

  unsigned spares() const { return spare_count_; }  // empty mbufs in hand
  uint64_t ring_bytes_used() const { return used_; }

 private:
  struct Slot {
    uint32_t size = 0;  // of slot and frame, padded
    uint16_t frame_bytes = 0;
    uint16_t free = 0;
    TimeNs arrival;
  };
  static_assert(sizeof(Slot) == kSlotOverheadBytes);
  struct Release {
    void operator()(uint8_t* memory) const;
  };

  PacketStore(rte_mempool* pool, uint8_t* ring, uint64_t ring_bytes)
      : pool_(pool), ring_(ring), ring_bytes_(ring_bytes) {}

  static bool in_ring(uint64_t handle) { return (handle & 1) != 0; }
  static rte_mbuf* mbuf(uint64_t handle) { return reinterpret_cast<rte_mbuf*>(handle); }
  Slot* slot(uint64_t handle) const { return reinterpret_cast<Slot*>(ring_.get() + (handle >> 1)); }
  Slot* reserve(uint32_t frame_bytes, TimeNs arrival);
  void release(Slot* slot);
  rte_mbuf* spare() { return spare_count_ != 0 ? spares_[--spare_count_] : more_spares(); }
  rte_mbuf* more_spares();

  rte_mempool* const pool_;
  const std::unique_ptr<uint8_t, Release> ring_;
  const uint64_t ring_bytes_;
  std::array<rte_mbuf*, 32> spares_{};  // allocated together: mbufs for copied frames to leave in
  unsigned spare_count_ = 0;
  uint64_t head_ = 0;  // offsets of the next slot to reserve and of the oldest one
  uint64_t tail_ = 0;
  uint64_t used_ = 0;  // bytes between them
};

}  // namespace farspan::dpdk
