// PacketStore: where the frames of one direction wait while the model holds their refs.
//
// Small frames are copied into a byte ring, in order, and their mbuf is free at once for a copied
// frame to leave in: at a million packets held, sequential copies of 64 B cost a third of touching
// a million scattered mbufs. Larger frames, chains, and what finds the ring full keep their mbuf. A
// handle is the mbuf's address, or the slot's offset with the lowest bit set. Slots are freed in
// any order; room is regained in the order of the ring.
//
// Threads: the direction's lcore only. Ownership: put() takes the mbuf; take() and copy() give one
// to the caller; drop() ends the packet.
#pragma once

#include <rte_config.h>
#include <rte_mbuf.h>
#include <rte_memcpy.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "emulator/base/result.h"
#include "emulator/base/time.h"

namespace farspan::dpdk {

class PacketStore {
 public:
  static constexpr uint32_t kCopiedFrameBytes = 256;
  static constexpr uint32_t kSlotOverheadBytes = 16;
  static constexpr uint32_t kSpares = 128;  // mbufs in hand, at most

  // `pool` gives more mbufs for copied frames to leave in; `ring_bytes` 0: every frame keeps its
  // mbuf.
  static Result<std::unique_ptr<PacketStore>> Create(rte_mempool* pool, uint64_t ring_bytes,
                                                     int node);
  ~PacketStore();
  PacketStore(const PacketStore&) = delete;
  PacketStore& operator=(const PacketStore&) = delete;

  // Takes a packet; returns its handle.
  uint64_t put(rte_mbuf* packet, TimeNs arrival) {
    const bool small = packet->pkt_len <= kCopiedFrameBytes && packet->nb_segs == 1 &&
                       rte_pktmbuf_tailroom(packet) >= kCopyWord;
    Slot* place = small ? reserve(packet->pkt_len, arrival) : nullptr;
    if (place == nullptr) {
      std::memcpy(&packet->hash, &arrival.ns, sizeof arrival.ns);
      return reinterpret_cast<uint64_t>(packet);
    }
    copy_frame(place + 1, rte_pktmbuf_mtod(packet, const void*), packet->pkt_len);
    recycle(packet);
    return static_cast<uint64_t>(reinterpret_cast<uint8_t*>(place) - ring_.get()) << 1 | 1;
  }

  // The packet itself: out of the store. nullptr where no mbuf is free; it is then still held.
  rte_mbuf* take(uint64_t handle) {
    if (!in_ring(handle)) return mbuf(handle);
    rte_mbuf* packet = copy_of(*slot(handle));
    if (packet != nullptr) release(slot(handle));
    return packet;
  }
  // A copy; the packet stays. nullptr where no mbuf is free.
  rte_mbuf* copy(uint64_t handle);
  void drop(uint64_t handle);

  TimeNs arrival(uint64_t handle) const;
  uint32_t frame_bytes(uint64_t handle) const;
  std::span<const uint8_t> bytes(uint64_t handle) const;  // of the first segment
  // What take() and then freeing the packet read: two cache lines of a slot or of an mbuf.
  void prefetch(uint64_t handle) const {
    const uint8_t* first = in_ring(handle) ? ring_.get() + (handle >> 1)
                                           : reinterpret_cast<const uint8_t*>(mbuf(handle));
    rte_prefetch0(first);
    rte_prefetch0(first + RTE_CACHE_LINE_SIZE);
  }

  unsigned spares() const { return spare_count_; }  // empty mbufs in hand
  uint64_t ring_bytes_used() const { return used_; }

 private:
  static constexpr uint32_t kCopyWord = 16;

  struct Slot {
    uint32_t size = 0;  // of slot and frame, padded
    uint16_t frame_bytes = 0;
    uint16_t free = 0;
    TimeNs arrival;
  };
  static_assert(sizeof(Slot) == kSlotOverheadBytes);
  // A kept packet's arrival lives in the mbuf's hash field: its first cache line, which receiving
  // has just written; nothing here uses RSS.
  static_assert(sizeof(rte_mbuf::hash) >= sizeof(TimeNs));
  struct Release {
    void operator()(uint8_t* memory) const;
  };

  PacketStore(rte_mempool* pool, uint8_t* ring, uint64_t ring_bytes)
      : pool_(pool), ring_(ring), ring_bytes_(ring_bytes) {}

  static bool in_ring(uint64_t handle) { return (handle & 1) != 0; }
  static rte_mbuf* mbuf(uint64_t handle) { return reinterpret_cast<rte_mbuf*>(handle); }
  Slot* slot(uint64_t handle) const { return reinterpret_cast<Slot*>(ring_.get() + (handle >> 1)); }

  // Whole words: slots are padded to them, and an mbuf has room behind a small frame.
  static void copy_frame(void* to, const void* from, uint32_t bytes) {
    const auto* source = static_cast<const uint8_t*>(from);
    auto* target = static_cast<uint8_t*>(to);
    for (uint32_t i = 0; i < bytes; i += kCopyWord) rte_mov16(target + i, source + i);
  }
  rte_mbuf* copy_of(const Slot& from) {
    rte_mbuf* packet = spare_count_ != 0 ? spares_[--spare_count_] : more_spares();
    if (packet == nullptr) return nullptr;
    copy_frame(rte_pktmbuf_mtod(packet, void*), &from + 1, from.frame_bytes);
    packet->data_len = from.frame_bytes;
    packet->pkt_len = from.frame_bytes;
    return packet;
  }

  Slot* reserve(uint32_t frame_bytes, TimeNs arrival) {
    const uint32_t size = (kSlotOverheadBytes + frame_bytes + 15u) & ~15u;
    if (ring_bytes_ - head_ < size && !skip_to_start(size)) [[unlikely]]
      return nullptr;
    if (used_ + size > ring_bytes_) return nullptr;
    auto* reserved = reinterpret_cast<Slot*>(ring_.get() + head_);
    *reserved = {
        .size = size, .frame_bytes = static_cast<uint16_t>(frame_bytes), .arrival = arrival};
    used_ += size;
    head_ += size;
    return reserved;
  }
  bool skip_to_start(uint32_t size);
  void release(Slot* freed) {
    freed->free = 1;
    while (used_ != 0) {
      const auto* oldest = reinterpret_cast<const Slot*>(ring_.get() + tail_);
      if (oldest->free == 0) return;
      used_ -= oldest->size;
      tail_ += oldest->size;
      if (tail_ == ring_bytes_) tail_ = 0;
    }
  }

  // Its frame has been copied: a spare from now on, if nobody else has a part in it.
  void recycle(rte_mbuf* packet) {
    if (packet->pool != pool_ || !RTE_MBUF_DIRECT(packet) || rte_mbuf_refcnt_read(packet) != 1) {
      rte_pktmbuf_free(packet);
      return;
    }
    if (spare_count_ == kSpares) fewer_spares();
    packet->ol_flags = 0;
    rte_pktmbuf_reset_headroom(packet);
    spares_[spare_count_++] = packet;
  }
  rte_mbuf* more_spares();
  void fewer_spares();

  rte_mempool* const pool_;
  const std::unique_ptr<uint8_t, Release> ring_;
  const uint64_t ring_bytes_;
  std::array<rte_mbuf*, kSpares> spares_{};  // for copied frames to leave in
  unsigned spare_count_ = 0;
  uint64_t head_ = 0;  // offsets of the next slot to reserve and of the oldest one
  uint64_t tail_ = 0;
  uint64_t used_ = 0;  // bytes between them
};

}  // namespace farspan::dpdk
