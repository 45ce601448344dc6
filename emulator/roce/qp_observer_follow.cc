// QpObserver: any packet, in order or not: retransmissions, gaps, READs, answers.
#include <algorithm>

#include "emulator/roce/qp_observer.h"
#include "emulator/roce/qp_observer_packets.h"

namespace farspan::roce {
namespace {

constexpr int32_t kFarAhead = 1 << 16;
constexpr int32_t kFarBehindAcked = 1 << 16;  // of what was acknowledged
constexpr uint32_t kMostSkipsKept = 256;      // at one gap
constexpr int kExpectedSteps = 64;            // per packet

}  // namespace

// --- Entering --------------------------------------------------------------------------------

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

void QpObserver::recovered(uint32_t entry, TimeNs took) {
  Queue& queue = queues_[entry];
  ObserverTotals& totals = totals_[queue.direction].rest;
  queue.rest.recovery.add(took);
  totals.sum.recovery.add(took);
  const auto bound = std::lower_bound(kRecoveryBounds.begin(), kRecoveryBounds.end(), took);
  ++totals.recovery[static_cast<size_t>(bound - kRecoveryBounds.begin())];
}

// --- Leaving ---------------------------------------------------------------------------------

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
