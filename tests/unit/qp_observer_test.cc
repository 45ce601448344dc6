// The observer by small stories of one stream of requests, each of which says what is counted; bad
// packets; the table's bounds.
#include "emulator/roce/qp_observer.h"

#include <gtest/gtest.h>

#include "tests/support/connection_story.h"

namespace farspan::roce {
namespace {

using namespace farspan::literals;
using namespace farspan::test;

class QpObserverTest : public ConnectionTest {};
INSTANTIATE_TEST_SUITE_P(IpVersions, QpObserverTest, testing::Values(4, 6));

TEST_P(QpObserverTest, CountsMessagesAndGoodput) {
  wire.pass(0, Request(5, kWriteFirst, 1024));
  wire.pass(0, Request(6, kWriteLast, 10));
  wire.pass(0, Request(7, kSendOnly, 0));
  const QpSnapshot qp = forward();
  for (const TapCounters* tap : {&qp.counters.ingress, &qp.counters.egress}) {
    EXPECT_EQ(tap->packets, 3u);
    EXPECT_EQ(tap->messages, 2u);
    EXPECT_EQ(tap->goodput_bytes, 1034u);
    EXPECT_EQ(tap->repeated + tap->gaps + tap->missing, 0u);
  }
  EXPECT_EQ(qp.path_mtu, 1024u);
  EXPECT_EQ(qp.next_psn, 8u);
  EXPECT_EQ(qp.expected_psn, 8u);
  EXPECT_EQ(qp.ip_version, GetParam());
}

TEST_P(QpObserverTest, OneDroppedPsnIsOneGapAndOneRecovery) {
  for (uint32_t psn = 0; psn < 5; ++psn) {
    wire.now += 1_ms;
    wire.pass(0, Request(psn), psn == 2 ? Fate::kDrop : Fate::kDeliver);
  }
  EXPECT_EQ(forward().expected_psn, 2u);
  EXPECT_EQ(forward().counters.egress.gaps, 1u);
  EXPECT_EQ(forward().counters.egress.missing, 1u);
  EXPECT_EQ(forward().outstanding_losses, 1u);
  wire.pass(1, Answer(2, kAck, 0x60));
  wire.now = 20_ms;
  for (uint32_t psn = 2; psn < 5; ++psn) {
    EXPECT_TRUE(wire.pass(0, Request(psn)).retransmission);
  }
  const QpSnapshot qp = forward();
  EXPECT_EQ(qp.expected_psn, 5u);
  EXPECT_EQ(qp.outstanding_losses, 0u);
  EXPECT_EQ(qp.counters.dropped, 1u);
  EXPECT_EQ(qp.counters.ingress.repeated, 3u);
  EXPECT_EQ(qp.counters.egress.repeated, 2u);  // 3 and 4 were there already
  EXPECT_EQ(qp.counters.egress.goodput_bytes, 5 * 256u);
  EXPECT_EQ(qp.counters.recovery.count, 1u);
  EXPECT_EQ(qp.counters.recovery.min, 17_ms);  // it entered at 3 ms
  EXPECT_EQ(qp.counters.recovery.max, 17_ms);
  EXPECT_EQ(qp.counters.spurious + qp.counters.undecided, 0u);
  EXPECT_EQ(back().counters.ingress.acks[static_cast<size_t>(AckKind::kPsnSequenceError)], 1u);
  const auto& histogram = wire.observer().totals(0).recovery;
  EXPECT_EQ(histogram[7], 1u);  // up to 20 ms
}

// The twin of the one above: what is corrupted is no less lost.
TEST_P(QpObserverTest, CorruptionIsLoss) {
  wire.pass(0, Request(0));
  wire.pass(0, Request(1), Fate::kCorrupt);
  EXPECT_EQ(forward().expected_psn, 1u);
  wire.now = 12_ms;
  wire.pass(0, Request(1));
  const QpSnapshot qp = forward();
  EXPECT_EQ(qp.counters.corrupted, 1u);
  EXPECT_EQ(qp.counters.dropped, 0u);
  EXPECT_EQ(qp.counters.egress.gaps, 0u);  // the last: the far host could not know
  EXPECT_EQ(qp.counters.recovery.min, 12_ms);
  EXPECT_EQ(qp.expected_psn, 2u);
}

TEST_P(QpObserverTest, LostAcknowledgementsMakeDuplicates) {
  for (uint32_t psn = 0; psn < 3; ++psn) wire.pass(0, Request(psn));
  wire.pass(1, Answer(2), Fate::kDrop);
  wire.now = 10_ms;  // one round trip: the timer may well have known
  for (uint32_t psn = 0; psn < 3; ++psn) wire.pass(0, Request(psn));
  EXPECT_EQ(forward().counters.egress.repeated, 3u);
  EXPECT_EQ(forward().counters.egress.goodput_bytes, 3 * 256u);
  EXPECT_EQ(forward().counters.spurious, 0u);
  EXPECT_EQ(forward().counters.recovery.count, 0u);
  EXPECT_EQ(back().counters.dropped, 1u);
}

// A timer of 4 ms on a link of 10 ms.
TEST_P(QpObserverTest, EarlyRetransmissionsAreSpurious) {
  wire.pass(0, Request(0));
  wire.now = 4_ms;
  wire.pass(0, Request(0));
  wire.now = 12_ms;  // 8 ms after the second
  wire.pass(0, Request(0));
  EXPECT_EQ(forward().counters.spurious, 2u);
  wire.now = 22_ms;
  wire.pass(0, Request(0));
  EXPECT_EQ(forward().counters.spurious, 2u);
  EXPECT_EQ(forward().counters.undecided, 0u);
}

// Going back is judged by where it goes back to: what was sent just before the NAK came is resent
// at once, and for a reason.
TEST_P(QpObserverTest, GoBackNIsJudgedByItsFirst) {
  wire.pass(0, Request(0), Fate::kDrop);
  for (uint32_t psn = 1; psn < 40; ++psn) {
    wire.now += 250_us;
    wire.pass(0, Request(psn));
  }
  wire.now = 10'001_us;
  for (uint32_t psn = 0; psn < 40; ++psn) wire.pass(0, Request(psn));
  EXPECT_EQ(forward().counters.ingress.repeated, 40u);
  EXPECT_EQ(forward().counters.spurious + forward().counters.undecided, 0u);
  wire.pass(0, Request(39));  // the twin: this one on its own
  EXPECT_EQ(forward().counters.spurious, 1u);
}

TEST_P(QpObserverTest, SelectiveRepeatFillsHoles) {
  for (uint32_t psn = 0; psn < 100; ++psn) {
    wire.pass(0, Request(psn), psn % 10 == 3 ? Fate::kDrop : Fate::kDeliver);
  }
  EXPECT_EQ(forward().counters.egress.gaps, 10u);
  EXPECT_EQ(forward().counters.egress.missing, 10u);
  wire.now = 11_ms;
  for (uint32_t psn = 93; psn < 100; psn -= 10) wire.pass(0, Request(psn));
  EXPECT_EQ(forward().expected_psn, 100u);
  EXPECT_EQ(forward().counters.egress.repeated, 0u);
  EXPECT_EQ(forward().counters.egress.goodput_bytes, 100 * 256u);
  EXPECT_EQ(forward().counters.recovery.count, 10u);
}

TEST_P(QpObserverTest, ALossReportedAfterItsRetransmissionStillCounts) {
  const auto lost = wire.enter(0, Request(0));
  wire.now = 2_ms;
  const auto again = wire.enter(0, Request(0));
  EXPECT_EQ(forward().counters.spurious, 1u);
  wire.now = 5_ms;
  wire.leave(lost, Fate::kDrop);
  wire.leave(again);
  EXPECT_EQ(forward().counters.recovery.count, 1u);
  EXPECT_EQ(forward().counters.recovery.max, 2_ms);
  EXPECT_EQ(forward().expected_psn, 1u);
  EXPECT_EQ(forward().counters.egress.goodput_bytes, 256u);
  EXPECT_EQ(forward().outstanding_losses, 0u);
}

TEST_P(QpObserverTest, ReorderedPacketsAreNoDuplicates) {
  const auto first = wire.enter(0, Request(0));
  const auto second = wire.enter(0, Request(1));
  const auto third = wire.enter(0, Request(2));
  wire.leave(second);
  wire.leave(third);
  EXPECT_EQ(forward().expected_psn, 0u);
  EXPECT_EQ(forward().counters.egress.gaps, 1u);
  wire.leave(first);
  EXPECT_EQ(forward().expected_psn, 3u);
  EXPECT_EQ(forward().counters.egress.repeated, 0u);
  EXPECT_EQ(forward().counters.egress.goodput_bytes, 3 * 256u);
  wire.leave(first);  // the twin: a duplicate that the link made
  EXPECT_EQ(forward().counters.egress.repeated, 1u);
}

TEST_P(QpObserverTest, PsnsWrap) {
  for (uint32_t i = 0; i < 10; ++i) {
    wire.pass(0, Request(PsnAdd(0xfffffb, i)), i == 5 ? Fate::kDrop : Fate::kDeliver);
  }
  EXPECT_EQ(forward().expected_psn, 0u);
  EXPECT_EQ(forward().next_psn, 5u);
  wire.now = 10_ms;
  for (uint32_t i = 5; i < 10; ++i) wire.pass(0, Request(PsnAdd(0xfffffb, i)));
  EXPECT_EQ(forward().expected_psn, 5u);
  EXPECT_EQ(forward().counters.egress.goodput_bytes, 10 * 256u);
  EXPECT_EQ(forward().counters.restarts, 0u);
}

TEST_P(QpObserverTest, AFarJumpIsANewConnection) {
  wire.pass(0, Request(100));
  wire.pass(0, Request(0x500000));
  wire.pass(0, Request(0x500001));
  EXPECT_EQ(forward().counters.restarts, 1u);
  EXPECT_EQ(forward().counters.egress.gaps, 0u);
  EXPECT_EQ(forward().expected_psn, 0x500002u);
  wire.pass(0, Request(0x500001 + 3));  // the twin: a near one is a gap
  EXPECT_EQ(forward().counters.restarts, 1u);
  EXPECT_EQ(forward().counters.egress.missing, 2u);
}

TEST_P(QpObserverTest, NotesSayWhichPacketOfWhichMessage) {
  struct Step {
    uint32_t psn;
    uint8_t opcode;
    size_t payload;
    uint64_t message;
    uint32_t index;
    bool retransmission;
  };
  constexpr Step kSteps[] = {
      {10, kSendMiddle, 1024, 0, 0, false},  // its start was not seen
      {11, kSendLast, 5, 0, 0, false},      {12, kSendOnly, 5, 1, 0, false},
      {13, kSendFirst, 1024, 2, 0, false},  {14, kSendMiddle, 1024, 2, 1, false},
      {15, kSendLast, 5, 2, 2, false},      {16, kWriteFirst, 1024, 3, 0, false},
      {13, kSendFirst, 1024, 2, 0, true},   {14, kSendMiddle, 1024, 2, 1, true},
      {12, kSendOnly, 5, 1, 0, true},       {11, kSendLast, 5, 0, 0, true},
      {17, kWriteLast, 7, 3, 1, false},
  };
  for (const Step& step : kSteps) {
    const QpNote note = wire.pass(0, Request(step.psn, step.opcode, step.payload));
    EXPECT_EQ(note.message, step.message) << step.psn;
    EXPECT_EQ(note.index, step.index) << step.psn;
    EXPECT_EQ(note.retransmission, step.retransmission) << step.psn;
    EXPECT_EQ(note.last_of_message(),
              step.opcode == kSendLast || step.opcode == kSendOnly || step.opcode == kWriteLast);
    EXPECT_EQ(note.dest_qp, kQpB);
    EXPECT_EQ(note.psn, step.psn);
  }
}

TEST_P(QpObserverTest, ForgetsMessagesOfLongAgo) {
  for (uint32_t psn = 0; psn < 10; ++psn) wire.pass(0, Request(psn));
  EXPECT_EQ(wire.pass(0, Request(2)).message, 3u);
  EXPECT_EQ(wire.pass(0, Request(1)).message, 0u);
}

TEST_P(QpObserverTest, ReadsTeachThePathMtu) {
  RoceSpec read = Request(0, kReadRequest, 0);
  read.dma_length = 64 * 1024;
  wire.pass(0, read);
  read.psn = 32;  // 2,048 B each
  wire.pass(0, read);
  wire.pass(0, Request(64));
  EXPECT_EQ(forward().counters.egress.gaps + forward().counters.ingress.gaps, 0u);
  EXPECT_EQ(forward().path_mtu, 2048u);
  wire.pass(0, Request(66));  // the twin
  EXPECT_EQ(forward().counters.egress.gaps, 1u);
}

TEST_P(QpObserverTest, ALostReadRequestIsOneGap) {
  wire.pass(0, Request(0, kWriteFirst, 1024));
  wire.pass(0, Request(1, kWriteLast, 8));
  RoceSpec read = Request(2, kReadRequest, 0);
  read.dma_length = 5 * 1024;
  wire.pass(0, read, Fate::kDrop);
  wire.pass(0, Request(7));
  EXPECT_EQ(forward().counters.egress.gaps, 1u);
  EXPECT_EQ(forward().counters.egress.missing, 5u);
  EXPECT_EQ(forward().outstanding_losses, 1u);
  wire.now = 11_ms;
  wire.pass(0, read);
  EXPECT_EQ(forward().expected_psn, 8u);
  EXPECT_EQ(forward().outstanding_losses, 0u);
}

TEST_P(QpObserverTest, CountsMarks) {
  RoceSpec spec = Request(0);
  spec.frame.ecn = 2;
  wire.pass(0, spec);
  spec.psn = 1;
  wire.pass(0, spec, Fate::kMark);
  spec.psn = 2;
  spec.frame.ecn = 3;
  wire.pass(0, spec);
  EXPECT_EQ(forward().counters.ingress.ce, 1u);
  EXPECT_EQ(forward().counters.egress.ce, 2u);
}

TEST_P(QpObserverTest, DatagramsHaveManySenders) {
  for (uint32_t i = 0; i < 5; ++i) {
    const QpNote note = wire.pass(
        0,
        {.opcode = 0x64, .dest_qp = 1, .psn = 1000 * i, .payload_bytes = 256, .src_qp = 1 + i % 2});
    EXPECT_EQ(note.src_qp, 1 + i % 2);
  }
  EXPECT_EQ(wire.observer().live(), 2u);
  const QpCounters& sum = wire.observer().totals(0).sum;
  EXPECT_EQ(sum.egress.messages, 5u);
  EXPECT_EQ(sum.egress.goodput_bytes, 5 * 256u);
  EXPECT_EQ(sum.egress.gaps + sum.egress.repeated + sum.restarts, 0u);
}

// --- Bad packets, bounds ---------------------------------------------------------------------

TEST(QpObserver, CountsFaultsByCause) {
  ObservedWire wire({});
  wire.enter(0, {.opcode = 0x15});
  wire.enter(0, {.opcode = 0x11, .payload_bytes = 4});
  wire.enter(0, {.frame = {.dst_port = 53}});
  const auto& faults = wire.observer().totals(0).faults;
  EXPECT_EQ(faults[static_cast<size_t>(RoceFault::kOpcode)], 1u);
  EXPECT_EQ(faults[static_cast<size_t>(RoceFault::kPayloadLength)], 1u);
  EXPECT_EQ(faults[static_cast<size_t>(RoceFault::kNotRoce)], 0u);
  EXPECT_EQ(wire.observer().live(), 0u);
}

TEST(QpObserver, ChecksTheIcrcOnDemand) {
  for (const bool check : {false, true}) {
    ObservedWire wire({.check_icrc = check});
    wire.enter(0, {.psn = 1});
    const QpNote bad = wire.enter(0, {.psn = 2, .good_icrc = false}).note;
    EXPECT_EQ(bad.entry == kNoQueuePair, check);
    EXPECT_EQ(bad.opcode_class, OpcodeClass::kSend);
    EXPECT_EQ(wire.observer().totals(0).bad_icrc, check ? 1u : 0u);
    EXPECT_EQ(wire.observer().totals(0).sum.ingress.packets, check ? 1u : 2u);
  }
}

TEST(QpObserver, CountsWhatItCannotCheck) {
  ObservedWire wire({.check_icrc = true});
  const auto packet = wire.enter(0, {.payload_bytes = 256});
  const std::span<const uint8_t> first(packet.bytes.data(), 100);
  Passage passage;
  wire.observer().ingress(0, {}, first, packet.frame, packet.roce, passage);
  EXPECT_EQ(wire.observer().totals(0).unchecked_icrc, 1u);
  EXPECT_EQ(wire.observer().totals(0).bad_icrc, 0u);
}

// The totals go on where single queue pairs are forgotten.
TEST(QpObserver, EvictsTheIdle) {
  ObservedWire wire({.queue_pairs = 16});  // 32 entries
  RoceSpec busy = Request(0);
  for (uint32_t i = 0; i < 1000; ++i) {
    busy.psn = i;
    wire.pass(0, busy, i == 500 ? Fate::kDrop : Fate::kDeliver);
    wire.pass(0, {.dest_qp = 1000 + i});
  }
  EXPECT_EQ(wire.observer().live(), 32u);
  EXPECT_EQ(wire.queue_pair(0, kQpB).counters.ingress.packets, 1000u);
  EXPECT_EQ(wire.queue_pair(0, kQpB).expected_psn, 500u);
  const ObserverTotals& totals = wire.observer().totals(0);
  EXPECT_EQ(totals.opened, 1001u);
  EXPECT_EQ(totals.evicted, 1001u - 32u);
  EXPECT_EQ(totals.sum.egress.packets, 1999u);
}

TEST(QpObserver, ForgetsTheOldestLossesFirst) {
  ObservedWire wire({.queue_pairs = 1});
  for (uint32_t psn = 0; psn < 2000; ++psn) {
    wire.now += 1_us;
    wire.pass(0, Request(psn), psn % 2 == 1 ? Fate::kDrop : Fate::kDeliver);
  }
  const ObserverTotals& totals = wire.observer().totals(0);
  EXPECT_GT(totals.forgotten_losses, 900u);
  EXPECT_EQ(totals.forgotten_losses + wire.queue_pair(0, kQpB).outstanding_losses, 1000u);
  EXPECT_EQ(totals.sum.egress.missing, 999u);  // the last one was not skipped yet
}

}  // namespace
}  // namespace farspan::roce
