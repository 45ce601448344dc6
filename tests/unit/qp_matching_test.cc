// What the observer makes of the two directions of a connection: answers, and matching.
#include <gtest/gtest.h>

#include "emulator/roce/qp_observer.h"
#include "tests/support/connection_story.h"

namespace farspan::roce {
namespace {

using namespace farspan::literals;
using namespace farspan::test;

class QpMatchingTest : public ConnectionTest {};
INSTANTIATE_TEST_SUITE_P(IpVersions, QpMatchingTest, testing::Values(4, 6));

TEST_P(QpMatchingTest, CountsWhatTheFarSideSays) {
  for (uint32_t psn = 0; psn < 3; ++psn) wire.pass(0, Request(psn));
  wire.pass(1, Answer(0));
  wire.pass(1, Answer(1, kAck, 0x20 | 5));
  wire.pass(1, Answer(1, kAck, 0x62));
  wire.pass(1, {.opcode = kCnp, .dest_qp = kQpA, .payload_bytes = 16});
  wire.pass(1, {.opcode = kCnp, .dest_qp = kQpA, .payload_bytes = 16}, Fate::kDrop);
  const TapCounters& in = back().counters.ingress;
  EXPECT_EQ(in.acks[static_cast<size_t>(AckKind::kAck)], 1u);
  EXPECT_EQ(in.acks[static_cast<size_t>(AckKind::kRnrNak)], 1u);
  EXPECT_EQ(in.acks[static_cast<size_t>(AckKind::kRemoteAccessError)], 1u);
  EXPECT_EQ(in.cnps, 2u);
  EXPECT_EQ(back().counters.egress.cnps, 1u);
  EXPECT_EQ(in.goodput_bytes + in.messages + in.responses + in.repeated, 0u);
  EXPECT_EQ(forward().acknowledged_psn, 1u);
}

// A READ of 3 packets, of which the middle one is lost and asked for again.
TEST_P(QpMatchingTest, ReadsTakeThePsnsOfTheirResponses) {
  RoceSpec read = Request(20, kReadRequest, 0);
  read.dma_length = 2 * 1024 + 8;
  wire.pass(0, Request(18, kWriteFirst, 1024));
  wire.pass(0, Request(19, kWriteLast, 8));
  wire.pass(0, read);
  wire.pass(0, Request(23));
  EXPECT_EQ(forward().counters.egress.gaps, 0u);
  wire.pass(1, Answer(19));
  EXPECT_EQ(wire.pass(1, Answer(20, kReadFirst, 0, 1024)).message, 1u);
  wire.pass(1, Answer(21, kReadMiddle, 0, 1024), Fate::kDrop);
  EXPECT_EQ(wire.pass(1, Answer(22, kReadLast, 0, 8)).index, 2u);
  EXPECT_EQ(back().counters.egress.gaps, 1u);
  wire.now = 12_ms;
  read.psn = 21;
  read.dma_length = 1024 + 8;
  EXPECT_TRUE(wire.pass(0, read).retransmission);
  wire.pass(1, Answer(21, kReadFirst, 0, 1024));
  wire.pass(1, Answer(22, kReadLast, 0, 8));
  const QpSnapshot qp = back();
  EXPECT_EQ(qp.counters.egress.goodput_bytes, 2 * 1024 + 8u);
  EXPECT_EQ(qp.counters.egress.repeated, 1u);
  EXPECT_EQ(qp.counters.egress.missing, 1u);
  EXPECT_EQ(qp.counters.recovery.count, 1u);
  EXPECT_EQ(qp.counters.egress.responses, 1u);
  EXPECT_EQ(forward().counters.egress.messages, 3u);  // WRITE, READ, SEND
  EXPECT_EQ(forward().counters.spurious, 0u);
  EXPECT_EQ(forward().next_psn, 24u);
}

TEST_P(QpMatchingTest, TwoAnswersMatchTheDirections) {
  wire.pass(0, Request(100));
  wire.pass(1, Answer(100));
  EXPECT_FALSE(forward().matched);
  wire.pass(0, Request(101));
  wire.pass(1, Answer(101));
  EXPECT_TRUE(forward().matched);
  EXPECT_TRUE(back().matched);
  EXPECT_EQ(forward().src_qp, kQpA);
  EXPECT_EQ(back().src_qp, kQpB);
  EXPECT_EQ(wire.pass(0, Request(102)).src_qp, kQpA);
}

TEST_P(QpMatchingTest, ManyConnectionsBetweenTwoHostsAreToldApart) {
  constexpr uint32_t kQps = 20;
  for (uint32_t round = 0; round < 2; ++round) {
    for (uint32_t i = 0; i < kQps; ++i) {
      RoceSpec request = Request(1000 * i + round);
      request.dest_qp = 500 + i;
      wire.pass(0, request);
    }
    for (uint32_t i = 0; i < kQps; ++i) {
      RoceSpec answer = Answer(1000 * i + round);
      answer.dest_qp = 900 - i;
      wire.pass(1, answer);
    }
  }
  for (uint32_t i = 0; i < kQps; ++i) EXPECT_EQ(wire.queue_pair(0, 500 + i).src_qp, 900 - i);
}

// Two that send the same PSNs at the same time cannot be told apart, unless their UDP source ports
// are the same both ways.
TEST_P(QpMatchingTest, EqualPsnsAreAmbiguousWithoutPorts) {
  const auto exchange = [&](uint16_t port_step) {
    for (uint32_t psn = 0; psn < 5; ++psn) {
      for (uint32_t i = 0; i < 2; ++i) {
        RoceSpec request = Request(psn);
        request.dest_qp = 500 + i;
        request.frame.src_port = static_cast<uint16_t>(50'000 + port_step * i);
        wire.pass(0, request);
      }
      for (uint32_t i = 0; i < 2; ++i) {
        RoceSpec answer = Answer(psn);
        answer.dest_qp = 900 + i;
        answer.frame.src_port = static_cast<uint16_t>(50'000 + port_step * i);
        wire.pass(1, answer);
      }
    }
  };
  exchange(0);
  EXPECT_FALSE(wire.queue_pair(0, 500).matched);
  EXPECT_FALSE(wire.queue_pair(0, 501).matched);
  wire.now = 1_s;
  exchange(7);
  EXPECT_EQ(wire.queue_pair(0, 500).src_qp, 900u);
  EXPECT_EQ(wire.queue_pair(0, 501).src_qp, 901u);
}

TEST_P(QpMatchingTest, AMatchThatFitsNoLongerIsDissolved) {
  for (uint32_t psn = 0; psn < 2; ++psn) {
    wire.pass(0, Request(psn));
    wire.pass(1, Answer(psn));
  }
  EXPECT_TRUE(back().matched);
  for (uint32_t i = 0; i < 20; ++i) wire.pass(1, Answer(0x700000 + i));
  EXPECT_FALSE(back().matched);
  EXPECT_FALSE(forward().matched);
}

}  // namespace
}  // namespace farspan::roce
