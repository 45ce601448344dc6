#include <algorithm>

#include "transports/core/receiver.h"

namespace farspan::transport {
namespace {

// How far back an ACK looks for gaps; what is older was in many ACKs before, or is asked for.
constexpr uint64_t kAckReach = 16'384;
constexpr int kMaxPages = 8;

}  // namespace

void Receiver::on_deadline(TimeNs now) {
  fire_acks(now);
  if (!pending()) {
    ping_at_ = kNever;
  } else if (ping_at_ <= now) {
    const TimeNs quiet{config_.timeout.ns / kProbesPerTimeout};
    if (heard_at_ + quiet <= now) {
      send_control({.type = PacketType::kPing}, repeat_path_);
    }
    ping_at_ = std::max(heard_at_, now) + quiet;
  }
}

TimeNs Receiver::own_deadline() const {
  TimeNs next = std::min(repeat_at_, pending() ? ping_at_ : kNever);
  for (const ReceivePath& path : paths_) next = std::min(next, path.ack_at);
  return next;
}

// ACKs whose time has come by `now`, each as of its own time, in order.
void Receiver::fire_acks(TimeNs now) {
  for (;;) {
    TimeNs first = repeat_at_;
    uint32_t due = kNone;
    for (uint32_t p = 0; p < setup_.paths; ++p) {
      if (paths_[p].ack_at >= first) continue;
      first = paths_[p].ack_at;
      due = p;
    }
    if (first > now || first == kNever) return;
    if (due != kNone) {
      compose_ack(first, due);
      continue;
    }
    compose_ack(first, repeat_path_);
    repeat_at_ =
        --repeats_left_ > 0 ? first + TimeNs{std::max<int64_t>(ack_wait_.ns / 2, 1)} : kNever;
  }
}

void Receiver::repeat_ack(TimeNs at, uint32_t path) {
  repeat_path_ = path;
  repeats_left_ = 2;
  repeat_at_ = at + TimeNs{std::max<int64_t>(ack_wait_.ns / 2, 1)};
}

// Where an ACK of the newest numbers begins: as far back as its gaps reach.
uint64_t Receiver::ack_low(const ReceivePath& path) const {
  const uint64_t reach = std::min<uint64_t>(kAckReach, setup_.window);
  const uint64_t floor = path.next > path.first + reach ? path.next - reach : path.first;
  uint64_t low = path.next;
  for (uint32_t gaps = 0; low > floor; ++gaps) {
    const uint64_t gap_end = path.seen.last(floor, low, false);
    low = gap_end;
    if (gap_end == floor || gaps == kMaxGaps) break;
    low = path.seen.last(floor, gap_end, true);
  }
  return low;
}

uint64_t Receiver::collect_gaps(const ReceivePath& path, uint64_t low, Header& header) const {
  uint64_t at = low;
  for (header.gap_count = 0; header.gap_count < kMaxGaps; ++header.gap_count) {
    const uint64_t gap = path.seen.next(at, path.next, false);
    if (gap == path.next) return path.next;
    at = path.seen.next(gap, path.next, true);
    header.gaps[header.gap_count] = {static_cast<uint32_t>(gap), static_cast<uint32_t>(at - gap)};
  }
  return path.seen.next(at, path.next, false);
}

void Receiver::fill_ack(const ReceivePath& path, uint64_t low, TimeNs at, Header& header) const {
  const uint64_t end = collect_gaps(path, low, header);
  const Message& next = messages_[complete_ & (config_.max_requests - 1)];
  header.message = static_cast<uint16_t>(complete_);
  header.index = pending() ? next.base : 0;
  header.low = static_cast<uint32_t>(low);
  header.high = static_cast<uint32_t>(end - 1);
  header.newest = end == path.next;
  header.delay_ns = static_cast<uint32_t>(std::min<int64_t>((at - path.newest_at).ns, UINT32_MAX));
  header.ecn_marked = path.ecn_marked;
  header.credits = static_cast<uint16_t>(posted_);
}

void Receiver::compose_ack(TimeNs at, uint32_t p) {
  ReceivePath& path = paths_[p];
  Header header{.type = PacketType::kAck};
  fill_ack(path, ack_low(path), at, header);
  send_control(header, p);
  path.waiting = 0;
  path.ack_at = kNever;
}

// All that is known from `low` on, in as many ACKs as it takes, within reason.
void Receiver::compose_pages(TimeNs at, uint32_t p, uint64_t low) {
  const ReceivePath& path = paths_[p];
  const uint64_t oldest =
      path.next > path.first + setup_.window ? path.next - setup_.window : path.first;
  low = std::clamp(low, oldest, path.next);
  for (int page = 0; page < kMaxPages; ++page) {
    Header header{.type = PacketType::kAck};
    fill_ack(path, low, at, header);
    send_control(header, p);
    low = Expand(header.high, 32, path.next) + 1;
    if (header.newest) break;
  }
}

}  // namespace farspan::transport
