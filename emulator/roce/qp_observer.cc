#include "emulator/roce/qp_observer.h"

#include <algorithm>

namespace farspan::roce {
namespace {

constexpr int32_t kFarAhead = 1 << 16;
constexpr int32_t kFarBehindAcked = 1 << 16;  // of what was acknowledged
constexpr uint32_t kMostSkipsKept = 256;      // at one gap
constexpr int kExpectedSteps = 64;            // per packet
constexpr uint32_t kLossesPerQueuePair = 16;
constexpr uint32_t kHintsPerQueuePair = 4;
constexpr int kGrainsPerRoundTrip = 8;

bool IsFollowed(OpcodeClass c) { return c != OpcodeClass::kDatagram && c != OpcodeClass::kCnp; }

// What belongs to the PSNs of responses: all but bare acknowledgements, which repeat them freely.
bool HasOwnPsn(OpcodeClass c) { return IsFollowed(c) && c != OpcodeClass::kAck; }

}  // namespace

QpObserver::QpObserver(const ObserverSpec& spec, TimeNs round_trip)
    : spec_(spec),
      round_trip_(round_trip),
      table_(2 * spec.queue_pairs),
      queues_(table_.capacity()),
      lost_(kLossesPerQueuePair * spec.queue_pairs),
      hints_(kHintsPerQueuePair * spec.queue_pairs) {}

uint64_t QpObserver::MemoryBytes(const ObserverSpec& spec) {
  return spec.queue_pairs *
         (2 * (sizeof(Queue) + QpTable::BytesPerEntry()) + kLossesPerQueuePair * sizeof(LostPsn) +
          kHintsPerQueuePair * sizeof(PairHints::Hint));
}

void QpObserver::set_round_trip(TimeNs round_trip) { round_trip_ = round_trip; }

// --- The table -------------------------------------------------------------------------------

uint32_t QpObserver::place(uint32_t direction, TimeNs now, const FrameView& frame,
                           const RoceView& roce) {
  const QpTable::Place place = table_.place({.src = frame.src,
                                             .dst = frame.dst,
                                             .dest_qp = roce.dest_qp,
                                             .src_qp = roce.src_qp,
                                             .ip_version = frame.ip_version,
                                             .direction = static_cast<uint8_t>(direction)});
  if (!place.fresh) return place.entry;
  ++totals_[direction].opened;
  Queue& queue = queues_[place.entry];
  const auto epoch = static_cast<uint16_t>(queue.epoch + 1);
  if (place.evicted) {
    ++totals_[queue.direction].evicted;
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
                            const FrameView& frame, const RoceView& roce) const {
  if (!spec_.check_icrc) return true;
  if (bytes.size() < roce.icrc_offset() + kIcrcBytes) {
    ++totals.unchecked_icrc;
    return true;
  }
  const bool holds = ComputeIcrc(bytes, frame, roce) == ReadIcrc(bytes, roce);
  totals.bad_icrc += !holds;
  return holds;
}

void QpObserver::count(TapCounters& tap, const Sight& sight) {
  const Passage& packet = sight.packet;
  const bool ends = sight.fresh && EndsMessage(packet.position);
  ++tap.packets;
  tap.frame_bytes += packet.frame_bytes;
  tap.payload_bytes += packet.payload_bytes;
  tap.goodput_bytes += sight.fresh ? packet.payload_bytes : 0;
  tap.messages += ends && IsRequest(packet.opcode_class);
  tap.responses += ends && IsResponse(packet.opcode_class);
  tap.repeated += sight.repeated;
  tap.gaps += sight.skipped != 0;
  tap.missing += sight.skipped;
  tap.ce += sight.marked;
  tap.cnps += packet.opcode_class == OpcodeClass::kCnp;
  ++tap.acks[static_cast<size_t>(packet.ack)];
}

QpNote QpObserver::ingress(uint32_t direction, TimeNs now, std::span<const uint8_t> bytes,
                           const FrameView& frame, const RoceView& roce) {
  ObserverTotals& totals = totals_[direction];
  QpNote note = NoteOf(roce);
  if (roce.fault != RoceFault::kNone) {
    totals.faults[static_cast<size_t>(roce.fault)] += roce.fault != RoceFault::kNotRoce;
    return note;
  }
  if (!icrc_holds(totals, bytes, frame, roce)) return note;
  note.entry = place(direction, now, frame, roce);
  Queue& queue = queues_[note.entry];
  queue.last_seen = now;
  if (queue.partner != kNoQueuePair) note.src_qp = table_.key(queue.partner).dest_qp;
  passage_ = Passage();
  passage_.entry = note.entry;
  passage_.psn = roce.psn;
  passage_.frame_bytes = static_cast<uint16_t>(frame.frame_bytes);
  passage_.payload_bytes = roce.payload_bytes;
  passage_.opcode_class = roce.opcode_class;
  passage_.position = roce.position;
  passage_.ce = frame.ecn == 3;
  passage_.ack = roce.ack;
  Sight sight{.packet = passage_, .marked = passage_.ce};
  if (!IsFollowed(roce.opcode_class)) {
    sight.fresh = roce.is(OpcodeClass::kDatagram);
  } else {
    learn_path_mtu(queue, roce);
    if (IsRequest(roce.opcode_class)) {
      enter_request(now, roce, sight);
      number(queue.requests, sight, note);
      if (queue.partner == kNoQueuePair) hint(note.entry, now, frame, roce);
    } else {
      enter_response(now, frame, roce, sight);
      if (HasOwnPsn(roce.opcode_class)) number(queue.responses, sight, note);
    }
  }
  passage_.epoch = queue.epoch;
  note.retransmission = sight.repeated;
  count(queue.counters.ingress, sight);
  count(totals.sum.ingress, sight);
  return note;
}

void QpObserver::egress(uint32_t direction, const Passage& packet, const Outcome& outcome) {
  ObserverTotals& totals = totals_[direction];
  Queue& queue = queues_[packet.entry];
  const bool known = queue.epoch == packet.epoch;  // else it has been evicted or begun anew
  if (outcome.dropped || outcome.corrupted) {
    ++(outcome.dropped ? totals.sum.dropped : totals.sum.corrupted);
    if (!known) return;
    ++(outcome.dropped ? queue.counters.dropped : queue.counters.corrupted);
    if (HasOwnPsn(packet.opcode_class)) leave_not(packet, outcome);
    return;
  }
  Sight sight{.packet = packet, .marked = packet.ce || outcome.marked};
  if (known) {
    if (!IsFollowed(packet.opcode_class)) {
      sight.fresh = packet.opcode_class == OpcodeClass::kDatagram;
    } else if (IsRequest(packet.opcode_class)) {
      leave_request(sight);
    } else {
      leave_response(sight);
    }
    count(queue.counters.egress, sight);
  }
  count(totals.sum.egress, sight);
}

// --- Entering --------------------------------------------------------------------------------

void QpObserver::enter_request(TimeNs now, const RoceView& roce, Sight& sight) {
  const uint32_t entry = passage_.entry;
  Queue& queue = queues_[entry];
  Stream& stream = queue.sent_requests;
  close_read(stream, queue, roce.psn);
  set_span(queue, roce, passage_);
  const int32_t ahead = PsnDistance(roce.psn, stream.next);
  const bool far_behind =
      ahead < 0 &&
      (queue.any_acknowledged ? PsnDistance(roce.psn, queue.acknowledged) < -kFarBehindAcked
                              : ahead < -kFarBehind);
  if (!stream.begun || ahead > kFarAhead || far_behind) {
    if (stream.begun) {
      ++queue.counters.restarts;
      ++totals_[table_.key(entry).direction].sum.restarts;
    }
    restart(queue, roce.psn);
    sight.fresh = true;
  } else if (ahead >= 0) {
    sight.fresh = true;
    sight.skipped = static_cast<uint32_t>(ahead);
    queue.rerunning = false;
  } else {
    sight.repeated = true;
    enter_retransmission(now, passage_);
  }
  if (sight.fresh) advance(stream, passage_);
  const uint32_t span = passage_.open ? 1 : passage_.span;
  queue.history.add(roce.psn, span, now, TimeNs{round_trip_.ns / kGrainsPerRoundTrip});
}

// The stream's next PSN after a packet that is not behind.
void QpObserver::advance(Stream& stream, const Passage& packet) {
  stream.next = PsnAdd(packet.psn, packet.open ? 1 : packet.span);
  if (!packet.open) return;
  stream.open_psn = packet.psn;
  stream.open_bytes = packet.span;
}

void QpObserver::restart(Queue& queue, uint32_t psn) {
  queue.sent_requests = {.begun = true, .next = psn};
  queue.got_requests = {.begun = true, .next = psn};
  queue.expected = psn;
  queue.any_acknowledged = false;
  queue.rerunning = false;
  queue.history = {};
  queue.requests.first_known = queue.requests.count + 1;
  queue.requests.known = false;
  ++queue.epoch;
  queue.losses = 0;
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
    QpCounters& sum = totals_[table_.key(entry).direction].sum;
    const bool sure = queue.verdict == Verdict::kSpurious;
    ++(sure ? queue.counters.spurious : queue.counters.undecided);
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
void QpObserver::enter_response(TimeNs now, const FrameView& frame, const RoceView& roce,
                                Sight& sight) {
  const uint32_t entry = passage_.entry;
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
    if (!stream.begun) queue.got_responses = {.begun = true, .next = roce.psn};
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

void QpObserver::number(Messages& messages, const Sight& sight, QpNote& note) {
  if (sight.fresh) {
    if (StartsMessage(note.position)) {
      ++messages.count;
      messages.known = true;
      messages.starts[messages.count % Messages::kStarts] = note.psn;
    }
    if (!messages.known) return;
    note.message = messages.count;
    note.index = (note.psn - messages.starts[messages.count % Messages::kStarts]) & kPsnMask;
    return;
  }
  for (uint64_t m = messages.count;
       m >= messages.first_known && m + Messages::kStarts > messages.count; --m) {
    const int32_t index = PsnDistance(note.psn, messages.starts[m % Messages::kStarts]);
    if (index < 0) continue;
    note.message = m;
    note.index = static_cast<uint32_t>(index);
    return;
  }
}

void QpObserver::recovered(uint32_t entry, TimeNs took) {
  ObserverTotals& totals = totals_[table_.key(entry).direction];
  queues_[entry].counters.recovery.add(took);
  totals.sum.recovery.add(took);
  const auto bound = std::lower_bound(kRecoveryBounds.begin(), kRecoveryBounds.end(), took);
  ++totals.recovery[static_cast<size_t>(bound - kRecoveryBounds.begin())];
}

// --- Leaving ---------------------------------------------------------------------------------

void QpObserver::leave_request(Sight& sight) {
  const Passage& packet = sight.packet;
  const uint32_t entry = packet.entry;
  Queue& queue = queues_[entry];
  Stream& stream = queue.got_requests;
  if (!stream.begun) return;
  close_read(stream, queue, packet.psn);
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
    if (queue.losses != 0) found(entry, lost(entry, packet.psn, false));
    advance(stream, packet);
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
  if (queue.losses != 0) found(entry, lost(entry, packet.psn, true));
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
  const uint32_t next = queue.got_requests.next;
  for (int step = 0; step < kExpectedSteps && queue.losses != 0; ++step) {
    if (queue.expected == next) return;
    const LostPsn* record = lost(entry, queue.expected, false);
    if (record != nullptr && record->skipped) return;
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
