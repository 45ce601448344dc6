#include "transports/core/sender.h"

#include <algorithm>
#include <utility>

#include "emulator/base/check.h"

namespace farspan::transport {

Sender::SendPath::SendPath(Path* path, uint64_t window, uint64_t first)
    : shared(path),
      unacked(window),
      next(first),
      unsettled(first),
      oldest_inflight(first),
      highest(first) {}

Sender::Sender(const SpanConfig& config, const ConnectionSetup& setup, std::span<Path* const> paths,
               RecoveryPtr recovery, EventQueue& events, SpanCounters& counters, TimeNs now)
    : Connection(config, setup, events, counters, now),
      recovery_(std::move(recovery)),
      packets_(size_t{setup.paths} * setup.window),
      losses_(packets_.size()),
      messages_(config.max_requests),
      blocks_(std::max<size_t>(64, size_t{setup.paths} * setup.window / 16)),
      code_(0),
      parity_(config.lengths_only ? 0 : size_t{config.parity_symbols} * setup.payload_bytes),
      parity_busy_(config.parity_symbols),
      complete_(config.first_message),
      posted_(complete_),
      credits_(complete_),
      cursor_message_(complete_) {
  FARSPAN_CHECK(paths.size() == setup.paths);
  for (uint32_t i = 0; i < setup.paths; ++i) {
    paths_.emplace_back(paths[i], setup.window, setup.first_number);
    routes_[i] = paths[i]->route();
  }
  for (size_t i = blocks_.size(); i-- > 0;) {
    blocks_[i].next_free = free_block_;
    free_block_ = static_cast<uint32_t>(i);
  }
}

std::optional<uint64_t> Sender::post(TimeNs now, const Buffer& buffer, uint32_t tag) {
  Message& slot = message(posted_);
  if (state() != CommState::kReady || slot.state != MessageState::kFree) return std::nullopt;
  const uint64_t datagrams =
      std::max<uint64_t>(1, (buffer.bytes + setup_.payload_bytes - 1) / setup_.payload_bytes);
  FARSPAN_CHECK(buffer.bytes <= kMaxMessageBytes && datagrams <= kMaxDatagramIndex);
  owe(now);
  slot = {static_cast<const uint8_t*>(buffer.data), buffer.bytes,          buffer.memory, tag,
          static_cast<uint32_t>(datagrams),         MessageState::kPending};
  unsent_ += datagrams;
  idle_ping_at_ = kNever;
  idle_pings_ = 0;
  return posted_++;
}

Completion Sender::test(uint64_t number) {
  Message& slot = message(number);
  switch (slot.state) {
    case MessageState::kDone:
      slot.state = MessageState::kFree;
      return {Progress::kDone, slot.bytes};
    case MessageState::kFailed:
      slot.state = MessageState::kFree;
      return {Progress::kFailed, 0};
    default:
      return {};
  }
}

void Sender::fail_requests() {
  for (Message& slot : messages_) {
    if (slot.state == MessageState::kPending) slot.state = MessageState::kFailed;
  }
  complete_ = posted_;
  release_paths();
}

void Sender::release_paths() {
  for (uint32_t p = 0; p < setup_.paths; ++p) {
    SendPath& path = paths_[p];
    for (uint64_t n = path.unsettled; n < path.next; ++n) {
      SentPacket& sent = packet(p, n);
      if (sent.state != State::kInFlight && sent.state != State::kSuspect) continue;
      path.shared->forget(sent.wire_bytes);
      sent.state = State::kAcked;
    }
    path.oldest_inflight = path.next;
    path.inflight = 0;
  }
  inflight_ = 0;
}

uint64_t Sender::number_at(uint32_t path, uint32_t place) const {
  const uint64_t base = paths_[path].unsettled;
  const uint64_t offset = (place - path * setup_.window - base) & (setup_.window - 1);
  return base + offset;
}

uint32_t Sender::record_loss(uint32_t place) {
  const uint32_t id = free_loss_ != kNone ? free_loss_ : fresh_losses_++;
  FARSPAN_CHECK(id < losses_.size());
  Loss& loss = losses_[id];
  if (id == free_loss_) free_loss_ = loss.next;
  ++losses_used_;
  SentPacket& sent = packets_[place];
  loss = {.origin = place, .index = sent.index, .block = sent.block, .message = sent.message};
  sent.loss = id;
  return id;
}

void Sender::forget_loss(uint32_t id) {
  Loss& loss = losses_[id];
  if (packets_[loss.origin].loss == id) packets_[loss.origin].loss = kNone;
  loss.next = free_loss_;
  free_loss_ = id;
  --losses_used_;
}

void Sender::on_sent(uint64_t id, TimeNs actual) {
  const auto path = static_cast<uint32_t>(id >> 48 & (kMaxPaths - 1));
  SentPacket& sent = packet(path, id);
  sent.sent = actual;
  if (sent.parity) parity_busy_[sent.index] = 0;
}

Drop Sender::on_body(const Packet& received, uint64_t) {
  switch (received.header.type) {
    case PacketType::kAck: {
      const Drop drop = on_ack(received);
      if (drop == Drop::kNone) ++counters_.control_received;
      return drop;
    }
    case PacketType::kPing:
      ++counters_.control_received;
      send_control({.type = PacketType::kPong}, received.header.path);
      return Drop::kNone;
    default:
      return Drop::kState;
  }
}

void Sender::ping(uint32_t path, uint64_t low, uint64_t high) {
  told_rtt_ = paths_[path].shared->smoothed_rtt();
  send_control({.type = PacketType::kPing,
                .high = static_cast<uint32_t>(high),
                .low = static_cast<uint32_t>(low),
                .rtt_ns = told_rtt_.ns},
               path);
}

// The first number that a PING sent now overtakes.
uint64_t Sender::left_by(TimeNs now, uint32_t path) {
  uint64_t number = paths_[path].next;
  while (number > paths_[path].unsettled && packet(path, number - 1).sent > now) --number;
  return number;
}

void Sender::open_paths() {
  for (uint32_t p = 0; p < setup_.paths; ++p) ping(p, paths_[p].next, paths_[p].next);
}

TimeNs Sender::own_deadline() const {
  if (!pending() && inflight_ == 0) return kNever;
  TimeNs next = idle_ping_at_;
  for (const SendPath& path : paths_) {
    next = std::min({next, path_timeout(path), suspect_due(path)});
  }
  const bool repair = !repairs_.empty();
  const bool parity = group_.parity != 0 && cursor_index_ >= group_.end;
  if (repair || parity || data_ready()) {
    next = std::min(next, earliest_departure(repair));
  } else if (inflight_ == 0 && idle_ping_at_ == kNever) {
    next = TimeNs{INT64_MIN};  // so that on_deadline sets it
  }
  return next;
}

void Sender::on_deadline(TimeNs now) {
  for (uint32_t p = 0; p < setup_.paths; ++p) {
    check_suspects(now, p);
    if (path_timeout(paths_[p]) <= now) on_path_timeout(now, p);
  }
  const bool idle = inflight_ == 0 && pending() && next_work(now) == Work::kNone;
  if (!idle) {
    idle_ping_at_ = kNever;
    idle_pings_ = 0;
  } else if (idle_ping_at_ <= now || idle_ping_at_ == kNever) {
    if (idle_ping_at_ <= now) {
      const uint32_t path = idle_pings_++ % setup_.paths;
      ping(path, paths_[path].next, paths_[path].next);
    }
    const TimeNs rtt = paths_[0].shared->timeout({});
    idle_ping_at_ = now + std::min(TimeNs{rtt.ns << std::min(idle_pings_, 20u)},
                                   TimeNs{config_.timeout.ns / kProbesPerTimeout});
  }
}

}  // namespace farspan::transport
