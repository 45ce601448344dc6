#include "transports/core/connection.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "emulator/base/check.h"
#include "emulator/base/units.h"

namespace farspan::transport {
namespace {

// A peer that does not hear of the end is told again, by waits that double up to the longest: over
// a second at least, so that a short outage costs it no time-out.
constexpr int kCloses = 12;
constexpr int64_t kShortestWait = 1'000'000;
constexpr int64_t kLongestWait = 200'000'000;

}  // namespace

void EventQueue::push(Event event) {
  if (tail_ - head_ == events_.size()) ++head_;
  events_[tail_++ % events_.size()] = event;
}

std::optional<Event> EventQueue::pop() {
  if (head_ == tail_) return std::nullopt;
  return events_[head_++ % events_.size()];
}

void ControlPacket::fill(TimeNs now, bool with_mac, TxSlot& slot, SpanCounters& counters) const {
  std::memcpy(slot.header.data(), bytes.data(), size);
  slot.header_bytes = size;
  slot.payload = {};
  slot.trailer_bytes = with_mac ? kMacBytes : 0;
  std::memcpy(slot.trailer.data(), &mac, kMacBytes);
  slot.tx_time = now;
  slot.route = route;
  slot.id = 0;
  slot.ecn_capable = false;
  ++counters.control_sent;
  counters.sent_bytes += slot.bytes();
}

ControlPacket& ControlQueue::push() {
  if (tail_ - head_ == kCapacity) ++head_;
  return packets_[tail_++ % kCapacity];
}

bool ReplayWindow::fresh(uint64_t number) const {
  if (number >= next_) return true;
  const uint64_t age = next_ - 1 - number;
  return age < 64 && (seen_ >> age & 1) == 0;
}

void ReplayWindow::accept(uint64_t number) {
  if (number >= next_) {
    const uint64_t advance = number + 1 - next_;
    seen_ = advance < 64 ? seen_ << advance : 0;
    next_ = number + 1;
  }
  seen_ |= uint64_t{1} << (next_ - 1 - number);
}

Connection::Connection(const SpanConfig& config, const ConnectionSetup& setup, EventQueue& events,
                       SpanCounters& counters, TimeNs now)
    : config_(config),
      setup_(setup),
      events_(events),
      counters_(counters),
      heard_at_(now),
      owed_since_(now) {}

uint64_t Connection::mac_of(std::span<const uint8_t> header, std::span<const uint8_t> payload,
                            uint64_t number) const {
  return Mac(*config_.mac, header, payload, static_cast<uint32_t>(number >> 32));
}

Drop Connection::on_packet(const Packet& packet) {
  const Header& header = packet.header;
  if (header.path >= setup_.paths || gone_) return Drop::kMalformed;
  const bool control = header.type != PacketType::kData && header.type != PacketType::kParity;
  ReplayWindow& seen = control_numbers_[header.path].seen;
  const uint64_t number =
      Expand(header.number, 32, control ? seen.expected() : expected_number(header));
  if (config_.mac && packet.mac != mac_of(packet.header_bytes, packet.payload, number)) {
    return Drop::kMac;
  }
  if (control) {
    if (!seen.fresh(number)) return Drop::kReplay;
    seen.accept(number);
  }
  Drop drop = Drop::kNone;
  if (header.type == PacketType::kClose) {
    // What it had said before, and may have kept us from finding something missing now, it will say
    // again with the next CLOSE.
    const bool untold = number > 0 && seen.fresh(number - 1);
    if (header.reason == Reason::kNone && untold && pending()) return Drop::kNone;
    send_control({.type = PacketType::kClosed, .reason = header.reason}, header.path);
    if (state_ == CommState::kReady) {
      const bool surprised = pending() || header.reason != Reason::kNone;
      state_ = surprised ? CommState::kFailed : CommState::kClosed;
      failure_ = std::string(ToText(header.reason));
      fail_requests();
      events_.push({Event::Kind::kFailed, comm()});
    }
    gone_ = gone_ || closing_;
  } else if (header.type == PacketType::kClosed) {
    gone_ = closing_;
    closes_left_ = 0;
    close_at_ = kNever;
  } else if (state_ == CommState::kReady) {
    drop = on_body(packet, number);
  } else {
    drop = Drop::kState;
  }
  if (drop == Drop::kNone) heard_at_ = std::max(heard_at_, packet.at);
  return drop;
}

void Connection::owe(TimeNs now) {
  if (!pending()) owed_since_ = now;
}

void Connection::on_timeout(TimeNs now) {
  if (close_at_ <= now) send_close(now);
  if (state_ != CommState::kReady) return;
  if (pending() && silence_limit() <= now) {
    const bool troubled = trouble_at_ > heard_at_;
    return fail(
        now,
        "the peer has not answered for " + ToText(config_.timeout) + ": " +
            (troubled ? trouble_ : "is it running, and does the path carry datagrams both ways?"),
        Reason::kNone);
  }
  on_deadline(now);
}

void Connection::on_trouble(TimeNs now, const Trouble& trouble) {
  const auto own = std::span(routes_).first(setup_.paths);
  if (trouble.route != nullptr && std::find(own.begin(), own.end(), *trouble.route) == own.end()) {
    return;
  }
  if (trouble.for_good) return fail(now, std::string(trouble.why), Reason::kNone);
  trouble_ = trouble.why;
  trouble_at_ = now;
}

TimeNs Connection::next_deadline() const {
  TimeNs next = control_.empty() ? close_at_ : TimeNs{INT64_MIN};
  if (state_ != CommState::kReady) return next;
  if (pending()) next = std::min(next, silence_limit());
  return std::min(next, own_deadline());
}

bool Connection::transmit(TimeNs now, TimeNs horizon, TxSlot& slot) {
  if (control_.empty()) {
    if (state_ != CommState::kReady || !transmit_data(now, horizon, slot)) return false;
    held_slots_ += slot.id != 0 ? 1 : 0;
    return true;
  }
  control_.pop().fill(now, config_.mac.has_value(), slot, counters_);
  return true;
}

void Connection::report_sent(uint64_t id, TimeNs actual) {
  --held_slots_;
  on_sent(id, actual);
}

void Connection::send_control(Header header, uint32_t path) {
  const uint64_t number = control_numbers_[path].next++;
  header.path = static_cast<uint8_t>(path);
  header.connection = setup_.peer_id;
  header.number = static_cast<uint32_t>(number);
  ControlPacket& packet = control_.push();
  packet.size = EncodeHeader(header, packet.bytes);
  const auto bytes = std::span(packet.bytes).first(packet.size);
  SealCrc(bytes, {});
  if (config_.mac) packet.mac = mac_of(bytes, {}, number);
  packet.route = routes_[path];
}

void Connection::seal(const Header& header, uint64_t number, TxSlot& slot, uint32_t id_bits) {
  slot.header_bytes = EncodeHeader(header, slot.header);
  const auto bytes = std::span(slot.header).first(slot.header_bytes);
  const auto payload = slot.payload.data == nullptr
                           ? std::span<const uint8_t>{}
                           : std::span(slot.payload.data, slot.payload.bytes);
  SealCrc(bytes, setup_.payload_crc ? payload : std::span<const uint8_t>{});
  slot.trailer_bytes = 0;
  if (config_.mac) {
    const uint64_t mac = mac_of(bytes, payload, number);
    std::memcpy(slot.trailer.data(), &mac, kMacBytes);
    slot.trailer_bytes = kMacBytes;
  }
  slot.route = routes_[header.path];
  slot.id = uint64_t{id_bits} << 48 | (number & 0xffffffffffffu);
  slot.ecn_capable = true;
  counters_.sent_bytes += slot.bytes();
}

void Connection::send_close(TimeNs now) {
  if (closes_left_ == 0) {
    gone_ = closing_;
    close_at_ = kNever;
    return;
  }
  --closes_left_;
  say_last(now);
  send_control({.type = PacketType::kClose, .reason = close_reason_}, 0);
  close_at_ = now + close_wait_;
  close_wait_.ns = std::min(2 * close_wait_.ns, std::max(2 * setup_.rtt.ns, kLongestWait));
}

void Connection::begin_close(TimeNs now, Reason reason) {
  close_reason_ = reason;
  closes_left_ = kCloses;
  close_wait_ = {std::max(2 * setup_.rtt.ns, kShortestWait)};
  send_close(now);
}

void Connection::fail(TimeNs now, std::string why, Reason reason) {
  if (state_ != CommState::kReady) return;
  state_ = CommState::kFailed;
  failure_ = std::move(why);
  fail_requests();
  events_.push({Event::Kind::kFailed, comm()});
  begin_close(now, reason);
}

void Connection::close(TimeNs now, Reason reason) {
  if (closing_) return;
  closing_ = true;
  if (state_ == CommState::kReady) {
    state_ = CommState::kClosed;
    fail_requests();
    begin_close(now, reason);
  } else if (close_at_ == kNever) {
    gone_ = true;
  }
}

}  // namespace farspan::transport
