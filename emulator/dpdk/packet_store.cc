#include "emulator/dpdk/packet_store.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_malloc.h>

#include <algorithm>

#include "emulator/base/check.h"

namespace farspan::dpdk {

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
  constexpr unsigned kAtOnce = 32;
  if (rte_pktmbuf_alloc_bulk(pool_, spares_.data(), kAtOnce) != 0) {
    return rte_pktmbuf_alloc(pool_);  // the last few
  }
  spare_count_ = kAtOnce - 1;
  return spares_[spare_count_];
}

// Gives those back that have waited longest.
void PacketStore::fewer_spares() {
  rte_pktmbuf_free_bulk(spares_.data(), kSpares / 2);
  spare_count_ -= kSpares / 2;
  std::copy_n(spares_.begin() + kSpares / 2, spare_count_, spares_.begin());
}

// A slot is in one piece: what is left before the ring's end becomes a filler. False where the slot
// would not fit behind it.
bool PacketStore::skip_to_start(uint32_t size) {
  const uint64_t left = ring_bytes_ - head_;
  if (used_ + left + size > ring_bytes_) return false;
  if (left != 0) {
    auto* filler = reinterpret_cast<Slot*>(ring_.get() + head_);
    *filler = {.size = static_cast<uint32_t>(left), .free = 1, .arrival = {}};
  }
  used_ += left;
  head_ = 0;
  return true;
}

rte_mbuf* PacketStore::copy(uint64_t handle) {
  if (!in_ring(handle)) return rte_pktmbuf_copy(mbuf(handle), pool_, 0, UINT32_MAX);
  return copy_of(*slot(handle));
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
