#include "emulator/dpdk/site_port.h"

#include <algorithm>
#include <optional>

namespace farspan::dpdk {

SitePort::SitePort(size_t site, std::unique_ptr<Port> port) : site_(site), port_(std::move(port)) {}

size_t SitePort::arrive(ClockReader& clock, std::span<Arrival, kBurst> out) {
  std::array<rte_mbuf*, kBurst> packets;
  const size_t count = port_->rx(packets);
  const TimeNs now = clock.now();
  const TimeNs since_poll = now - last_poll_;
  last_poll_ = now;
  if (count == 0) {
    ring_empty_ = now;
    return 0;
  }
  if (port_->has_stamps()) {
    for (size_t i = 0; i < count; ++i) {
      const std::optional<TimeNs> stamp = port_->stamp(*packets[i], ring_empty_, now);
      out[i] = {packets[i], std::max(last_stamp_, stamp.value_or(now))};
      last_stamp_ = out[i].at;
      seen_.arrival_uncertainty.add(stamp ? port_->stamp_error() : since_poll);
    }
    if (count < packets.size()) ring_empty_ = now;
    return take_pauses(out.first(count));
  }
  seen_.arrival_uncertainty.add(since_poll, count);
  for (size_t i = 0; i < count; ++i) {
    rte_prefetch0(rte_pktmbuf_mtod(packets[i], void*));
    out[i] = {packets[i], now};
  }
  return take_pauses(out.first(count));
}

size_t SitePort::take_pauses(std::span<Arrival> arrivals) {
  if (pauses_ == nullptr) return arrivals.size();
  return pauses_->take(arrivals, [this](TimeNs at, const link::PfcFrame& frame) {
    for (Source& source : sources_) source.exhausted = false;
    through_egress(at, at);
    egress_->pause(at, frame);
  });
}

size_t SitePort::depart(ClockReader& clock) {
  size_t moved = 0;
  if (pauses_ != nullptr) pauses_->send(clock);
  const TimeNs now = clock.now();
  const TimeNs until = horizon(now);
  for (Source& source : sources_) source.exhausted = false;
  if (egress_ != nullptr) through_egress(now, until);
  for (int burst = 0; burst < kBurstsPerDeparture; ++burst) {
    const size_t room = std::min(kBurst, kPending - pending_count_);
    const size_t count = gather(now, until, {leaving_.data(), room});
    for (size_t i = 0; i < count; ++i) open(leaving_[i], now);
    moved += count;
    if (pending_count_ != 0) flush(clock);
    if (count < room || room == 0) break;
  }
  return moved;
}

// Up to when departures are known, at most the lead from `now`.
TimeNs SitePort::horizon(TimeNs now) {
  if (lead_.ns == 0 || !port_->schedules()) return now;
  TimeNs until = now + lead_;
  for (const Source& source : sources_) until = std::min(until, source.pipe->decided_until(now));
  return until;
}

size_t SitePort::gather(TimeNs now, TimeNs until, std::span<link::PacketRef> out) {
  return egress_ != nullptr ? egress_->release(until, out) : merge(now, until, out);
}

// Everything that comes through the fibers by `until` reaches the port before its queue is served
// up to `until`.
void SitePort::through_egress(TimeNs now, TimeNs until) {
  std::array<link::PacketRef, kBurst> refs;
  for (;;) {
    const size_t room = std::min<uint64_t>(kBurst, egress_->room());
    const size_t count = merge(now, until, {refs.data(), room});
    if (count == 0) return;
    egress_->offer(until, {refs.data(), count});
  }
}

size_t SitePort::merge(TimeNs now, TimeNs until, std::span<link::PacketRef> out) {
  if (sources_.size() == 1) return sources_[0].pipe->release(now, until, out);
  size_t merged = 0;
  for (; merged < out.size(); ++merged) {
    Source* first = nullptr;
    for (Source& source : sources_) {
      if (source.next == source.count && !source.exhausted) {
        source.next = 0;
        source.count = source.pipe->release(now, until, source.refs);
        source.exhausted = source.count < source.refs.size();
      }
      // A horizon may draw back, when a change waits.
      if (source.next == source.count || source.refs[source.next].due > until) continue;
      if (first == nullptr || source.refs[source.next].due < first->refs[first->next].due) {
        first = &source;
      }
    }
    if (first == nullptr) break;
    out[merged] = first->refs[first->next++];
  }
  return merged;
}

void SitePort::open(const link::PacketRef& ref, TimeNs now) {
  Pipe* pipe = sources_[0].pipe;
  for (size_t i = 1; pipe->setup().number != ref.flow; ++i) pipe = sources_[i].pipe;
  std::optional<CaptureRecord> record;
  if (capture_ != nullptr) {
    record = capture_record(ref, *pipe, now);
    if ((ref.flags & link::kDropped) != 0) capture_->offer(*record, pipe->bytes(ref));
  }
  if (ref.cause == link::Cause::kEgressDrop) {
    seen_.egress_dropped.fetch_add(1, std::memory_order_relaxed);
  }
  bool no_buffer = false;
  rte_mbuf* packet = pipe->open(ref, no_buffer);
  if (no_buffer) seen_.no_buffer.fetch_add(1, std::memory_order_relaxed);
  if (packet == nullptr) return;
  if (record) {
    capture_->offer(*record, {rte_pktmbuf_mtod(packet, const uint8_t*), packet->data_len});
  }
  if (ref.due > now) {
    port_->schedule(*packet, ref.due);
    seen_.scheduled.fetch_add(1, std::memory_order_relaxed);
  }
  pending_[pending_count_] = packet;
  pending_due_[pending_count_++] = ref.due;
}

CaptureRecord SitePort::capture_record(const link::PacketRef& ref, const Pipe& pipe,
                                       TimeNs now) const {
  return {.at = (ref.flags & link::kDropped) != 0 ? ref.due : std::max(now, ref.due),
          .ingress = pipe.arrival(ref),
          .due = ref.due,
          .packet_id = pipe.packet_id(ref.sequence),
          .frame_bytes = pipe.frame_bytes(ref),
          .interface = static_cast<uint16_t>(site_),
          .outbound = true,
          .flags = ref.flags,
          .cause = ref.cause,
          .rule = ref.rule};
}

void SitePort::bypass(rte_mbuf* packet, TimeNs now) {
  if (pending_count_ == kPending) {
    rte_pktmbuf_free(packet);
    seen_.egress_full.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  seen_.bypassed.fetch_add(1, std::memory_order_relaxed);
  pending_[pending_count_] = packet;
  pending_due_[pending_count_++] = now;
}

void SitePort::flush(ClockReader& clock) {
  const bool released = left_at() == LeftAt::kReleased;
  TimeNs left = released ? clock.now() : TimeNs{};
  size_t sent = port_->tx({pending_.data(), pending_count_});
  if (!released) left = clock.now();
  note_left(sent, left);
  if (sent == 0 && left - pending_due_[0] > kGiveUp) {
    rte_pktmbuf_free_bulk(pending_.data(), static_cast<unsigned>(pending_count_));
    seen_.egress_full.fetch_add(pending_count_, std::memory_order_relaxed);
    sent = pending_count_;
  }
  if (sent != pending_count_) {
    std::copy(pending_.begin() + sent, pending_.begin() + pending_count_, pending_.begin());
    std::copy(pending_due_.begin() + sent, pending_due_.begin() + pending_count_,
              pending_due_.begin());
  }
  pending_count_ -= sent;
  seen_.backlog.store(pending_count_, std::memory_order_relaxed);
}

// What was handed over in time leaves by the port's clock: as well as that is known, and after what
// was handed over before it.
void SitePort::note_left(size_t count, TimeNs left) {
  const std::span<const TimeNs> dues(pending_due_.data(), count);
  if (lead_.ns == 0) {
    seen_.lateness.add_since(dues, left);
    return;
  }
  const TimeNs error = port_->schedule_error();
  for (const TimeNs due : dues) {
    last_departure_ = std::max(last_departure_, due);
    const TimeNs late = std::max(left, last_departure_) - due;
    seen_.lateness.add(left < due ? std::max(late, error) : late);
  }
}

TimeNs SitePort::next_deadline() const {
  if (pending_count_ != 0) return pending_due_[0] - lead_;
  TimeNs earliest = egress_ != nullptr ? egress_->next_deadline() : kNever;
  if (pauses_ != nullptr) earliest = std::min(earliest, pauses_->next_deadline());
  for (const Source& source : sources_) {
    if (source.next != source.count) return source.refs[source.next].due - lead_;
    earliest = std::min(earliest, source.pipe->link().next_deadline());
  }
  return earliest - lead_;
}

uint64_t SitePort::held() const {
  uint64_t held = pending_count_ + (egress_ != nullptr ? egress_->held() : 0);
  for (const Source& source : sources_) {
    held += source.count - source.next + source.pipe->link().counters().held_packets;
  }
  return held;
}

}  // namespace farspan::dpdk
