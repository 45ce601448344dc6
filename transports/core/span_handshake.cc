// The handshake: HELLO -> RETRY -> HELLO with cookie -> ACCEPT; docs/wire-format.md, section 3.
#include <sodium/crypto_shorthash.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "transports/core/receiver.h"
#include "transports/core/sender.h"
#include "transports/core/span.h"

namespace farspan::transport {
namespace {

constexpr TimeNs kCookieLife{10'000'000'000};

uint64_t Microseconds(TimeNs t) { return static_cast<uint64_t>(t.ns / 1'000); }

}  // namespace

void Span::send_stateless(const Header& header, const Route& route) {
  ControlPacket& packet = stateless_.push();
  packet.size = EncodeHeader(header, packet.bytes);
  const auto bytes = std::span(packet.bytes).first(packet.size);
  SealCrc(bytes, {});
  if (config_.mac) packet.mac = Mac(*config_.mac, bytes, {}, 0);
  packet.route = route;
}

void Span::answer(Header header, const Packet& packet) {
  header.connection = packet.header.id;
  send_stateless(header, *packet.route);
}

void Span::refuse(const Packet& packet, Reason reason) {
  answer({.type = PacketType::kRefuse, .reason = reason}, packet);
}

void Span::send_hello(TimeNs now, Slot& slot) {
  send_stateless({.type = PacketType::kHello,
                  .connection = slot.token,
                  .id = slot.own_id,
                  .cookie = slot.cookie,
                  .cookie_time = slot.cookie_time,
                  .payload_bytes = static_cast<uint16_t>(config_.payload_bytes),
                  .paths = static_cast<uint8_t>(slot.routes.size()),
                  .payload_crc = config_.payload_crc,
                  .in_order = make_recovery_(config_.policy)->in_order(),
                  .window = config_.window_packets,
                  .first_number = config_.first_number},
                 slot.routes[0]);
  schedule_retry(now, slot);
}

void Span::schedule_retry(TimeNs now, Slot& slot) {
  slot.retry_at = std::min(now + slot.retry_after, slot.give_up_at);
  slot.retry_after += slot.retry_after;
}

void Span::handshake_timeout(TimeNs now, Slot& slot) {
  if (slot.give_up_at <= now) return give_up(now, slot);
  if (!slot.connection) return send_hello(now, slot);
  static_cast<Sender&>(*slot.connection).open_paths();
  schedule_retry(now, slot);
}

void Span::give_up(TimeNs now, Slot& slot) {
  if (!slot.sends) {
    ++counters_.unheard;
    return release(slot);
  }
  if (slot.connection) {
    slot.retry_at = kNever;
    return slot.connection->fail(now,
                                 "the peer has accepted and does not answer since: is it running, "
                                 "and does the path carry datagrams both ways?",
                                 Reason::kNone);
  }
  handshake_fails(
      slot, "the peer does not answer: " +
                (slot.trouble.empty() ? "is it running, with the same MAC key if any, and does the "
                                        "path carry datagrams both ways?"
                                      : slot.trouble));
}

void Span::handshake_trouble(Slot& slot, const Trouble& trouble) {
  if (slot.state != CommState::kConnecting) return;
  if (trouble.route != nullptr && *trouble.route != slot.routes[0]) return;
  if (trouble.for_good) return handshake_fails(slot, std::string(trouble.why));
  slot.trouble = trouble.why;
}

void Span::handshake_fails(Slot& slot, std::string why) {
  slot.state = CommState::kFailed;
  slot.retry_at = kNever;
  slot.failure = std::move(why);
  events_.push({Event::Kind::kFailed, comm_of(slot)});
}

Drop Span::on_handshake(const Packet& packet) {
  if (config_.mac && packet.mac != Mac(*config_.mac, packet.header_bytes, {}, 0)) {
    return Drop::kMac;
  }
  if (packet.header.type == PacketType::kHello) return on_hello(packet);
  const auto found = by_id_.find(packet.header.connection);
  if (found == by_id_.end()) return Drop::kUnknown;
  Slot& slot = slots_[found->second];
  if (!slot.sends || slot.connection || slot.state != CommState::kConnecting) return Drop::kState;
  const Drop drop = on_answer(packet, slot);
  if (drop == Drop::kNone) ++counters_.control_received;
  return drop;
}

// The server's memory of a client before it has proved its address: this, in the client's hands.
uint64_t Span::cookie_for(const Packet& packet, uint64_t time) const {
  std::array<uint8_t, sizeof(Address::bytes) + 28> text{};
  const Address& peer = packet.route->peer;
  std::memcpy(text.data(), peer.bytes.data(), peer.bytes.size());
  uint8_t* rest = text.data() + peer.bytes.size();
  std::memcpy(rest, &packet.header.id, 8);
  std::memcpy(rest + 8, &packet.header.connection, 8);
  std::memcpy(rest + 16, &time, 8);
  std::memcpy(rest + 24, &peer.size, 4);
  uint64_t cookie = 0;
  crypto_shorthash(reinterpret_cast<uint8_t*>(&cookie), text.data(), text.size(),
                   secret_.bytes.data());
  return cookie;
}

Drop Span::on_hello(const Packet& packet) {
  const Header& hello = packet.header;
  const auto listener = std::find_if(listeners_.begin(), listeners_.end(), [&](const Listener& l) {
    return l.open && l.token == hello.connection;
  });
  ++counters_.control_received;
  if (listener == listeners_.end()) {
    refuse(packet, Reason::kNoListener);
    return Drop::kNone;
  }
  const uint64_t now = Microseconds(packet.at);
  const uint64_t given = Expand(hello.cookie_time, 32, now);
  if (hello.cookie != cookie_for(packet, given) || now - given > Microseconds(kCookieLife)) {
    answer({.type = PacketType::kRetry,
            .cookie = cookie_for(packet, now),
            .cookie_time = static_cast<uint32_t>(now)},
           packet);
    return Drop::kNone;
  }
  if (const auto known = by_client_.find(hello.id); known != by_client_.end()) {
    send_accept(packet, slots_[known->second]);  // ours was lost
    return Drop::kNone;
  }
  if (hello.paths > kMaxPaths || !std::has_single_bit(hello.window) || hello.window < 64 ||
      hello.payload_bytes < 64 || hello.first_number == 0) {
    refuse(packet, Reason::kSettings);
    return Drop::kNone;
  }
  const CommId comm = make_receiver(packet);
  if (Slot* slot = find(comm)) {
    slot->listener = {static_cast<uint32_t>(listener - listeners_.begin())};
    send_accept(packet, *slot);
  } else {
    refuse(packet, Reason::kFull);
  }
  return Drop::kNone;
}

CommId Span::make_receiver(const Packet& packet) {
  const Header& hello = packet.header;
  Slot* slot = take_slot();
  if (slot == nullptr) return {~0u};
  slot->peer_id = hello.id;
  by_client_[hello.id] = static_cast<uint32_t>(slot - slots_.data());
  ConnectionSetup setup;
  setup.comm = comm_of(*slot);
  setup.own_id = slot->own_id;
  setup.peer_id = hello.id;
  setup.paths = hello.paths;
  setup.payload_bytes = std::min<uint32_t>(hello.payload_bytes, config_.payload_bytes);
  setup.window = std::min(hello.window, config_.window_packets);
  setup.payload_crc = hello.payload_crc || config_.payload_crc;
  setup.in_order = hello.in_order;
  setup.first_number = hello.first_number;
  const auto since = static_cast<uint32_t>(Microseconds(packet.at)) - hello.cookie_time;
  setup.rtt = TimeNs{int64_t{since} * 1'000};
  slot->connection =
      std::make_unique<Receiver>(config_, setup, events_, counters_, packet.at, *packet.route);
  slot->payload_bytes = setup.payload_bytes;
  slot->window = setup.window;
  slot->give_up_at = packet.at + config_.timeout;
  slot->retry_at = slot->give_up_at;
  return setup.comm;
}

// The peer speaks in the connection: what was asked for is wanted still, and an ACCEPT has arrived.
// A HELLO alone may be a late copy, of a connection that has ended.
void Span::confirm(TimeNs now, Slot& slot) {
  slot.retry_at = kNever;
  if (slot.sends) return;
  if (slot.connection->state() != CommState::kReady) return dismiss(now, slot, Reason::kNone);
  const CommId comm = comm_of(slot);
  listeners_[slot.listener.value].waiting.push_back(comm);
  events_.push({Event::Kind::kAcceptable, comm});
}

void Span::send_accept(const Packet& packet, const Slot& slot) {
  answer({.type = PacketType::kAccept,
          .id = slot.own_id,
          .payload_bytes = static_cast<uint16_t>(slot.payload_bytes),
          .paths = packet.header.paths,
          .payload_crc = slot.connection->covers_payload(),
          .in_order = packet.header.in_order,
          .window = slot.window},
         packet);
}

Drop Span::on_answer(const Packet& packet, Slot& slot) {
  const Header& header = packet.header;
  switch (header.type) {
    case PacketType::kRetry:
      // One cookie for as long as it lives: an ACCEPT does not say which HELLO it answers, and the
      // round trip is counted from the first that had a cookie.
      if (slot.cookie != 0 && packet.at - slot.asked_at < kCookieLife) {
        return Drop::kState;
      }
      slot.cookie = header.cookie;
      slot.cookie_time = header.cookie_time;
      slot.asked_at = packet.at;
      slot.retry_after = config_.handshake_retry;
      send_hello(packet.at, slot);
      return Drop::kNone;
    case PacketType::kRefuse:
      handshake_fails(slot, std::string(ToText(header.reason)));
      return Drop::kNone;
    default:
      if (header.paths != slot.routes.size() || header.payload_bytes > config_.payload_bytes ||
          header.window > config_.window_packets || !std::has_single_bit(header.window) ||
          header.window < 64 || header.payload_bytes < 64 ||
          header.in_order != make_recovery_(config_.policy)->in_order()) {
        return Drop::kMalformed;
      }
      become_sender(slot, packet);
      return Drop::kNone;
  }
}

void Span::become_sender(Slot& slot, const Packet& packet) {
  const Header& accept = packet.header;
  ConnectionSetup setup;
  setup.comm = comm_of(slot);
  setup.own_id = slot.own_id;
  setup.peer_id = accept.id;
  setup.paths = accept.paths;
  setup.payload_bytes = accept.payload_bytes;
  setup.window = accept.window;
  setup.payload_crc = accept.payload_crc;
  setup.in_order = accept.in_order;
  setup.first_number = config_.first_number;
  setup.rtt = packet.at - slot.asked_at;
  std::array<Path*, kMaxPaths> paths{};
  for (uint32_t i = 0; i < setup.paths; ++i) paths[i] = path_for(slot.routes[i], setup.rtt);
  auto sender =
      std::make_unique<Sender>(config_, setup, std::span(paths).first(setup.paths),
                               make_recovery_(config_.policy), events_, counters_, packet.at);
  sender->open_paths();
  slot.connection = std::move(sender);
  slot.give_up_at = packet.at + config_.timeout;
  slot.retry_after = std::max(config_.handshake_retry, setup.rtt + setup.rtt);
  schedule_retry(packet.at, slot);
  events_.push({Event::Kind::kReady, setup.comm});
}

}  // namespace farspan::transport
