// A million queue pairs, losses without end, and not an allocation after construction.
#include <gtest/gtest.h>

#include <memory>

#include "emulator/roce/qp_observer.h"
#include "tests/support/count_allocations.h"

namespace farspan::roce {
namespace {

constexpr ObserverSpec kSpec{.queue_pairs = 1024};

TEST(QpObserverMemory, IsFixedAtConstruction) {
  const uint64_t before_bytes = allocated_bytes;
  const auto observer = std::make_unique<QpObserver>(kSpec, TimeNs{25'000'000});
  const uint64_t taken = allocated_bytes - before_bytes;
  EXPECT_LT(taken, QpObserver::MemoryBytes(kSpec) * 5 / 4);  // hash tables round up
  EXPECT_GT(taken, QpObserver::MemoryBytes(kSpec) * 4 / 5);

  const uint64_t before = allocations;
  FrameView frame;
  frame.ip_version = 4;
  frame.frame_bytes = 1086;
  RoceView roce;
  roce.fault = RoceFault::kNone;
  roce.opcode_class = OpcodeClass::kSend;
  roce.payload_bytes = 1024;
  roce.ack_request = true;
  constexpr uint32_t kQueuePairs = 1'000'000;
  for (uint32_t i = 0; i < 2 * kQueuePairs; ++i) {
    roce.dest_qp = i % kQueuePairs;
    roce.psn = 2 * (i / kQueuePairs);
    Passage passage;
    const QpNote note = observer->ingress(0, TimeNs{i}, {}, frame, roce, passage);
    ASSERT_NE(note.entry, kNoQueuePair);
    observer->egress(0, passage, {.entered = TimeNs{i}, .dropped = i % 3 == 0});
  }
  const uint64_t during = allocations - before;
  EXPECT_EQ(during, 0u);
  EXPECT_EQ(observer->live(), observer->capacity());
  const ObserverTotals& totals = observer->totals(0);
  EXPECT_EQ(totals.opened, 2u * kQueuePairs);
  EXPECT_EQ(totals.evicted, 2u * kQueuePairs - observer->capacity());
  EXPECT_EQ(totals.sum.ingress.packets, 2u * kQueuePairs);
  EXPECT_EQ(totals.sum.dropped + totals.sum.egress.packets, 2u * kQueuePairs);
  EXPECT_NE(std::make_unique<int>(1), nullptr);
  EXPECT_GT(allocations - before, during);  // the twin: the count counts
}

}  // namespace
}  // namespace farspan::roce
