// QpObserver: its memory of lost PSNs, what packets say of READs and the path MTU, matching.
#include <algorithm>

#include "emulator/roce/qp_observer.h"

namespace farspan::roce {
namespace {

constexpr uint32_t kLongestSpan = 1u << 22;  // of one READ
constexpr uint16_t kVotes = 2;

uint32_t PsnsOf(uint32_t bytes, uint32_t path_mtu) {
  const uint64_t packets = (uint64_t{bytes} + path_mtu - 1) / path_mtu;
  return static_cast<uint32_t>(std::clamp<uint64_t>(packets, 1, kLongestSpan));
}

// What a request and its answer have in common, with the UDP source port or without.
uint64_t HintKey(uint64_t pair, uint32_t psn) { return MixBits(pair ^ psn); }
uint64_t HintKey(uint64_t pair, uint32_t psn, uint16_t port) {
  return MixBits(pair ^ psn ^ uint64_t{port} << 32 ^ uint64_t{1} << 63);
}

}  // namespace

// --- Lost PSNs -------------------------------------------------------------------------------

LostPsn* QpObserver::lost(uint32_t entry, uint32_t psn, bool response) {
  const Queue& queue = queues_[entry];
  if (queue.losses == 0) return nullptr;
  return lost_.find({.entry = entry, .psn = psn, .epoch = queue.epoch, .response = response});
}

LostPsn& QpObserver::lost_or_new(uint32_t entry, uint32_t psn, bool response) {
  if (LostPsn* record = lost(entry, psn, response)) return *record;
  LostPsn forgotten;
  Queue& queue = queues_[entry];
  if (queue.losses == 0) queue.lost_requests = queue.lost_responses = {};
  (response ? queue.lost_responses : queue.lost_requests).add(psn);
  LostPsn& record = lost_.insert(
      {.entry = entry, .psn = psn, .epoch = queue.epoch, .response = response}, forgotten);
  ++queue.losses;
  Queue& other = queues_[forgotten.key.entry];
  if (forgotten.present && other.epoch == forgotten.key.epoch) {
    --other.losses;
    other.stuck = false;
    ++totals_[queue.direction].rest.forgotten_losses;
  }
  return record;
}

void QpObserver::found(uint32_t entry, LostPsn* record) {
  if (record == nullptr) return;
  record->present = false;
  --queues_[entry].losses;
  queues_[entry].stuck = false;
}

// --- Reading packets -------------------------------------------------------------------------

void QpObserver::learn_path_mtu(Queue& queue, const RoceView& roce) {
  queue.path_mtu = roce.payload_bytes;
  if (queue.partner != kNoQueuePair) queues_[queue.partner].path_mtu = roce.payload_bytes;
}

void QpObserver::set_span(const Queue& queue, const RoceView& roce, Passage& packet) {
  packet.open = queue.path_mtu == 0;
  packet.span = packet.open ? roce.dma_length : PsnsOf(roce.dma_length, queue.path_mtu);
}

// Where the path MTU is not known yet, the next PSN says how many a READ has taken.
void QpObserver::close_read(Stream& stream, const OpenRead& read, Queue& queue, uint32_t psn) {
  if (PsnDistance(psn, read.psn) <= 0) return;
  const uint32_t span = (psn - read.psn) & kPsnMask;
  int fitting = 0;
  uint16_t path_mtu = 0;
  for (uint16_t mtu = 256; mtu <= 4096; mtu = static_cast<uint16_t>(mtu * 2)) {
    if (PsnsOf(read.bytes, mtu) != span) continue;
    ++fitting;
    path_mtu = mtu;
  }
  stream.open = false;
  if (fitting == 0) return;
  stream.next = psn;
  if (fitting == 1 && queue.path_mtu == 0) queue.path_mtu = path_mtu;
}

// --- Matching --------------------------------------------------------------------------------

void QpObserver::hint(uint32_t entry, TimeNs now, const FrameView& frame, const RoceView& roce) {
  const uint64_t pair = HashOfPair(frame.src, frame.dst, frame.ip_version);
  const TimeNs memory{4 * round_trip_.ns + 100'000'000};
  hints_.note(HintKey(pair, roce.psn), entry, now, memory);
  hints_.note(HintKey(pair, roce.psn, frame.src_port), entry, now, memory);
}

void QpObserver::match(uint32_t entry, const FrameView& frame, const RoceView& roce) {
  const uint64_t pair = HashOfPair(frame.dst, frame.src, frame.ip_version);
  uint32_t candidate = hints_.find(HintKey(pair, roce.psn, frame.src_port));
  if (candidate == kNoQueuePair) candidate = hints_.find(HintKey(pair, roce.psn));
  if (candidate == kNoQueuePair || candidate == entry) return;
  const QpKey& own = table_.key(entry);
  const QpKey& other = table_.key(candidate);
  if (own.src != other.dst || own.dst != other.src || own.direction == other.direction ||
      queues_[candidate].partner != kNoQueuePair || !is_outstanding(candidate, roce.psn)) {
    return;
  }
  vote(entry, candidate);
}

void QpObserver::vote(uint32_t entry, uint32_t candidate) {
  Queue& queue = queues_[entry];
  queue.votes = static_cast<uint16_t>(queue.candidate == candidate ? queue.votes + 1 : 1);
  queue.candidate = candidate;
  if (queue.votes < kVotes) return;
  Queue& other = queues_[candidate];
  queue.partner = candidate;
  queue.src_qp = table_.key(candidate).dest_qp;
  other.partner = entry;
  other.src_qp = table_.key(entry).dest_qp;
  if (queue.path_mtu == 0) queue.path_mtu = other.path_mtu;
  if (other.path_mtu == 0) other.path_mtu = queue.path_mtu;
}

void QpObserver::part(uint32_t entry) {
  Queue& queue = queues_[entry];
  if (queue.partner == kNoQueuePair) return;
  Queue& other = queues_[queue.partner];
  for (Queue* one : {&queue, &other}) {
    one->partner = kNoQueuePair;
    one->candidate = kNoQueuePair;
    one->votes = 0;
    one->mismatches = 0;
  }
}

bool QpObserver::is_outstanding(uint32_t entry, uint32_t psn) const {
  const Stream& stream = queues_[entry].sent_requests;
  const int32_t behind = PsnDistance(stream.next, psn);
  return stream.begun && behind > 0 && behind <= kFarBehind;
}

// --- Reading ---------------------------------------------------------------------------------

QpSnapshot QpObserver::snapshot(uint32_t entry) const {
  const QpKey& key = table_.key(entry);
  const Queue& queue = queues_[entry];
  QpSnapshot out;
  out.src = key.src;
  out.dst = key.dst;
  out.ip_version = key.ip_version;
  out.direction = key.direction;
  out.service = queue.service;
  out.matched = queue.partner != kNoQueuePair;
  out.dest_qp = key.dest_qp;
  out.src_qp = out.matched ? queue.src_qp : key.src_qp;
  out.path_mtu = queue.path_mtu;
  out.next_psn = queue.sent_requests.next;
  out.expected_psn = queue.expected;
  out.acknowledged_psn = queue.acknowledged;
  out.outstanding_losses = queue.losses;
  out.first_seen = queue.first_seen;
  out.last_seen = queue.last_seen;
  out.counters = queue.rest;
  out.counters.ingress = Together(queue.entered, queue.rest.ingress);
  out.counters.egress = Together(queue.left, queue.rest.egress);
  return out;
}

ObserverTotals QpObserver::totals(uint32_t direction) const {
  const Totals& totals = totals_[direction];
  ObserverTotals out = totals.rest;
  out.sum.ingress = Together(totals.entered, out.sum.ingress);
  out.sum.egress = Together(totals.left, out.sum.egress);
  return out;
}

}  // namespace farspan::roce
