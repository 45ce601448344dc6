// Any sequence of RoCEv2 packets, kept, dropped, corrupted and reordered by the link, over a table
// too small for it: the observer's books close.
//
// Every 8 bytes of the input are one packet: opcode, queue pair with its direction and IP version,
// PSN (near the last ones, or anywhere), payload, AETH, time since the packet before, and its fate.
#include <array>
#include <cstdint>
#include <deque>
#include <span>

#include "emulator/base/check.h"
#include "emulator/roce/qp_observer.h"
#include "tests/support/roce_builder.h"

namespace {

using namespace farspan;
using namespace farspan::roce;

constexpr ObserverSpec kSpec{.queue_pairs = 3};
constexpr TimeNs kRoundTrip{1'000'000};
constexpr size_t kHeldMax = 8;

struct Held {
  uint32_t direction;
  Passage passage;
  Outcome outcome;
};

class Link {
 public:
  void enter(std::span<const uint8_t, 8> in) {
    now_ += TimeNs{int64_t{in[6]} * in[6] * 100};
    const uint32_t direction = in[1] & 1;
    psn_ = (in[2] & 0x80) != 0 ? static_cast<uint32_t>(in[2] << 17 | in[3] << 9 | in[1])
                               : psn_ + static_cast<uint32_t>(static_cast<int8_t>(in[3]));
    test::FrameSpec frame{.ip_version = (in[1] & 2) != 0 ? 6 : 4};
    if (frame.ip_version == 6) {
      frame.src = direction == 0 ? "fd00::1" : "fd00::2";
      frame.dst = direction == 0 ? "fd00::2" : "fd00::1";
    } else if (direction == 1) {
      std::swap(frame.src, frame.dst);
    }
    const auto bytes = test::BuildRoce({.frame = frame,
                                        .opcode = in[0],
                                        .dest_qp = uint32_t{in[1]} >> 2 & 7,
                                        .psn = psn_ & kPsnMask,
                                        .payload_bytes = size_t{in[4]} * 16,
                                        .dma_length = uint32_t{in[4]} << (in[5] & 15),
                                        .syndrome = in[5],
                                        .src_qp = uint32_t{in[1]} >> 5,
                                        .good_icrc = false});
    const FrameView view = ParseFrame(bytes, static_cast<uint32_t>(bytes.size()), 0);
    const RoceView roce = ParseRoce(bytes, view);
    Passage passage;
    const QpNote note = observer_.ingress(direction, now_, bytes, view, roce, passage);
    FARSPAN_CHECK((note.entry == kNoQueuePair) == (roce.fault != RoceFault::kNone));
    if (note.entry == kNoQueuePair) return;
    FARSPAN_CHECK(note.entry < observer_.live());
    held_.push_back({direction,
                     passage,
                     {.entered = now_,
                      .dropped = (in[7] & 7) == 1,
                      .corrupted = (in[7] & 7) == 2,
                      .marked = (in[7] & 8) != 0}});
    if (held_.size() > (in[7] & 0x10 ? kHeldMax : 0)) leave((in[7] & 0x20) != 0);
  }

  void finish() {
    while (!held_.empty()) leave(false);
    FARSPAN_CHECK(observer_.live() <= observer_.capacity());
    std::array<uint64_t, 2> live{};
    std::array<uint64_t, 2> live_packets{};
    for (uint32_t entry = 0; entry < observer_.live(); ++entry) {
      const QpSnapshot qp = observer_.snapshot(entry);
      FARSPAN_CHECK((qp.next_psn | qp.expected_psn | qp.acknowledged_psn) <= kPsnMask);
      check(qp.counters);
      ++live[qp.direction];
      live_packets[qp.direction] += qp.counters.ingress.packets;
    }
    for (uint32_t direction : {0u, 1u}) {
      const ObserverTotals& totals = observer_.totals(direction);
      check(totals.sum);
      FARSPAN_CHECK(totals.opened == totals.evicted + live[direction]);
      FARSPAN_CHECK(live_packets[direction] <= totals.sum.ingress.packets);
      FARSPAN_CHECK(totals.evicted != 0 || live_packets[direction] == totals.sum.ingress.packets);
      FARSPAN_CHECK(totals.sum.ingress.packets ==
                    totals.sum.egress.packets + totals.sum.dropped + totals.sum.corrupted);
    }
  }

 private:
  void leave(bool newest) {
    const Held packet = newest ? held_.back() : held_.front();
    newest ? held_.pop_back() : held_.pop_front();
    observer_.egress(packet.direction, packet.passage, packet.outcome);
  }

  static void check(const QpCounters& c) {
    for (const TapCounters* tap : {&c.ingress, &c.egress}) {
      FARSPAN_CHECK(tap->goodput_bytes <= tap->payload_bytes);
      FARSPAN_CHECK(tap->payload_bytes <= tap->frame_bytes);
      FARSPAN_CHECK(tap->repeated + tap->messages + tap->responses <= 2 * tap->packets);
      FARSPAN_CHECK(tap->gaps <= tap->packets && tap->gaps <= tap->missing);
      uint64_t acks = 0;
      for (const uint64_t kind : tap->acks) acks += kind;
      FARSPAN_CHECK(acks == tap->packets);
    }
    FARSPAN_CHECK(c.spurious + c.undecided <= c.ingress.repeated);
    FARSPAN_CHECK(c.recovery.count == 0 || c.recovery.min <= c.recovery.max);
    FARSPAN_CHECK(c.recovery.count == 0 || c.recovery.min >= TimeNs{});
  }

  QpObserver observer_{kSpec, kRoundTrip};
  std::deque<Held> held_;
  TimeNs now_{};
  uint32_t psn_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Link link;
  for (; size >= 8; data += 8, size -= 8) link.enter(std::span<const uint8_t, 8>(data, 8));
  link.finish();
  return 0;
}
