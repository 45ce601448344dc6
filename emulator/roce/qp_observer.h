// QpObserver: follows the RDMA connections that cross a link. Sans-IO.
//
// Each direction has two taps. At ingress() it sees what the host sent, in order, and tells first
// transmissions from retransmissions (a PSN that entered before). At egress() it sees what the link
// made of it, and so what the far host gets: PSNs for the first time, gaps, duplicates, what is
// still missing. Definitions, after IBTA volume 1, chapter 9:
//
//   queue pair    packets from one address to one destination QPN of another: a direction of a
//                 connection. Two of them are matched, with what each says of the other, once two
//                 answers (ACK, READ response) in a row carry the PSN of a request that only one
//                 unmatched queue pair the other way has sent (PairHints; the UDP source port is
//                 looked at too, as NICs that derive it from both QPNs use the same both ways).
//                 A match whose answers fit no request any more is dissolved.
//   goodput       payload of PSNs that came for the first time, in whatever order: what a receiver
//                 that discards what comes after a gap gets a second time is not counted twice.
//   spurious      a retransmission that begins less than one round trip after the same PSN entered
//                 the last time: nothing can have told the sender anything about it yet. PSNs that
//                 follow on in one go (go-back-N) are judged as the first of them. Times are known
//                 exactly for PSNs known as lost, and else to an eighth of the round trip; what
//                 that leaves open is counted as undecided.
//   recovery      from a lost packet's entry to that of the same PSN's retransmission.
//   restart       a PSN more than 2^16 ahead, or 2^16 behind what was acknowledged (2^21 behind the
//                 highest where no acknowledgement is known), begins a new connection.
//
// Memory is fixed at construction (MemoryBytes: about 3 kB per queue pair). Work per packet is
// bounded. Threads: one; both directions of a link. An observer that is given one direction alone
// follows it, but matches nothing. `now` at ingress must not decrease within a direction. Not
// modelled: what no packet says (the sender's QPN before it is matched, PSNs of READ responses
// before the path MTU was seen), RD, order among the senders of datagrams (their PSNs are not
// followed). A packet that the network lost or reordered before ingress counts as skipped, and as
// a retransmission when it comes.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "emulator/roce/lost_psns.h"
#include "emulator/roce/observer_spec.h"
#include "emulator/roce/pair_hints.h"
#include "emulator/roce/qp_counters.h"
#include "emulator/roce/qp_note.h"
#include "emulator/roce/qp_table.h"
#include "emulator/roce/send_history.h"

namespace farspan::roce {

// What egress() needs of a packet that ingress() followed; whoever carries the packet keeps it.
struct Passage {
  uint32_t entry = kNoQueuePair;
  uint32_t psn = 0;
  uint32_t span = 1;  // PSNs that it takes; of a READ request that is `open`, the bytes it asks for
  uint16_t epoch = 0;
  uint16_t frame_bytes = 0;
  uint16_t payload_bytes = 0;
  OpcodeClass opcode_class = OpcodeClass::kNone;
  Position position : 2 = Position::kOnly;
  bool ce : 1 = false;
  bool open : 1 = false;  // the path MTU was not known
  AckKind ack : 4 = AckKind::kNone;
};
static_assert(sizeof(Passage) == 20);

// What the link did with a packet.
struct Outcome {
  TimeNs entered{};  // ingress()'s `now` of the same packet
  bool dropped = false;
  bool corrupted = false;  // delivered, but its ICRC cannot hold
  bool marked = false;     // CE was set
};

class QpObserver {
 public:
  // `round_trip`: the least time in which an answer can come back; 0: spurious is not judged.
  QpObserver(const ObserverSpec& spec, TimeNs round_trip);

  // `direction` is 0 (a to b) or 1. Views are those of `bytes`, the frame's first segment. A frame
  // that is no RoCEv2 packet is counted by its cause.
  // `passage` is set where it is followed (note.entry).
  QpNote ingress(uint32_t direction, TimeNs now, std::span<const uint8_t> bytes,
                 const FrameView& frame, const RoceView& roce, Passage& passage) {
    return ingress(direction, now, bytes, frame, roce, Hash(direction, frame, roce), passage);
  }
  // For every packet that ingress() followed, in the order in which the link gives them back.
  void egress(uint32_t direction, const Passage& packet, const Outcome& outcome);

  // The same for whoever has a burst of packets: first the hash of each, then in a second round
  // what that leads to, so that all is in cache when the first of them enters. Before they leave,
  // prefetch_egress() does as much.
  static uint64_t Hash(uint32_t direction, const FrameView& frame, const RoceView& roce);
  void prefetch_index(uint64_t hash) const { table_.prefetch_index(hash); }
  void prefetch_ingress(uint64_t hash) const;
  QpNote ingress(uint32_t direction, TimeNs now, std::span<const uint8_t> bytes,
                 const FrameView& frame, const RoceView& roce, uint64_t hash, Passage& passage);
  void prefetch_egress(const Passage& packet) const {
    __builtin_prefetch(&queues_[packet.entry].got_requests);
  }

  void set_round_trip(TimeNs round_trip);

  ObserverTotals totals(uint32_t direction) const;
  static uint64_t MemoryBytes(const ObserverSpec& spec);
  uint32_t live() const { return table_.size(); }
  uint32_t capacity() const { return table_.capacity(); }
  // Of an entry below live().
  QpSnapshot snapshot(uint32_t entry) const;

 private:
  static constexpr int32_t kFarBehind = 1 << 21;  // of the highest PSN
  static constexpr int kGrainsPerRoundTrip = 8;

  // PSNs of requests, or of responses, as one tap sees them.
  struct Stream {
    uint32_t next = 0;  // behind the highest
    bool begun = false;
    bool in_message = false;  // the last packet was no message's last
    bool open = false;        // the last was a READ request whose last PSN is not known
  };
  struct OpenRead {
    uint32_t psn = 0;
    uint32_t bytes = 0;
  };
  struct Messages {
    uint64_t count = 0;
    uint32_t start = 0;  // PSN of the current one's first packet
    bool known = false;  // it was seen
  };
  // Of the last kKept messages.
  struct Starts {
    static constexpr uint32_t kKept = 8;
    std::array<uint32_t, kKept> psns{};  // by number
    uint64_t first_known = 1;
  };
  enum class Verdict : uint8_t { kInformed, kUndecided, kSpurious };
  // In lines of the cache, by who touches them: a request in order that enters the first three, one
  // that leaves the second.
  struct alignas(64) Queue {
    Stream sent_requests;
    OpenRead sent_read;
    uint32_t partner = kNoQueuePair;
    bool rerunning = false;  // the last request was a retransmission, with `verdict`
    Verdict verdict = Verdict::kInformed;
    Service service = Service::kRc;
    uint8_t direction = 0;
    TimeNs last_seen{};
    TapBasics entered;

    Stream got_requests;
    uint32_t expected = 0;  // of requests, at the far host
    uint32_t losses = 0;    // records in lost_
    PsnArc lost_requests;   // all of theirs, and others
    uint16_t epoch = 0;
    bool any_acknowledged = false;
    bool stuck = false;  // `expected` is among them, and skipped
    TapBasics left;

    Messages requests;
    uint32_t rerun_next = 0;
    uint32_t src_qp = 0;  // the partner's destination
    uint16_t path_mtu = 0;
    uint16_t mismatches = 0;
    uint32_t acknowledged = 0;  // of requests, as far as answers have got back
    SendHistory history;

    OpenRead got_read;
    Starts request_starts;
    Stream sent_responses;
    Stream got_responses;
    PsnArc lost_responses;
    Messages responses;
    Starts response_starts;
    uint32_t candidate = kNoQueuePair;
    uint16_t votes = 0;
    TimeNs first_seen{};
    QpCounters rest;  // of its taps without their basics
  };
  struct Totals {
    TapBasics entered;
    TapBasics left;
    ObserverTotals rest;  // `rest.sum`: as Queue's
  };
  // A packet at a tap.
  struct Sight {
    const Passage& packet;
    bool fresh = false;
    bool repeated = false;
    bool marked = false;
    uint32_t skipped = 0;
  };

  uint32_t entry_of(uint32_t direction, TimeNs now, const FrameView& frame, const RoceView& roce,
                    uint64_t hash);
  uint32_t open(uint32_t direction, TimeNs now, const FrameView& frame, const RoceView& roce,
                uint64_t hash);
  static bool icrc_holds(ObserverTotals& totals, std::span<const uint8_t> bytes,
                         const FrameView& frame, const RoceView& roce);
  static void count(TapBasics& basics, TapCounters& rest, const Sight& sight);
  TimeNs grain() const { return {round_trip_.ns / kGrainsPerRoundTrip}; }

  bool enters_in_order(const Queue& queue, const RoceView& roce) const;
  void enter(TimeNs now, const FrameView& frame, const RoceView& roce, Passage& passage,
             QpNote& note);
  void enter_request(TimeNs now, const RoceView& roce, Passage& packet, Sight& sight);
  void enter_retransmission(TimeNs now, const Passage& packet);
  Verdict judge(const Queue& queue, const LostPsn* record, TimeNs now, uint32_t psn) const;
  void restart(Queue& queue, uint32_t psn);
  void enter_response(uint32_t entry, TimeNs now, const FrameView& frame, const RoceView& roce,
                      Sight& sight);
  static bool leaves_in_order(const Queue& queue, uint32_t psn);
  void leave(Totals& totals, const Passage& packet, bool known, bool marked);
  void leave_request(Sight& sight);
  void leave_response(Sight& sight);
  void leave_not(const Passage& packet, const Outcome& outcome);
  bool leave_late(uint32_t entry, uint32_t psn, bool response);
  void skip(uint32_t entry, uint32_t from, uint32_t to, bool response);
  void advance_expected(uint32_t entry);
  void acknowledge(uint32_t entry, const Passage& answer);
  void recovered(uint32_t entry, TimeNs took);

  LostPsn* lost(uint32_t entry, uint32_t psn, bool response);
  LostPsn& lost_or_new(uint32_t entry, uint32_t psn, bool response);
  void found(uint32_t entry, LostPsn* record);

  void learn_path_mtu(Queue& queue, const RoceView& roce);
  static void set_span(const Queue& queue, const RoceView& roce, Passage& packet);
  static void close_read(Stream& stream, const OpenRead& read, Queue& queue, uint32_t psn);
  static void advance(Stream& stream, OpenRead& read, const Passage& packet);
  static void number(Messages& messages, Starts& starts, bool fresh, QpNote& note);

  void hint(uint32_t entry, TimeNs now, const FrameView& frame, const RoceView& roce);
  void match(uint32_t entry, const FrameView& frame, const RoceView& roce);
  void vote(uint32_t entry, uint32_t candidate);
  void part(uint32_t entry);
  bool is_outstanding(uint32_t entry, uint32_t psn) const;

  const ObserverSpec spec_;
  TimeNs round_trip_{};
  QpTable table_;
  std::vector<Queue> queues_;
  LostPsns lost_;
  PairHints hints_;
  std::array<Totals, 2> totals_{};
};

}  // namespace farspan::roce
