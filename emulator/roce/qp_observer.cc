#include "emulator/roce/qp_observer.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace farspan::roce {
namespace {

constexpr int32_t kFarAhead = 1 << 16;
constexpr int32_t kFarBehindAcked = 1 << 16;  // of what was acknowledged
constexpr uint32_t kMostSkipsKept = 256;      // at one gap
constexpr int kExpectedSteps = 64;            // per packet
constexpr uint32_t kLossesPerQueuePair = 16;
constexpr uint32_t kHintsPerQueuePair = 4;
constexpr size_t kCacheLine = 64;

bool IsFollowed(OpcodeClass c) { return c != OpcodeClass::kDatagram && c != OpcodeClass::kCnp; }

// Packets that are as long as the path MTU.
bool SaysPathMtu(Position p) { return p == Position::kFirst || p == Position::kMiddle; }

// What belongs to the PSNs of responses: all but bare acknowledgements, which repeat them freely.
bool HasOwnPsn(OpcodeClass c) { return IsFollowed(c) && c != OpcodeClass::kAck; }

// A request of one PSN, of which a tap counts no more than TapBasics unless it is out of order.
bool IsPlain(const Passage& packet) {
  constexpr auto bit = [](OpcodeClass c) { return 1u << static_cast<int>(c); };
  constexpr uint32_t kPlain = bit(OpcodeClass::kSend) | bit(OpcodeClass::kWrite) |
                              bit(OpcodeClass::kAtomic) | bit(OpcodeClass::kFlush);
  return (kPlain >> static_cast<int>(packet.opcode_class) & 1) != 0 && !packet.ce &&
         packet.ack == AckKind::kNone;
}

TapBasics BasicsOf(const Passage& packet, bool fresh) {
  const bool ends = fresh && EndsMessage(packet.position) && IsRequest(packet.opcode_class);
  return {.packets = 1,
          .frame_bytes = packet.frame_bytes,
          .payload_bytes = packet.payload_bytes,
          .messages = ends};
}

bool IsAnswered(const RoceView& request) {
  return request.service != Service::kUc &&
         (request.ack_request || request.is(OpcodeClass::kReadRequest) ||
          request.is(OpcodeClass::kAtomic) || request.is(OpcodeClass::kFlush));
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

// --- Entering --------------------------------------------------------------------------------

// A plain request that is the next, of which there is nothing to learn.
bool QpObserver::enters_in_order(const Queue& queue, const RoceView& roce) const {
  const Stream& stream = queue.sent_requests;
  if (roce.psn != stream.next || !stream.begun || stream.open) return false;
  return !SaysPathMtu(roce.position) ||
         (queue.path_mtu == roce.payload_bytes &&
          (queue.partner == kNoQueuePair || queues_[queue.partner].path_mtu == queue.path_mtu));
}

// Any packet. ingress() does in short what comes of this for those in order.
void QpObserver::enter(TimeNs now, const FrameView& frame, const RoceView& roce, Passage& passage,
                       QpNote& note) {
  Queue& queue = queues_[note.entry];
  Sight sight{.packet = passage, .marked = passage.ce};
  if (!IsFollowed(roce.opcode_class)) {
    sight.fresh = roce.is(OpcodeClass::kDatagram);
  } else {
    if (SaysPathMtu(roce.position)) learn_path_mtu(queue, roce);
    if (IsRequest(roce.opcode_class)) {
      enter_request(now, roce, passage, sight);
      number(queue.requests, queue.request_starts, sight.fresh, note);
      if (queue.partner == kNoQueuePair && IsAnswered(roce)) hint(note.entry, now, frame, roce);
    } else {
      enter_response(note.entry, now, frame, roce, sight);
      if (HasOwnPsn(roce.opcode_class)) {
        number(queue.responses, queue.response_starts, sight.fresh, note);
      }
    }
  }
  passage.epoch = queue.epoch;
  note.retransmission = sight.repeated;
  count(queue.entered, queue.rest.ingress, sight);
  Totals& totals = totals_[queue.direction];
  count(totals.entered, totals.rest.sum.ingress, sight);
}

void QpObserver::enter_request(TimeNs now, const RoceView& roce, Passage& packet, Sight& sight) {
  Queue& queue = queues_[packet.entry];
  Stream& stream = queue.sent_requests;
  if (stream.open) close_read(stream, queue.sent_read, queue, roce.psn);
  if (roce.is(OpcodeClass::kReadRequest)) set_span(queue, roce, packet);
  const int32_t ahead = PsnDistance(roce.psn, stream.next);
  const bool far_behind =
      ahead < 0 &&
      (queue.any_acknowledged ? PsnDistance(roce.psn, queue.acknowledged) < -kFarBehindAcked
                              : ahead < -kFarBehind);
  if (!stream.begun || ahead > kFarAhead || far_behind) {
    if (stream.begun) {
      ++queue.rest.restarts;
      ++totals_[queue.direction].rest.sum.restarts;
    }
    restart(queue, roce.psn);
    sight.fresh = true;
  } else if (ahead >= 0) {
    sight.fresh = true;
    sight.skipped = static_cast<uint32_t>(ahead);
    queue.rerunning = false;
  } else {
    sight.repeated = true;
    enter_retransmission(now, packet);
  }
  if (sight.fresh) advance(stream, queue.sent_read, packet);
  const uint32_t span = packet.open ? 1 : packet.span;
  queue.history.add(roce.psn, span, now, grain());
}

// The stream's next PSN after a packet that is not behind.
void QpObserver::advance(Stream& stream, OpenRead& read, const Passage& packet) {
  stream.next = PsnAdd(packet.psn, packet.open ? 1 : packet.span);
  if (!packet.open) return;
  stream.open = packet.span != 0;
  read = {packet.psn, packet.span};
}

void QpObserver::restart(Queue& queue, uint32_t psn) {
  queue.sent_requests = {.next = psn, .begun = true};
  queue.got_requests = {.next = psn, .begun = true};
  queue.expected = psn;
  queue.any_acknowledged = false;
  queue.rerunning = false;
  queue.history = {};
  queue.request_starts.first_known = queue.requests.count + 1;
  queue.requests.known = false;
  ++queue.epoch;
  queue.losses = 0;
  queue.stuck = false;
  if (queue.partner == kNoQueuePair) return;
  queues_[queue.partner].sent_responses = {};
  queues_[queue.partner].got_responses = {};
}

void QpObserver::enter_retransmission(TimeNs now, const Passage& packet) {
  const uint32_t entry = packet.entry;
  Queue& queue = queues_[entry];
  LostPsn* record = lost(entry, packet.psn, false);
  if (!queue.rerunning || packet.psn != queue.rerun_next) {
    queue.verdict = judge(queue, record, now, packet.psn);
  }
  queue.rerunning = true;
  queue.rerun_next = PsnAdd(packet.psn, packet.open ? 1 : packet.span);
  if (queue.verdict != Verdict::kInformed) {
    QpCounters& sum = totals_[queue.direction].rest.sum;
    const bool sure = queue.verdict == Verdict::kSpurious;
    ++(sure ? queue.rest.spurious : queue.rest.undecided);
    ++(sure ? sum.spurious : sum.undecided);
  }
  if (record != nullptr && record->lost && !record->resent) {
    record->resent = true;
    recovered(entry, now - record->sent);
  }
}

QpObserver::Verdict QpObserver::judge(const Queue& queue, const LostPsn* record, TimeNs now,
                                      uint32_t psn) const {
  if (round_trip_.ns == 0) return Verdict::kInformed;
  const bool exact = record != nullptr && record->lost && !record->resent;
  const SendHistory::Sent sent =
      exact ? SendHistory::Sent{record->sent, record->sent} : queue.history.last_sent(psn);
  if (now - sent.latest >= round_trip_) return Verdict::kInformed;
  return now - sent.earliest < round_trip_ ? Verdict::kSpurious : Verdict::kUndecided;
}

// READ and ATOMIC responses begin at any PSN, as requests of other kinds lie between them; within a
// response they follow on.
void QpObserver::enter_response(uint32_t entry, TimeNs now, const FrameView& frame,
                                const RoceView& roce, Sight& sight) {
  Queue& queue = queues_[entry];
  if (queue.partner == kNoQueuePair) {
    match(entry, frame, roce);
  } else if (is_outstanding(queue.partner, roce.psn)) {
    queue.mismatches = 0;
  } else if (++queue.mismatches > 16) {
    part(entry);
  }
  if (!HasOwnPsn(roce.opcode_class)) return;
  Stream& stream = queue.sent_responses;
  const int32_t ahead = stream.begun ? PsnDistance(roce.psn, stream.next) : 0;
  if (ahead >= 0 || ahead < -kFarBehind) {
    sight.fresh = true;
    if (stream.in_message && !StartsMessage(roce.position) && ahead > 0) {
      sight.skipped = static_cast<uint32_t>(ahead);
    }
    if (!stream.begun) queue.got_responses = {.next = roce.psn, .begun = true};
    stream.begun = true;
    stream.in_message = !EndsMessage(roce.position);
    stream.next = PsnAdd(roce.psn, 1);
  } else {
    sight.repeated = true;
    LostPsn* record = lost(entry, roce.psn, true);
    if (record != nullptr && record->lost && !record->resent) {
      record->resent = true;
      recovered(entry, now - record->sent);
    }
  }
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

void QpObserver::recovered(uint32_t entry, TimeNs took) {
  Queue& queue = queues_[entry];
  ObserverTotals& totals = totals_[queue.direction].rest;
  queue.rest.recovery.add(took);
  totals.sum.recovery.add(took);
  const auto bound = std::lower_bound(kRecoveryBounds.begin(), kRecoveryBounds.end(), took);
  ++totals.recovery[static_cast<size_t>(bound - kRecoveryBounds.begin())];
}

// --- Leaving ---------------------------------------------------------------------------------

// A plain request that is the next, and not one that was lost before; `expected` does not depend on
// it, or is the next, too.
bool QpObserver::leaves_in_order(const Queue& queue, uint32_t psn) {
  const Stream& stream = queue.got_requests;
  return psn == stream.next && stream.begun && !stream.open &&
         (queue.losses == 0 || (queue.stuck && !queue.lost_requests.may_hold(psn)));
}

// Any packet that is delivered. egress() does in short what comes of this for those in order.
void QpObserver::leave(Totals& totals, const Passage& packet, bool known, bool marked) {
  Sight sight{.packet = packet, .marked = marked};
  if (known) {
    Queue& queue = queues_[packet.entry];
    if (!IsFollowed(packet.opcode_class)) {
      sight.fresh = packet.opcode_class == OpcodeClass::kDatagram;
    } else if (IsRequest(packet.opcode_class)) {
      leave_request(sight);
    } else {
      leave_response(sight);
    }
    count(queue.left, queue.rest.egress, sight);
  }
  count(totals.left, totals.rest.sum.egress, sight);
}

void QpObserver::leave_request(Sight& sight) {
  const Passage& packet = sight.packet;
  const uint32_t entry = packet.entry;
  Queue& queue = queues_[entry];
  Stream& stream = queue.got_requests;
  if (!stream.begun) return;
  if (stream.open) close_read(stream, queue.got_read, queue, packet.psn);
  const int32_t ahead = PsnDistance(packet.psn, stream.next);
  if (ahead < 0) {
    sight.fresh = leave_late(entry, packet.psn, false);
    sight.repeated = !sight.fresh;
    const uint32_t span = packet.open ? 1 : packet.span;
    for (uint32_t i = 1; i < std::min(span, kMostSkipsKept) && queue.losses != 0; ++i) {
      found(entry, lost(entry, PsnAdd(packet.psn, i), false));  // a READ takes them all
    }
  } else {
    sight.fresh = true;
    sight.skipped = static_cast<uint32_t>(ahead);
    if (ahead > 0) skip(entry, stream.next, packet.psn, false);
    if (queue.losses != 0 && queue.lost_requests.may_hold(packet.psn)) {
      found(entry, lost(entry, packet.psn, false));
    }
    advance(stream, queue.got_read, packet);
  }
  advance_expected(entry);
}

void QpObserver::leave_response(Sight& sight) {
  const Passage& packet = sight.packet;
  const uint32_t entry = packet.entry;
  Queue& queue = queues_[entry];
  if (queue.partner != kNoQueuePair) acknowledge(queue.partner, packet);
  if (!HasOwnPsn(packet.opcode_class)) return;
  Stream& stream = queue.got_responses;
  if (!stream.begun) return;
  const int32_t ahead = PsnDistance(packet.psn, stream.next);
  if (ahead < 0 && ahead >= -kFarBehind) {
    sight.fresh = leave_late(entry, packet.psn, true);
    sight.repeated = !sight.fresh;
    return;
  }
  sight.fresh = true;
  if (!StartsMessage(packet.position) && ahead > 0) {
    // Between two of the same response; or behind one whose start did not come.
    const uint32_t from = stream.in_message ? stream.next : PsnAdd(packet.psn, kPsnMask);
    sight.skipped = static_cast<uint32_t>(PsnDistance(packet.psn, from));
    skip(entry, from, packet.psn, true);
  }
  if (queue.losses != 0 && queue.lost_responses.may_hold(packet.psn)) {
    found(entry, lost(entry, packet.psn, true));
  }
  stream.in_message = !EndsMessage(packet.position);
  stream.next = PsnAdd(packet.psn, 1);
}

// A PSN below the highest: true where the far host has not had it.
bool QpObserver::leave_late(uint32_t entry, uint32_t psn, bool response) {
  LostPsn* record = lost(entry, psn, response);
  if (record == nullptr) return false;
  const bool missing = record->skipped;
  found(entry, record);
  return missing;
}

void QpObserver::leave_not(const Passage& packet, const Outcome& outcome) {
  const uint32_t entry = packet.entry;
  const bool response = IsResponse(packet.opcode_class);
  LostPsn& record = lost_or_new(entry, packet.psn, response);
  if (record.lost && record.sent > outcome.entered) {  // reported before: dropped on entering
    recovered(entry, record.sent - outcome.entered);
    return;
  }
  record.lost = true;
  record.sent = outcome.entered;
  record.span = packet.open ? 1 : packet.span;
  record.resent = false;
  if (response) return;
  // It may have been sent again before this was known of it.
  const SendHistory::Sent again = queues_[entry].history.last_sent(packet.psn);
  if (again.earliest <= outcome.entered) return;
  record.resent = true;
  recovered(entry, again.earliest - outcome.entered);
}

void QpObserver::skip(uint32_t entry, uint32_t from, uint32_t to, bool response) {
  for (uint32_t kept = 0; kept < kMostSkipsKept && PsnDistance(to, from) > 0; ++kept) {
    LostPsn& record = lost_or_new(entry, from, response);
    record.skipped = true;
    from = PsnAdd(from, record.span);
  }
}

// As far as nothing is missing, some steps at a time: exact once nothing is, or soon after.
void QpObserver::advance_expected(uint32_t entry) {
  Queue& queue = queues_[entry];
  if (queue.stuck) return;
  const uint32_t next = queue.got_requests.next;
  for (int step = 0; step < kExpectedSteps && queue.losses != 0; ++step) {
    if (queue.expected == next) return;
    const LostPsn* record = lost(entry, queue.expected, false);
    queue.stuck = record != nullptr && record->skipped;
    if (queue.stuck) return;
    queue.expected = PsnAdd(queue.expected, 1);
  }
  if (queue.losses == 0) queue.expected = next;
}

void QpObserver::acknowledge(uint32_t entry, const Passage& answer) {
  if (!is_outstanding(entry, answer.psn)) return;
  Queue& queue = queues_[entry];
  const bool positive = answer.ack == AckKind::kAck || answer.ack == AckKind::kNone;
  const uint32_t psn = PsnAdd(answer.psn, positive ? 1 : 0);
  if (queue.any_acknowledged && PsnDistance(psn, queue.acknowledged) < 0) return;
  queue.acknowledged = psn;
  queue.any_acknowledged = true;
}

}  // namespace farspan::roce
