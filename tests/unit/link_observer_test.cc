// Reading an observer while its lcore works: whole queue pairs, all of them, and no race.
#include "emulator/dpdk/link_observer.h"

#include <gtest/gtest.h>

#include <thread>

#include "emulator/link/path.h"

namespace farspan::dpdk {
namespace {

using roce::QpSnapshot;

// Every queue pair gets the same number of packets, of 100 B each.
void Pass(roce::QpObserver& observer, uint32_t queue_pair, uint32_t psn) {
  roce::FrameView frame;
  frame.ip_version = 4;
  frame.frame_bytes = 162;
  roce::RoceView roce;
  roce.fault = roce::RoceFault::kNone;
  roce.opcode_class = roce::OpcodeClass::kSend;
  roce.payload_bytes = 100;
  roce.dest_qp = queue_pair;
  roce.psn = psn;
  roce::Passage passage;
  observer.ingress(0, {}, {}, frame, roce, passage);
  observer.egress(0, passage, {});
}

TEST(LinkObserver, IsReadWhileItWorks) {
  constexpr uint32_t kQueuePairs = 100;
  LinkObserver link({.queue_pairs = kQueuePairs}, TimeNs{1'000'000});
  std::atomic<bool> stop{false};
  std::thread lcore([&] {
    for (uint32_t i = 0; !stop; ++i) {
      Pass(link.observer(), i % kQueuePairs, i / kQueuePairs);
      if (i % 32 != 0) continue;
      link.serve();
      link.publish(0);
    }
  });
  while (link.totals(0).sum.egress.packets < 10 * kQueuePairs) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) {
    const auto read = link.read();
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->size(), kQueuePairs);
    for (const QpSnapshot& qp : *read) {
      EXPECT_EQ(qp.counters.ingress.packets, qp.counters.egress.packets);
      EXPECT_EQ(qp.counters.egress.goodput_bytes, 100 * qp.counters.egress.packets);
      EXPECT_GE(qp.counters.egress.packets, 9u);
    }
    const roce::ObserverTotals totals = link.totals(0);
    EXPECT_EQ(totals.sum.ingress.packets, totals.sum.egress.packets);
  }
  link.set_round_trip(TimeNs{2'000'000});
  stop = true;
  lcore.join();
  EXPECT_EQ(link.read_at_rest().size(), kQueuePairs);
}

TEST(LinkObserver, TheLeastRoundTripCounts) {
  link::DirectionSpec ab;
  link::DirectionSpec ba;
  ab.lanes.resize(2);
  ab.lanes[0].path.length = {1'000'000'000};
  ab.lanes[1].path.length = {800'000'000};
  ba.lanes[0].path.length = {500'000'000};
  EXPECT_EQ(LeastRoundTrip(ab, ba),
            link::OneWayDelay(ab.lanes[1].path) + link::OneWayDelay(ba.lanes[0].path));
  link::PathSpec shorter = ba.lanes[0].path;
  shorter.length = {100'000'000};
  ba.timeline.push_back({.at = {5}, .change = link::SetPath{0, shorter}});
  EXPECT_EQ(LeastRoundTrip(ab, ba),
            link::OneWayDelay(ab.lanes[1].path) + link::OneWayDelay(shorter));
}

}  // namespace
}  // namespace farspan::dpdk
