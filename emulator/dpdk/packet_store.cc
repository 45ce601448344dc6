#include "emulator/dpdk/packet_store.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_memcpy.h>

#include <cstring>

#include "emulator/base/check.h"

namespace farspan::dpdk {
namespace {

// The arrival's stamp lives in the mbuf's hash field: its first cache line, which receiving has
// just written; nothing here uses RSS.
void Stamp(rte_mbuf* packet, TimeNs arrival) {
  static_assert(sizeof packet->hash >= sizeof arrival.ns);
  std::memcpy(&packet->hash, &arrival.ns, sizeof arrival.ns);
}

constexpr uint32_t kCopyWord = 16;

// Whole words: slots are padded to them, and an mbuf has room behind a small frame.
void CopyFrame(void* to, const void* from, uint32_t bytes) {
  const auto* source = static_cast<const uint8_t*>(from);
  auto* target = static_cast<uint8_t*>(to);
  for (uint32_t i = 0; i < bytes; i += kCopyWord) rte_mov16(target + i, source + i);
}

}  // namespace

void PacketStore::Release::operator()(uint8_t* memory) const { rte_free(memory); }

Result<std::unique_ptr<PacketStore>> PacketStore::Create(rte_mempool* pool, uint64_t ring_bytes,
                                                         int node) {
  FARSPAN_CHECK(ring_bytes % kSlotOverheadBytes == 0);  // a slot's head fits what is left over
  uint8_t* ring = nullptr;
  if (ring_bytes != 0) {
    ring = static_cast<uint8_t*>(rte_zmalloc_socket("farspan_store", ring_bytes, 64, node));
    if (ring == nullptr) {
      return Fail(ErrorCode::kMachine,
                  fmt::format("no {} bytes of DPDK memory in one piece for the packets in flight",
                              ring_bytes));
    }
    // Touched now, really: where pages come from a hypervisor, the ring's first lap would wait for
    // each (700 cycles a packet were seen), and rte_zmalloc leaves pages alone that are zero
    // anyway.
    std::memset(ring, 0, ring_bytes);
  }
  return std::unique_ptr<PacketStore>(new PacketStore(pool, ring, ring_bytes));
}

PacketStore::~PacketStore() { rte_pktmbuf_free_bulk(spares_.data(), spare_count_); }

rte_mbuf* PacketStore::more_spares() {
  if (rte_pktmbuf_alloc_bulk(pool_, spares_.data(), spares_.size()) != 0) {
    return rte_pktmbuf_alloc(pool_);  // the last few
  }
  spare_count_ = spares_.size() - 1;
  return spares_[spare_count_];
}

void PacketStore::put(std::span<rte_mbuf* const> packets, const TimeNs* arrivals,
                      uint64_t* handles) {
  constexpr size_t kMost = 64;
  rte_mbuf* copied[kMost];
  unsigned count = 0;
  for (size_t i = 0; i < packets.size(); ++i) {
    rte_mbuf* packet = packets[i];
    Slot* place = nullptr;
    if (packet->pkt_len <= kCopiedFrameBytes && packet->nb_segs == 1 &&
        rte_pktmbuf_tailroom(packet) >= kCopyWord) {
      place = reserve(packet->pkt_len, arrivals[i]);
    }
    if (place == nullptr) {
      Stamp(packet, arrivals[i]);
      handles[i] = reinterpret_cast<uint64_t>(packet);
      continue;
    }
    CopyFrame(place + 1, rte_pktmbuf_mtod(packet, const void*), packet->pkt_len);
    handles[i] = static_cast<uint64_t>(reinterpret_cast<uint8_t*>(place) - ring_.get()) << 1 | 1;
    copied[count++] = packet;
    if (count == kMost) {
      rte_pktmbuf_free_bulk(copied, count);
      count = 0;
    }
  }
  if (count != 0) rte_pktmbuf_free_bulk(copied, count);
}

PacketStore::Slot* PacketStore::reserve(uint32_t frame_bytes, TimeNs arrival) {
  const uint32_t size = (kSlotOverheadBytes + frame_bytes + 15u) & ~15u;
  const uint64_t to_end = ring_bytes_ - head_;
  const uint64_t skipped = to_end < size ? to_end : 0;  // a slot is in one piece
  if (used_ + skipped + size > ring_bytes_) return nullptr;
  if (skipped != 0) {
    auto* filler = reinterpret_cast<Slot*>(ring_.get() + head_);
    *filler = {.size = static_cast<uint32_t>(skipped), .free = 1, .arrival = {}};
    head_ = 0;
  }
  auto* reserved = reinterpret_cast<Slot*>(ring_.get() + head_);
  *reserved = {.size = size, .frame_bytes = static_cast<uint16_t>(frame_bytes), .arrival = arrival};
  used_ += skipped + size;
  head_ += size;
  if (head_ == ring_bytes_) head_ = 0;
  return reserved;
}

void PacketStore::release(Slot* freed) {
  freed->free = 1;
  while (used_ != 0) {
    const auto* oldest = reinterpret_cast<const Slot*>(ring_.get() + tail_);
    if (oldest->free == 0) return;
    used_ -= oldest->size;
    tail_ += oldest->size;
    if (tail_ == ring_bytes_) tail_ = 0;
  }
}

rte_mbuf* PacketStore::take(uint64_t handle) {
  if (!in_ring(handle)) return mbuf(handle);
  rte_mbuf* packet = copy(handle);
  if (packet != nullptr) release(slot(handle));
  return packet;
}

rte_mbuf* PacketStore::copy(uint64_t handle) {
  if (!in_ring(handle)) return rte_pktmbuf_copy(mbuf(handle), pool_, 0, UINT32_MAX);
  rte_mbuf* packet = spare();
  if (packet == nullptr) return nullptr;
  const Slot* from = slot(handle);
  CopyFrame(rte_pktmbuf_mtod(packet, void*), from + 1, from->frame_bytes);
  packet->data_len = from->frame_bytes;
  packet->pkt_len = from->frame_bytes;
  return packet;
}

void PacketStore::drop(uint64_t handle) {
  if (in_ring(handle)) {
    release(slot(handle));
  } else {
    rte_pktmbuf_free(mbuf(handle));
  }
}

TimeNs PacketStore::arrival(uint64_t handle) const {
  if (in_ring(handle)) return slot(handle)->arrival;
  TimeNs arrival;
  std::memcpy(&arrival.ns, &mbuf(handle)->hash, sizeof arrival.ns);
  return arrival;
}

uint32_t PacketStore::frame_bytes(uint64_t handle) const {
  return in_ring(handle) ? slot(handle)->frame_bytes : mbuf(handle)->pkt_len;
}

std::span<const uint8_t> PacketStore::bytes(uint64_t handle) const {
  if (in_ring(handle)) {
    return {reinterpret_cast<const uint8_t*>(slot(handle) + 1), slot(handle)->frame_bytes};
  }
  return {rte_pktmbuf_mtod(mbuf(handle), const uint8_t*), mbuf(handle)->data_len};
}

}  // namespace farspan::dpdk
