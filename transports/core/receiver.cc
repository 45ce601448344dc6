#include "transports/core/receiver.h"

#include <algorithm>
#include <cstring>

#include "emulator/base/check.h"

namespace farspan::transport {

Receiver::Receiver(const SpanConfig& config, const ConnectionSetup& setup, EventQueue& events,
                   SpanCounters& counters, TimeNs now, const Route& route)
    : Connection(config, setup, events, counters, now),
      blocks_(config.open_blocks),
      code_(config.lengths_only ? 0 : setup.payload_bytes),
      parity_(config.lengths_only ? 0 : size_t{config.parity_symbols} * setup.payload_bytes),
      free_symbols_(config.parity_symbols),
      complete_(config.first_message),
      posted_(complete_),
      ack_wait_(longest_ack_wait(setup.rtt)) {
  routes_.fill(route);
  for (uint32_t i = 0; i < setup.paths; ++i) paths_.emplace_back(setup.window, setup.first_number);
  for (uint32_t i = 0; i < config.max_requests; ++i) {
    messages_.emplace_back(std::bit_ceil(uint64_t{setup.window} * setup.paths));
  }
  for (uint32_t i = 0; i < config.parity_symbols; ++i) free_symbols_[i] = i;
  for (size_t i = blocks_.size(); i-- > 0;) {
    blocks_[i].next = free_block_;
    free_block_ = static_cast<uint32_t>(i);
  }
}

std::optional<uint64_t> Receiver::post(TimeNs now, const Buffer& buffer, uint32_t tag) {
  Message& msg = message(posted_);
  if (state() != CommState::kReady || msg.state != MessageState::kFree) return std::nullopt;
  owe(now);
  msg.data = static_cast<uint8_t*>(buffer.data);
  msg.capacity = buffer.bytes;
  msg.bytes = 0;
  msg.tag = tag;
  msg.datagrams = 0;
  msg.base = 0;
  msg.blocks = kNone;
  msg.state = MessageState::kPosted;
  if (ping_at_ == kNever) ping_at_ = now + TimeNs{config_.timeout.ns / kProbesPerTimeout};
  // Receives posted at one time share an ACK.
  paths_[repeat_path_].ack_at = std::min(paths_[repeat_path_].ack_at, now);
  repeat_ack(now, repeat_path_);
  return posted_++;
}

Completion Receiver::test(uint64_t number) {
  Message& msg = message(number);
  switch (msg.state) {
    case MessageState::kDone:
      msg.state = MessageState::kFree;
      return {Progress::kDone, msg.bytes};
    case MessageState::kFailed:
      msg.state = MessageState::kFree;
      return {Progress::kFailed, 0};
    default:
      return {};
  }
}

void Receiver::fail_requests() {
  for (Message& msg : messages_) {
    if (msg.state == MessageState::kPosted) msg.state = MessageState::kFailed;
  }
}

Drop Receiver::on_body(const Packet& packet, uint64_t number) {
  fire_acks(packet.at);
  const uint32_t p = packet.header.path;
  switch (packet.header.type) {
    case PacketType::kData:
    case PacketType::kParity:
      return on_symbol(packet, number);
    case PacketType::kPing:
      ++counters_.control_received;
      routes_[p] = *packet.route;
      ack_wait_ = longest_ack_wait(TimeNs{packet.header.rtt_ns});
      on_left(paths_[p], Expand(packet.header.high, 32, paths_[p].next));
      compose_pages(packet.at, p, Expand(packet.header.low, 32, paths_[p].next));
      return Drop::kNone;
    case PacketType::kPong:
      ++counters_.control_received;
      return Drop::kNone;
    default:
      return Drop::kState;
  }
}

uint32_t Receiver::datagram_bytes(const Message& msg, uint32_t index) const {
  const uint64_t before = uint64_t{index} * setup_.payload_bytes;
  return static_cast<uint32_t>(std::min<uint64_t>(setup_.payload_bytes, msg.bytes - before));
}

Drop Receiver::on_symbol(const Packet& packet, uint64_t number) {
  const uint32_t p = packet.header.path;
  ReceivePath& path = paths_[p];
  if (number < path.first || number + setup_.window < path.next) return Drop::kReplay;
  if (number < path.next && path.seen.test(number)) return Drop::kReplay;
  const uint64_t of = Expand(packet.header.message, 16, complete_);
  const uint64_t complete_before = complete_;
  const Outcome outcome = of < complete_
                              ? Outcome::kKnown
                              : (of < posted_ ? take_symbol(packet, of) : Outcome::kRefused);
  if (outcome == Outcome::kMalformed) return Drop::kMalformed;
  if (outcome == Outcome::kRefused) return Drop::kState;
  const bool data = packet.header.type == PacketType::kData;
  ++(data ? counters_.data_received : counters_.parity_received);
  if (data && outcome == Outcome::kKnown) ++counters_.data_duplicate;
  if (outcome == Outcome::kOutOfOrder) ++counters_.data_discarded;
  complete_messages();
  on_arrival(packet, number, outcome, complete_ != complete_before || of < complete_before);
  return Drop::kNone;
}

// The first that arrives of a message says how long it is and which receive it wants.
bool Receiver::begin_message(const Packet& packet, Message& msg) {
  const Header& header = packet.header;
  if (msg.datagrams != 0) {
    return header.message_bytes == msg.bytes && header.tag == msg.tag;
  }
  const uint64_t datagrams = std::max<uint64_t>(
      1, (header.message_bytes + setup_.payload_bytes - 1) / setup_.payload_bytes);
  if (datagrams > kMaxDatagramIndex) return false;
  if (header.message_bytes > msg.capacity || header.tag != msg.tag) {
    const Reason reason = header.message_bytes > msg.capacity ? Reason::kTooLong : Reason::kTag;
    fail(packet.at, std::string(ToText(reason)), reason);
    return false;
  }
  msg.bytes = header.message_bytes;
  msg.datagrams = static_cast<uint32_t>(datagrams);
  return true;
}

Receiver::Outcome Receiver::take_symbol(const Packet& packet, uint64_t of) {
  Message& msg = message(of);
  if (!begin_message(packet, msg)) return Outcome::kMalformed;
  if (packet.header.index >= msg.datagrams) return Outcome::kMalformed;
  return packet.header.type == PacketType::kData ? take_data(packet, of) : take_parity(packet, of);
}

// How many datagrams, at least, lie between what is missing first and this one.
uint64_t Receiver::ahead(uint64_t of, uint32_t index) {
  const Message& msg = message(of);
  uint64_t between = index > msg.base ? index - msg.base : 0;
  for (uint64_t m = complete_; m < of; ++m) {
    between += std::max(1u, message(m).datagrams) - message(m).base;
  }
  return between;
}

Receiver::Outcome Receiver::take_data(const Packet& packet, uint64_t of) {
  Message& msg = message(of);
  const uint32_t index = packet.header.index;
  if (packet.payload_bytes != datagram_bytes(msg, index)) return Outcome::kMalformed;
  if (setup_.in_order && ahead(of, index) > overtaken_) return Outcome::kOutOfOrder;
  if (index >= msg.base + msg.received.capacity()) return Outcome::kRefused;
  if (has(msg, index)) return Outcome::kKnown;
  if (msg.data != nullptr && !packet.payload.empty()) {
    std::memcpy(msg.data + uint64_t{index} * setup_.payload_bytes, packet.payload.data(),
                packet.payload_bytes);
  }
  mark_received(msg, index);
  if (msg.blocks != kNone) fill_blocks(msg, index);
  return Outcome::kKept;
}

Receiver::Outcome Receiver::take_parity(const Packet& packet, uint64_t of) {
  Message& msg = message(of);
  const Header& header = packet.header;
  const uint64_t last = header.index + uint64_t{header.block_data - 1u} * header.stride;
  if (header.block_data > ErasureCode::kColumns || header.row >= ErasureCode::kMaxParity ||
      last >= msg.datagrams ||
      packet.payload_bytes != symbol_bytes(msg, header.index, header.block_data)) {
    return Outcome::kMalformed;
  }
  if (setup_.in_order || last >= msg.base + msg.received.capacity()) return Outcome::kRefused;
  uint32_t missing = 0;
  for (uint64_t i = header.index; i <= last; i += header.stride) {
    missing += has(msg, static_cast<uint32_t>(i)) ? 0 : 1;
  }
  if (missing == 0) return Outcome::kKnown;
  uint32_t place = find_block(msg, header);
  if (place == kNone) {
    place = free_block_;
    if (place == kNone || free_symbols_.empty()) return Outcome::kRefused;
    Block& fresh = blocks_[place];
    free_block_ = fresh.next;
    fresh.message = of;
    fresh.first = header.index;
    fresh.data = header.block_data;
    fresh.stride = header.stride;
    fresh.symbols = 0;
    fresh.missing = missing;
    fresh.next = msg.blocks;
    msg.blocks = place;
  }
  Block& block = blocks_[place];
  for (uint32_t i = 0; i < block.symbols; ++i) {
    if (block.rows[i] == header.row) return Outcome::kKnown;
  }
  if (free_symbols_.empty()) return Outcome::kRefused;
  const uint32_t store = free_symbols_.back();
  free_symbols_.pop_back();
  if (symbol(store) != nullptr && !packet.payload.empty()) {
    std::memcpy(symbol(store), packet.payload.data(), packet.payload_bytes);
  }
  block.rows[block.symbols] = header.row;
  block.store[block.symbols++] = store;
  if (decode(msg, block)) close_block(msg, place);
  return Outcome::kKept;
}

void Receiver::mark_received(Message& msg, uint32_t index) {
  msg.received.set(index);
  if (index != msg.base) return;
  const auto next = static_cast<uint32_t>(msg.received.next(
      msg.base, std::min<uint64_t>(msg.datagrams, msg.base + msg.received.capacity()), false));
  for (uint32_t i = msg.base; i < next; ++i) msg.received.clear(i);
  msg.base = next;
}

// In order: a message that overtakes waits for those before it.
void Receiver::complete_messages() {
  const uint64_t before = complete_;
  for (; complete_ < posted_; ++complete_) {
    Message& msg = message(complete_);
    if (msg.datagrams == 0 || msg.base != msg.datagrams) break;
    msg.state = MessageState::kDone;
    close_blocks(msg);
  }
  if (complete_ != before) events_.push({Event::Kind::kDone, comm()});
}

void Receiver::note_number(ReceivePath& path, uint64_t number, bool kept) {
  if (number >= path.next) {
    const uint64_t oldest = number >= setup_.window ? number + 1 - setup_.window : 0;
    for (uint64_t n = std::max(path.next, oldest); n <= number; ++n) path.seen.clear(n);
    path.next = number + 1;
  }
  if (kept) path.seen.set(number);
}

// What was sent before a PING and has not come is missing: no later number need tell.
void Receiver::on_left(ReceivePath& path, uint64_t high) {
  if (high > path.next) note_number(path, high - 1, false);
}

void Receiver::on_arrival(const Packet& packet, uint64_t number, Outcome outcome,
                          bool sender_must_know) {
  const uint32_t p = packet.header.path;
  ReceivePath& path = paths_[p];
  routes_[p] = *packet.route;
  repeat_path_ = p;
  const bool gap = number > path.next;
  const bool newest = number >= path.next;
  const bool discarded = outcome == Outcome::kOutOfOrder;
  const bool first_discarded =
      discarded && newest && (path.next == path.first || path.seen.test(path.next - 1));
  if (!newest) overtaken_ = std::max(overtaken_, path.next - 1 - number);
  note_number(path, number, !discarded);
  if (newest) path.newest_at = packet.at;
  if (packet.ecn_marked) ++path.ecn_marked;
  ++path.waiting;
  if (path.ack_at == kNever) path.ack_at = packet.at + ack_wait_;
  if (gap || first_discarded || sender_must_know || path.waiting >= config_.ack_packets) {
    compose_ack(packet.at, p);
    if (sender_must_know) repeat_ack(packet.at, p);
  }
}

}  // namespace farspan::transport
