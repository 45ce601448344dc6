// PacketStore: frames come out as they went in, whatever their size and whatever is freed first.
#include "emulator/dpdk/packet_store.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <rte_malloc.h>
#include <rte_mempool.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/support/eal_environment.h"

namespace farspan::dpdk {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kMbufs = 512;
constexpr uint32_t kDataRoom = 2'048 + RTE_PKTMBUF_HEADROOM;

auto* const environment = static_cast<EalEnvironment*>(testing::AddGlobalTestEnvironment(
    new EalEnvironment({.pool = "packet_store_test", .mbufs = kMbufs, .data_room = kDataRoom})));

rte_mempool* Pool() { return environment->pool(); }
// Those that hold packets: the store keeps a few in hand.
unsigned MbufsInUse(const PacketStore& store) {
  return rte_mempool_in_use_count(Pool()) - store.spares();
}

uint64_t HeapInUse() {
  uint64_t bytes = 0;
  for (int socket = 0; socket < RTE_MAX_NUMA_NODES; ++socket) {
    rte_malloc_socket_stats stats{};
    if (rte_malloc_get_socket_stats(socket, &stats) == 0) bytes += stats.heap_allocsz_bytes;
  }
  return bytes;
}

Bytes Pattern(size_t size, uint32_t number) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 31 + number + 1);
  return bytes;
}

// In segments of at most `segment` bytes.
rte_mbuf* MakeMbuf(const Bytes& bytes, size_t segment = 2'048) {
  rte_mbuf* packet = nullptr;
  for (size_t at = 0; at < bytes.size(); at += segment) {
    const size_t size = std::min(segment, bytes.size() - at);
    rte_mbuf* part = rte_pktmbuf_alloc(Pool());
    EXPECT_NE(part, nullptr);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), size,
                reinterpret_cast<uint8_t*>(rte_pktmbuf_append(part, static_cast<uint16_t>(size))));
    if (packet == nullptr) {
      packet = part;
    } else {
      EXPECT_EQ(rte_pktmbuf_chain(packet, part), 0);
    }
  }
  return packet;
}

// The bytes of a packet, which is freed.
Bytes Consume(rte_mbuf* packet) {
  Bytes bytes;
  for (const rte_mbuf* part = packet; part != nullptr; part = part->next) {
    const auto* data = rte_pktmbuf_mtod(part, const uint8_t*);
    bytes.insert(bytes.end(), data, data + part->data_len);
  }
  EXPECT_EQ(bytes.size(), packet->pkt_len);
  rte_pktmbuf_free(packet);
  return bytes;
}

bool InRing(uint64_t handle) { return (handle & 1) != 0; }

std::unique_ptr<PacketStore> MakeStore(uint64_t ring_bytes) {
  auto store = PacketStore::Create(Pool(), ring_bytes, SOCKET_ID_ANY);
  EXPECT_TRUE(store.has_value());
  return std::move(*store);
}

uint64_t Put(PacketStore& store, const Bytes& bytes, TimeNs arrival = {}, size_t segment = 2'048) {
  return store.put(MakeMbuf(bytes, segment), arrival);
}

TEST(PacketStore, SmallFramesAreCopiedAndLargerOnesKept) {
  const auto store = MakeStore(4'096);
  struct Case {
    size_t size;
    size_t segment;
    bool in_ring;
    unsigned mbufs;
  };
  for (const Case& c :
       {Case{1, 2'048, true, 0}, Case{60, 2'048, true, 0}, Case{256, 2'048, true, 0},
        Case{257, 2'048, false, 1}, Case{200, 100, false, 2}, Case{9'014, 2'048, false, 5}}) {
    SCOPED_TRACE(std::to_string(c.size) + " B in segments of " + std::to_string(c.segment));
    const Bytes bytes = Pattern(c.size, 9);
    const uint64_t handle = Put(*store, bytes, TimeNs{123'456'789'012}, c.segment);
    EXPECT_EQ(InRing(handle), c.in_ring);
    EXPECT_EQ(MbufsInUse(*store), c.mbufs);
    EXPECT_EQ(store->arrival(handle), TimeNs{123'456'789'012});
    EXPECT_EQ(store->frame_bytes(handle), c.size);
    const std::span<const uint8_t> first = store->bytes(handle);
    EXPECT_EQ(first.size(), std::min(c.size, c.segment));
    EXPECT_TRUE(std::equal(first.begin(), first.end(), bytes.begin()));
    EXPECT_EQ(Consume(store->take(handle)), bytes);
    EXPECT_EQ(MbufsInUse(*store), 0u);
    EXPECT_EQ(store->ring_bytes_used(), 0u);
  }
}

TEST(PacketStore, WithoutARingEveryFrameKeepsItsMbuf) {
  const auto store = MakeStore(0);
  const Bytes bytes = Pattern(60, 1);
  const uint64_t handle = Put(*store, bytes);
  EXPECT_FALSE(InRing(handle));
  EXPECT_EQ(MbufsInUse(*store), 1u);
  EXPECT_EQ(Consume(store->take(handle)), bytes);
}

TEST(PacketStore, RoomComesBackInTheOrderOfTheRing) {
  const auto store = MakeStore(1'024);
  uint64_t handles[5];
  for (uint32_t i = 0; i < 5; ++i) handles[i] = Put(*store, Pattern(240, i));  // slots of 256 B
  EXPECT_TRUE(InRing(handles[3]));
  EXPECT_FALSE(InRing(handles[4]));  // the ring is full
  EXPECT_EQ(MbufsInUse(*store), 1u);
  EXPECT_EQ(Consume(store->take(handles[4])), Pattern(240, 4));

  store->drop(handles[2]);
  store->drop(handles[1]);
  EXPECT_EQ(store->ring_bytes_used(), 1'024u);
  store->drop(handles[0]);
  EXPECT_EQ(store->ring_bytes_used(), 256u);
  EXPECT_EQ(Consume(store->take(handles[3])), Pattern(240, 3));
  EXPECT_EQ(store->ring_bytes_used(), 0u);
  EXPECT_EQ(MbufsInUse(*store), 0u);
}

TEST(PacketStore, ASlotIsNeverSplitAtTheEnd) {
  const auto store = MakeStore(1'024);
  uint64_t handles[4];
  for (uint32_t i = 0; i < 3; ++i) handles[i] = Put(*store, Pattern(256, i));  // slots of 272 B
  EXPECT_FALSE(InRing(handles[3] = Put(*store, Pattern(256, 3))));  // 208 B are left at the end
  store->drop(handles[3]);
  store->drop(handles[0]);
  store->drop(handles[1]);
  EXPECT_EQ(store->ring_bytes_used(), 272u);
  handles[3] = Put(*store, Pattern(256, 4));
  EXPECT_TRUE(InRing(handles[3]));
  EXPECT_EQ(store->ring_bytes_used(), 272u + 208 + 272);
  EXPECT_EQ(Consume(store->take(handles[2])), Pattern(256, 2));
  EXPECT_EQ(store->ring_bytes_used(), 272u);  // what was left over came back too
  EXPECT_EQ(Consume(store->take(handles[3])), Pattern(256, 4));
  EXPECT_EQ(store->ring_bytes_used(), 0u);
}

TEST(PacketStore, CopiesLeaveTheOriginal) {
  const auto store = MakeStore(4'096);
  for (const size_t size : {60u, 1'500u, 9'014u}) {
    const Bytes bytes = Pattern(size, 3);
    const uint64_t handle = Put(*store, bytes, TimeNs{5});
    const unsigned before = MbufsInUse(*store);
    rte_mbuf* copy = store->copy(handle);
    ASSERT_NE(copy, nullptr);
    EXPECT_EQ(*rte_pktmbuf_mtod(copy, uint8_t*) ^= 0xff, bytes[0] ^ 0xff);  // its own memory
    Consume(copy);
    EXPECT_EQ(MbufsInUse(*store), before);
    EXPECT_EQ(store->arrival(handle), TimeNs{5});
    EXPECT_EQ(Consume(store->take(handle)), bytes);
    EXPECT_EQ(MbufsInUse(*store), 0u);
  }
}

TEST(PacketStore, WithoutAFreeMbufPacketsStayHeld) {
  const auto store = MakeStore(4'096);
  const uint64_t small = Put(*store, Pattern(60, 1));
  const uint64_t large = Put(*store, Pattern(600, 2));
  std::vector<rte_mbuf*> taken;
  while (rte_mbuf* packet = rte_pktmbuf_alloc(Pool())) taken.push_back(packet);
  while (rte_mbuf* packet = store->copy(small)) taken.push_back(packet);  // the spare ones
  EXPECT_EQ(store->take(small), nullptr);
  EXPECT_EQ(store->copy(small), nullptr);
  EXPECT_EQ(store->copy(large), nullptr);
  rte_pktmbuf_free_bulk(taken.data(), static_cast<unsigned>(taken.size()));
  EXPECT_EQ(Consume(store->take(small)), Pattern(60, 1));
  EXPECT_EQ(Consume(store->take(large)), Pattern(600, 2));
  EXPECT_EQ(MbufsInUse(*store), 0u);
}

TEST(PacketStore, GivesItsRingBackAndRefusesWhatIsNotThere) {
  const uint64_t before = HeapInUse();
  {
    const auto store = MakeStore(uint64_t{1} << 20);
    EXPECT_GE(HeapInUse(), before + (uint64_t{1} << 20));
  }
  EXPECT_EQ(HeapInUse(), before);
  const auto refused = PacketStore::Create(Pool(), uint64_t{1} << 40, SOCKET_ID_ANY);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kMachine);
}

// --- Against a simple model ----------------------------------------------------------------------

struct Held {
  uint64_t handle = 0;
  Bytes bytes;
  TimeNs arrival;
  unsigned segments = 0;
};

class Model {
 public:
  explicit Model(uint64_t ring_bytes) : ring_bytes_(ring_bytes), store_(MakeStore(ring_bytes)) {}
  ~Model() { end_all(); }

  void put_burst() {
    const auto sizes = *rc::gen::nonEmpty(rc::gen::resize(
        80, rc::gen::container<std::vector<size_t>>(
                rc::gen::weightedOneOf<size_t>({{8, rc::gen::inRange<size_t>(14, 257)},
                                                {2, rc::gen::inRange<size_t>(257, 1'515)},
                                                {1, rc::gen::inRange<size_t>(1'515, 4'097)}}))));
    std::vector<rte_mbuf*> packets;
    std::vector<Held> frames;
    for (const size_t size : sizes) {
      const size_t segment = *rc::gen::element<size_t>(2'048, 2'048, 2'048, 1'000, 128);
      const auto segments = static_cast<unsigned>((size + segment - 1) / segment);
      if (rte_mempool_avail_count(Pool()) < segments) break;
      frames.push_back({0, Pattern(size, ++number_), TimeNs{int64_t{number_} * 1'000}, segments});
      packets.push_back(MakeMbuf(frames.back().bytes, segment));
    }
    const bool roomy = store_->ring_bytes_used() + 272 * (frames.size() + 1) <= ring_bytes_;
    for (size_t i = 0; i < frames.size(); ++i) {
      frames[i].handle = store_->put(packets[i], frames[i].arrival);
      const bool small = frames[i].bytes.size() <= 256 && frames[i].segments == 1;
      RC_ASSERT(small || !InRing(frames[i].handle));
      if (small && roomy) RC_ASSERT(InRing(frames[i].handle));
      held_.push_back(std::move(frames[i]));
    }
  }

  void end_one() {
    if (held_.empty()) return;
    const size_t i = *rc::gen::inRange<size_t>(0, held_.size());
    const Held frame = held_[i];
    if (*rc::gen::inRange(0, 3) == 0) {
      store_->drop(frame.handle);
    } else {
      rte_mbuf* packet = store_->take(frame.handle);
      if (packet == nullptr) return;  // no mbuf is free: still held
      RC_ASSERT(Consume(packet) == frame.bytes);
    }
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  void copy_one() {
    if (held_.empty()) return;
    const Held& frame = held_[*rc::gen::inRange<size_t>(0, held_.size())];
    rte_mbuf* packet = store_->copy(frame.handle);
    if (packet != nullptr) RC_ASSERT(Consume(packet) == frame.bytes);
  }

  void check() const {
    std::set<uint64_t> handles;
    unsigned mbufs = 0;
    uint64_t in_ring = 0;
    for (const Held& frame : held_) {
      handles.insert(frame.handle);
      RC_ASSERT(store_->arrival(frame.handle) == frame.arrival);
      RC_ASSERT(store_->frame_bytes(frame.handle) == frame.bytes.size());
      const std::span<const uint8_t> first = store_->bytes(frame.handle);
      RC_ASSERT(std::equal(first.begin(), first.end(), frame.bytes.begin()));
      if (InRing(frame.handle)) {
        in_ring += (frame.bytes.size() + PacketStore::kSlotOverheadBytes + 15) / 16 * 16;
      } else {
        mbufs += frame.segments;
      }
    }
    RC_ASSERT(handles.size() == held_.size());
    RC_ASSERT(MbufsInUse(*store_) == mbufs);
    RC_ASSERT(store_->ring_bytes_used() >= in_ring);
    RC_ASSERT(store_->ring_bytes_used() <= ring_bytes_);
    if (in_ring == 0) RC_ASSERT(store_->ring_bytes_used() == 0u);
  }

  void end_all() {
    for (const Held& frame : held_) store_->drop(frame.handle);
    held_.clear();
  }

 private:
  const uint64_t ring_bytes_;
  const std::unique_ptr<PacketStore> store_;
  std::vector<Held> held_;
  uint32_t number_ = 0;
};

RC_GTEST_PROP(PacketStoreProperty, GivesBackWhatItTook, ()) {
  Model model(*rc::gen::element<uint64_t>(0, 576, 1'024, 4'096, 65'536));
  const int steps = *rc::gen::inRange(1, 60);
  for (int i = 0; i < steps; ++i) {
    const int what = *rc::gen::inRange(0, 8);
    if (what < 2) {
      model.put_burst();
    } else if (what < 7) {
      model.end_one();
    } else {
      model.copy_one();
    }
    model.check();
  }
  model.end_all();
  model.check();
}

}  // namespace
}  // namespace farspan::dpdk
