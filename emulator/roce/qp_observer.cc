#include "emulator/roce/qp_observer.h"

#include <cstddef>
#include <cstring>

#include "emulator/roce/qp_observer_packets.h"

namespace farspan::roce {
namespace {

constexpr uint32_t kLossesPerQueuePair = 16;
constexpr uint32_t kHintsPerQueuePair = 4;
constexpr size_t kCacheLine = 64;

// A request of one PSN, of which a tap counts no more than TapBasics unless it is out of order.
bool IsPlain(const Passage& packet) {
  constexpr auto bit = [](OpcodeClass c) { return 1u << static_cast<int>(c); };
  constexpr uint32_t kPlain = bit(OpcodeClass::kSend) | bit(OpcodeClass::kWrite) |
                              bit(OpcodeClass::kAtomic) | bit(OpcodeClass::kFlush);
  return (kPlain >> static_cast<int>(packet.opcode_class) & 1) != 0 && !packet.ce &&
         packet.ack == AckKind::kNone;
}

bool SameAddress(const IpAddress& a, const IpAddress& b) {
  uint64_t x[2];
  uint64_t y[2];
  std::memcpy(x, a.data(), 16);
  std::memcpy(y, b.data(), 16);
  return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

QpKey KeyOf(uint32_t direction, const FrameView& frame, const RoceView& roce) {
  return {.src = frame.src,
          .dst = frame.dst,
          .dest_qp = roce.dest_qp,
          .src_qp = roce.src_qp,
          .ip_version = frame.ip_version,
          .direction = static_cast<uint8_t>(direction)};
}

}  // namespace

QpObserver::QpObserver(const ObserverSpec& spec, TimeNs round_trip)
    : spec_(spec),
      round_trip_(round_trip),
      table_(2 * spec.queue_pairs),
      queues_(table_.capacity()),
      lost_(kLossesPerQueuePair * spec.queue_pairs),
      hints_(kHintsPerQueuePair * spec.queue_pairs) {
  static_assert(offsetof(Queue, got_requests) == kCacheLine);
  static_assert(offsetof(Queue, requests) == 2 * kCacheLine);
  static_assert(offsetof(Queue, history) == 2 * kCacheLine + 32);
}

uint64_t QpObserver::MemoryBytes(const ObserverSpec& spec) {
  return spec.queue_pairs *
         (2 * (sizeof(Queue) + QpTable::BytesPerEntry()) + kLossesPerQueuePair * sizeof(LostPsn) +
          kHintsPerQueuePair * sizeof(PairHints::Hint));
}

void QpObserver::set_round_trip(TimeNs round_trip) { round_trip_ = round_trip; }

// --- The table -------------------------------------------------------------------------------

uint64_t QpObserver::Hash(uint32_t direction, const FrameView& frame, const RoceView& roce) {
  return roce.fault == RoceFault::kNone ? HashOf(KeyOf(direction, frame, roce)) : 0;
}

void QpObserver::prefetch_ingress(uint64_t hash) const {
  const uint32_t entry = table_.prefetch_entry(hash);
  if (entry == QpTable::kNone) return;
  const Queue& queue = queues_[entry];
  __builtin_prefetch(&queue.sent_requests);
  __builtin_prefetch(&queue.got_requests);
  __builtin_prefetch(&queue.requests);
}

// Without a key for most: making one costs as much as finding it.
uint32_t QpObserver::entry_of(uint32_t direction, TimeNs now, const FrameView& frame,
                              const RoceView& roce, uint64_t hash) {
  const uint32_t found = table_.find(hash, [&](const QpKey& key) {
    return key.dest_qp == roce.dest_qp && key.src_qp == roce.src_qp && key.direction == direction &&
           key.ip_version == frame.ip_version && SameAddress(key.src, frame.src) &&
           SameAddress(key.dst, frame.dst);
  });
  return found != kNoQueuePair ? found : open(direction, now, frame, roce, hash);
}

uint32_t QpObserver::open(uint32_t direction, TimeNs now, const FrameView& frame,
                          const RoceView& roce, uint64_t hash) {
  const QpTable::Place place = table_.place(KeyOf(direction, frame, roce), hash);
  ++totals_[direction].rest.opened;
  Queue& queue = queues_[place.entry];
  const auto epoch = static_cast<uint16_t>(queue.epoch + 1);
  if (place.evicted) {
    ++totals_[queue.direction].rest.evicted;
    part(place.entry);
  }
  queue = {};
  queue.direction = static_cast<uint8_t>(direction);
  queue.epoch = epoch;
  queue.service = roce.service;
  queue.first_seen = now;
  return place.entry;
}

bool QpObserver::icrc_holds(ObserverTotals& totals, std::span<const uint8_t> bytes,
                            const FrameView& frame, const RoceView& roce) {
  if (bytes.size() < roce.icrc_offset() + kIcrcBytes) {
    ++totals.unchecked_icrc;
    return true;
  }
  const bool holds = ComputeIcrc(bytes, frame, roce) == ReadIcrc(bytes, roce);
  totals.bad_icrc += !holds;
  return holds;
}

void QpObserver::count(TapBasics& basics, TapCounters& rest, const Sight& sight) {
  const Passage& packet = sight.packet;
  basics += BasicsOf(packet, sight.fresh);
  rest.goodput_bytes -= sight.fresh ? 0 : packet.payload_bytes;
  rest.responses += sight.fresh && EndsMessage(packet.position) && IsResponse(packet.opcode_class);
  rest.repeated += sight.repeated;
  rest.gaps += sight.skipped != 0;
  rest.missing += sight.skipped;
  rest.ce += sight.marked;
  rest.cnps += packet.opcode_class == OpcodeClass::kCnp;
  --rest.acks[static_cast<size_t>(AckKind::kNone)];
  ++rest.acks[static_cast<size_t>(packet.ack)];
}

QpNote QpObserver::ingress(uint32_t direction, TimeNs now, std::span<const uint8_t> bytes,
                           const FrameView& frame, const RoceView& roce, uint64_t hash,
                           Passage& passage) {
  Totals& totals = totals_[direction];
  QpNote note = NoteOf(roce);
  if (roce.fault != RoceFault::kNone) {
    totals.rest.faults[static_cast<size_t>(roce.fault)] += roce.fault != RoceFault::kNotRoce;
    return note;
  }
  if (spec_.check_icrc && !icrc_holds(totals.rest, bytes, frame, roce)) return note;
  note.entry = entry_of(direction, now, frame, roce, hash);
  Queue& queue = queues_[note.entry];
  queue.last_seen = now;
  if (queue.partner != kNoQueuePair) note.src_qp = queue.src_qp;
  passage.entry = note.entry;
  passage.psn = roce.psn;
  passage.span = 1;
  passage.epoch = queue.epoch;
  passage.frame_bytes = static_cast<uint16_t>(frame.frame_bytes);
  passage.payload_bytes = roce.payload_bytes;
  passage.opcode_class = roce.opcode_class;
  passage.position = roce.position;
  passage.ce = frame.ecn == 3;
  passage.open = false;
  passage.ack = roce.ack;
  if (!IsPlain(passage) || !enters_in_order(queue, roce)) {
    enter(now, frame, roce, passage, note);
    return note;
  }
  queue.sent_requests.next = PsnAdd(roce.psn, 1);
  queue.rerunning = false;
  queue.history.add(roce.psn, 1, now, grain());
  number(queue.requests, queue.request_starts, true, note);
  if (queue.partner == kNoQueuePair && IsAnswered(roce)) hint(note.entry, now, frame, roce);
  const TapBasics basics = BasicsOf(passage, true);
  queue.entered += basics;
  totals.entered += basics;
  return note;
}

void QpObserver::egress(uint32_t direction, const Passage& packet, const Outcome& outcome) {
  Totals& totals = totals_[direction];
  Queue& queue = queues_[packet.entry];
  const bool known = queue.epoch == packet.epoch;  // else it has been evicted or begun anew
  if (outcome.dropped || outcome.corrupted) {
    QpCounters& sum = totals.rest.sum;
    ++(outcome.dropped ? sum.dropped : sum.corrupted);
    if (!known) return;
    ++(outcome.dropped ? queue.rest.dropped : queue.rest.corrupted);
    if (HasOwnPsn(packet.opcode_class)) leave_not(packet, outcome);
    return;
  }
  if (!known || outcome.marked || !IsPlain(packet) || !leaves_in_order(queue, packet.psn)) {
    leave(totals, packet, known, packet.ce || outcome.marked);
    return;
  }
  queue.got_requests.next = PsnAdd(packet.psn, 1);
  if (queue.losses == 0) queue.expected = queue.got_requests.next;
  const TapBasics basics = BasicsOf(packet, true);
  queue.left += basics;
  totals.left += basics;
}

// A plain request that is the next, of which there is nothing to learn.
bool QpObserver::enters_in_order(const Queue& queue, const RoceView& roce) const {
  const Stream& stream = queue.sent_requests;
  if (roce.psn != stream.next || !stream.begun || stream.open) return false;
  return !SaysPathMtu(roce.position) ||
         (queue.path_mtu == roce.payload_bytes &&
          (queue.partner == kNoQueuePair || queues_[queue.partner].path_mtu == queue.path_mtu));
}

void QpObserver::number(Messages& messages, Starts& starts, bool fresh, QpNote& note) {
  if (fresh) {
    if (StartsMessage(note.position)) {
      ++messages.count;
      messages.known = true;
      messages.start = note.psn;
      starts.psns[messages.count % Starts::kKept] = note.psn;
    }
    if (!messages.known) return;
    note.message = messages.count;
    note.index = (note.psn - messages.start) & kPsnMask;
    return;
  }
  for (uint64_t m = messages.count; m >= starts.first_known && m + Starts::kKept > messages.count;
       --m) {
    const int32_t index = PsnDistance(note.psn, starts.psns[m % Starts::kKept]);
    if (index < 0) continue;
    note.message = m;
    note.index = static_cast<uint32_t>(index);
    return;
  }
}

// A plain request that is the next, and not one that was lost before; `expected` does not depend on
// it, or is the next, too.
bool QpObserver::leaves_in_order(const Queue& queue, uint32_t psn) {
  const Stream& stream = queue.got_requests;
  return psn == stream.next && stream.begun && !stream.open &&
         (queue.losses == 0 || (queue.stuck && !queue.lost_requests.may_hold(psn)));
}

}  // namespace farspan::roce
