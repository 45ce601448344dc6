#include <algorithm>

#include "emulator/base/check.h"
#include "transports/core/observer.h"
#include "transports/core/sender.h"

namespace farspan::transport {

Drop Sender::on_ack(const Packet& received) {
  const Header& header = received.header;
  SendPath& path = paths_[header.path];
  // Numbers low..high, low == high + 1 where nothing was received; none may lie ahead of us.
  const uint64_t end = Expand(header.high, 32, path.next) + 1;
  const uint64_t span = static_cast<uint32_t>(header.high + 1 - header.low);
  if (end > path.next || span > end || span > setup_.window) return Drop::kMalformed;
  uint32_t at = header.low;
  for (uint32_t i = 0; i < header.gap_count; ++i) {
    const Gap& gap = header.gaps[i];
    const uint64_t from = static_cast<uint32_t>(gap.first - at);
    const uint64_t left = static_cast<uint32_t>(header.high + 1 - at);
    if (gap.count == 0 || from + gap.count > left) return Drop::kMalformed;
    at = gap.first + gap.count;
  }
  const uint64_t credits = Expand(header.credits, 16, credits_);
  const uint64_t complete = Expand(header.message, 16, complete_);
  if (complete > std::max(posted_, credits)) return Drop::kMalformed;
  const uint32_t datagrams = complete < posted_ ? message(complete).datagrams : 1;
  if (complete >= complete_ && header.index >= datagrams) return Drop::kMalformed;
  credits_ = std::max(credits_, credits);

  TimeNs rtt = kNever;
  const bool known = end + setup_.window > path.next;  // what became of its newest packet
  const bool came = header.gap_count == 0 || at != header.high + 1;
  const bool new_high = header.newest && span != 0 && end > path.highest && known && came;
  if (new_high) {
    const SentPacket& newest = packet(header.path, end - 1);
    const TimeNs sample = received.at - newest.sent - TimeNs{header.delay_ns};
    if (sample.ns > 0) {  // else the peer claims to have waited longer than it took
      rtt = sample;
      path.shared->on_rtt(received.at, rtt);
    }
    // The receiver times its ACKs by it.
    const int64_t change = std::abs(path.shared->smoothed_rtt().ns - told_rtt_.ns);
    if (header.path == 0 && change > told_rtt_.ns / 4) ping(0, path.next, end);
  }
  path.highest = std::max(path.highest, end);
  AckTally tally;
  const std::span<const Gap> gaps(header.gaps.data(), header.gap_count);
  on_range(received.at, header.path, end - span, end, gaps, tally);
  const auto marked = static_cast<int32_t>(header.ecn_marked - path.ecn_marked);
  if (marked > 0) path.ecn_marked = header.ecn_marked;
  // Whatever it says, the path has answered.
  path.backoff = 0;
  path.timeout_after = {};
  if (tally.packets != 0 || marked > 0) {
    path.shared->on_acked(received.at, tally.bytes, tally.packets,
                          static_cast<uint32_t>(std::max(marked, 0)), rtt, tally.stamp, tally.sent);
  }
  on_progress(received.at, header);
  check_suspects(received.at, header.path);
  return Drop::kNone;
}

// The numbers [low, end) but the gaps have been received. Only what is not settled is looked at.
void Sender::on_range(TimeNs at, uint32_t p, uint64_t low, uint64_t end, std::span<const Gap> gaps,
                      AckTally& tally) {
  SendPath& path = paths_[p];
  const uint64_t ring = path.next > setup_.window ? path.next - setup_.window : 0;
  uint64_t number = std::max(low, ring);
  const auto full = [&](uint32_t value) { return low + static_cast<uint32_t>(value - low); };
  size_t g = 0;
  while ((number = path.unacked.next(number, end, true)) < end) {
    while (g < gaps.size() && full(gaps[g].first) + gaps[g].count <= number) ++g;
    if (g == gaps.size() || number < full(gaps[g].first)) {
      on_delivered(at, p, number, tally);
    } else if (packet(p, number).state == State::kInFlight) {
      on_missing(at, p, number);
    }
    ++number;
  }
  settle(path);
}

void Sender::on_delivered(TimeNs at, uint32_t p, uint64_t number, AckTally& tally) {
  SendPath& path = paths_[p];
  SentPacket& sent = packet(p, number);
  path.unacked.clear(number);
  const State before = sent.state;
  sent.state = State::kAcked;
  if (before == State::kLost) {
    ++counters_.spurious;
    path.shared->on_spurious(at, sent.sent);
    if (sent.loss != kNone) losses_[sent.loss].cancelled = true;
    if (sent.block != kNone && blocks_[sent.block].generation == sent.generation) {
      on_late_symbol(sent);
    }
  } else {
    tally.bytes += sent.wire_bytes;
    ++tally.packets;
    tally.stamp = sent.stamp;
    tally.sent = sent.sent;
    --path.inflight;
    --inflight_;
    if (sent.block != kNone) {
      ++blocks_[sent.block].acked;
      free_if_resolved(sent.block);
    }
  }
  if (before != State::kInFlight && sent.nacked != kNever) {
    path.shared->on_late(at - sent.nacked);
  }
}

// It counts after all; and what was to be, or has been, sent in its place does not.
void Sender::on_late_symbol(const SentPacket& sent) {
  Block& block = blocks_[sent.block];
  --block.lost;
  ++block.acked;
  if (sent.repaired) {
    ++block.duplicates;
  } else if (sent.loss != kNone && losses_[sent.loss].queued) {
    losses_[sent.loss].queued = false;
    --block.planned;
    --block.queued;
  }
  free_if_resolved(sent.block);
}

void Sender::on_missing(TimeNs at, uint32_t p, uint64_t number) {
  SendPath& path = paths_[p];
  SentPacket& sent = packet(p, number);
  sent.nacked = at;
  sent.state = State::kSuspect;
  sent.chained = true;
  append(packets_, path.suspects, ref(p, number));
}

TimeNs Sender::suspect_due(const SendPath& path) const {
  if (path.suspects.empty()) return kNever;
  const SentPacket& first = packets_[path.suspects.head];
  if (first.state != State::kSuspect) return TimeNs{INT64_MIN};
  const TimeNs due = first.nacked + recovery_->loss_delay(path.shared->view());
  if (recovery_->may_hurry()) return due;
  return std::max(due, first.sent + path.shared->min_rtt());
}

void Sender::check_suspects(TimeNs now, uint32_t p) {
  SendPath& path = paths_[p];
  while (suspect_due(path) <= now) {
    const uint32_t place = remove_head(packets_, path.suspects);
    packets_[place].chained = false;
    if (packets_[place].state == State::kSuspect) declare_lost(now, p, number_at(p, place));
  }
  settle(path);
}

void Sender::declare_lost(TimeNs at, uint32_t p, uint64_t number) {
  SendPath& path = paths_[p];
  SentPacket& sent = packet(p, number);
  if (sent.state == State::kInFlight) sent.nacked = kNever;  // nobody has reported it
  sent.state = State::kLost;
  --path.inflight;
  --inflight_;
  ++counters_.lost;
  if (config_.observer != nullptr) {
    config_.observer->on_lost(
        {at, setup_.peer_id, number, p, sent.wire_bytes, sent.nacked != kNever});
  }
  const uint64_t of = full_message(sent.message);
  const bool there = of == complete_ && !sent.parity && sent.index < base_index_;
  const LostPacket lost{.number = number,
                        .next_number = path.next,
                        .until_dry = until_dry(),
                        .smoothed_rtt = path.shared->smoothed_rtt(),
                        .needed = of >= complete_ && !there,
                        .again = sent.repair,
                        .loss = path.shared->losses().upper(),
                        .inflight = inflight_};
  bool repaired = true;
  if (sent.block != kNone) {
    Block& block = blocks_[sent.block];
    ++block.lost;
    if (lost.needed && !sent.parity) {
      append(losses_, block.missing, record_loss(ref(p, number)));
    }
    if (lost.needed) repaired = !repair_block(block, lost);
    free_if_resolved(sent.block);
  } else if (!sent.spare) {
    const LossAction action = recovery_->on_lost(lost);
    if (action.go_back) {
      go_back(complete_, base_index_);
    } else if (lost.needed && action.copies != 0) {
      const uint32_t id = record_loss(ref(p, number));
      losses_[id].copies = static_cast<uint8_t>(action.copies);
      append(losses_, repairs_, id);
    }
    repaired = !lost.needed;
  }
  path.shared->on_lost(at, number, sent.wire_bytes, sent.sent, repaired);
}

// Queues as many of the block's missing datagrams as it lacks symbols; whether there were any.
bool Sender::repair_block(Block& block, const LostPacket& lost) {
  bool queued = false;
  while (block.planned - block.lost - block.duplicates < block.data && !block.missing.empty()) {
    const uint32_t id = remove_head(losses_, block.missing);
    if (losses_[id].cancelled) {
      forget_loss(id);
      continue;
    }
    losses_[id].copies = static_cast<uint8_t>(std::max(1u, recovery_->on_lost(lost).copies));
    losses_[id].queued = true;
    append(losses_, repairs_, id);
    ++block.planned;
    ++block.queued;
    queued = true;
  }
  return queued;
}

// All its symbols are accounted for: nothing refers to it any more but its missing datagrams.
void Sender::free_if_resolved(uint32_t place) {
  Block& block = blocks_[place];
  FARSPAN_CHECK(block.data != 0);  // else it has been freed before
  if (block.acked + block.lost < block.planned || block.queued != 0) return;
  block.data = 0;
  while (!block.missing.empty()) forget_loss(remove_head(losses_, block.missing));
  ++block.generation;
  block.next_free = free_block_;
  free_block_ = place;
}

void Sender::on_progress(TimeNs at, const Header& header) {
  const uint64_t complete = Expand(header.message, 16, complete_);
  if (complete > complete_) {
    for (; complete_ < std::min(complete, posted_); ++complete_) {
      message(complete_).state = MessageState::kDone;
    }
    base_index_ = 0;
    events_.push({Event::Kind::kDone, comm()});
  }
  if (complete == complete_) base_index_ = std::max(base_index_, header.index);
  skip_known();
  if (pending() && inflight_ == 0) rescue(at);
}

// Everything was sent, nothing is in flight, and yet the receiver lacks something.
void Sender::rescue(TimeNs now) {
  if (next_work(now) != Work::kNone || complete_ >= cursor_message_) return;
  ++counters_.stalls;
  go_back(complete_, base_index_);
}

// How long after its departure a packet of which nothing is heard is waited for: until its ACK
// would be here (RFC 9002, 6.2.1), and where later packets call for another, until that one is, for
// which the next packet may begin to wait when the first ACK has just left.
TimeNs Sender::patience(uint32_t p, uint64_t number) const {
  const Path& shared = *paths_[p].shared;
  const TimeNs rtt = shared.smoothed_rtt();
  const TimeNs ack_delay{rtt.ns / config_.ack_per_rtt};
  const uint64_t last = paths_[p].next - 1;
  const auto later = [&](uint64_t than) { return packet(p, than).sent - packet(p, number).sent; };
  const TimeNs spacing = std::min(later(std::min(number + 1, last)), TimeNs{rtt.ns / 8});
  const TimeNs next_ack = std::min(later(last), ack_delay + spacing);
  const TimeNs wait = recovery_->timeout(shared.view(), shared.timeout(ack_delay + next_ack));
  return recovery_->may_hurry() ? wait : std::max(wait, shared.min_rtt());
}

TimeNs Sender::path_timeout(const SendPath& path) const {
  if (path.oldest_inflight == path.next) return kNever;
  const auto p = static_cast<uint32_t>(&path - paths_.data());
  const uint64_t oldest = path.oldest_inflight;
  return std::max(packet(p, oldest).sent + patience(p, oldest), path.timeout_after);
}

// The oldest two that are still needed count as lost, and so does whatever is not needed; the
// receiver is asked about the rest.
void Sender::on_path_timeout(TimeNs now, uint32_t p) {
  SendPath& path = paths_[p];
  const TimeNs wait = patience(p, path.oldest_inflight);
  int needed = 0;
  for (uint64_t n = path.oldest_inflight; n < path.next && needed < 2; ++n) {
    const SentPacket& sent = packet(p, n);
    if (sent.state != State::kInFlight) continue;
    if (sent.sent + patience(p, n) > now) break;
    if (full_message(sent.message) >= complete_) ++needed;
    declare_lost(now, p, n);
  }
  settle(path);
  if (needed == 0) {
    path.timeout_after = {};
    return;
  }
  ++counters_.timeouts;
  // One silence may be a late answer, and the two losses have been told; three times as long is
  // persistent congestion (RFC 9002, 7.6).
  if (path.backoff != 0) path.shared->controller().on_timeout(now);
  const uint32_t shift = std::min(++path.backoff, 20u);
  path.timeout_after =
      now + std::min(TimeNs{wait.ns << shift}, TimeNs{config_.timeout.ns / kProbesPerTimeout});
  ping(p, path.unsettled, left_by(now, p));
}

// Moves the marks over everything that is done with.
void Sender::settle(SendPath& path) {
  const auto p = static_cast<uint32_t>(&path - paths_.data());
  while (path.unsettled < path.next) {
    const SentPacket& sent = packet(p, path.unsettled);
    if (sent.state == State::kInFlight || sent.chained) break;
    ++path.unsettled;
  }
  path.oldest_inflight = std::max(path.oldest_inflight, path.unsettled);
  while (path.oldest_inflight < path.next) {
    if (packet(p, path.oldest_inflight).state == State::kInFlight) break;
    ++path.oldest_inflight;
  }
}

}  // namespace farspan::transport
