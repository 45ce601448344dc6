// Bottleneck: a port with classes of waiting packets in front of a serialiser.
//
// Arrivals are classified (PacketRef::traffic_class), held to the class's queue limit (tail drop),
// served by strict priority and, among equals, deficit round robin (Shreedhar & Varghese,
// SIGCOMM'95; quantum 2,048 octets x weight), put to AQM as their service begins, and leave when
// their last bit has. Service at time t comes before an arrival at t. Without a rate nothing waits.
//
// The owner drives it: offer() in order of arrival, advance(t) up to a horizon. Both hand packets
// to a sink: sink.served(packet, start, end) with its time on the wire, sink.dropped(packet) with
// due = the instant of the drop. Sinks are called in order of time.
// sink.ask_pause(class, at, pause) tells where a class with PFC crosses its thresholds (see pfc.h);
// the other way round, pause() holds a class back.
// Single thread; nothing is allocated after construction.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "emulator/base/random.h"
#include "emulator/link/aqm.h"
#include "emulator/link/packet_fifo.h"
#include "emulator/link/packet_ref.h"
#include "emulator/link/serializer.h"
#include "emulator/link/spec.h"

namespace farspan::link {

class Bottleneck {
 public:
  // `lane` keys the AQM's draws; `limit_cause` is what a full queue's drops are called.
  Bottleneck(const BottleneckSpec& spec, Rate rate, StreamKey key, uint32_t lane, Cause limit_cause,
             BlockPool* pool);

  template <typename Sink>
  void offer(const PacketRef& packet, Sink& sink) {
    advance(packet.due, sink);
    if (!busy_ && waiting_packets_ == 0 && !is_paused(packet)) {
      in_service_ = packet;
      begin(sink);
      advance(packet.due, sink);
    } else {
      enqueue(packet, sink);
      if (!busy_) advance(packet.due, sink);  // what waits is paused, this may not be
    }
  }

  // Serves everything that begins at or before `until`; delivers what has ended by then. The sink
  // may bring `until` nearer.
  template <typename Sink>
  void advance(const TimeNs& until, Sink& sink) {
    for (;;) {
      if (busy_) {
        const TimeNs end = serializer_.busy_until();
        if (end > until) return;
        busy_ = false;
        sink.served(in_service_, service_start_, end);
      }
      if (waiting_packets_ == 0) return;
      TimeNs at = serializer_.busy_until();
      if (pausable_) [[unlikely]] {
        at = std::max(at, may_begin());
        if (at > until) return;
      }
      dequeue(at, in_service_);
      begin(sink);
    }
  }

  // Removes everything that waits, class by class, in order; what is on the wire stays.
  template <typename Sink, typename Visitor>
  void drain(TimeNs now, Sink& sink, Visitor&& visit) {
    PacketRef packet;
    while (waiting_packets_ != 0) {
      dequeue(kNever, packet);
      withdraw_pause(packet.traffic_class, now, sink);
      visit(packet);
    }
  }

  // After advance(now): nothing of the class begins before `until`, whatever was said before. What
  // has begun goes on.
  void pause(size_t traffic_class, TimeNs until) {
    classes_[traffic_class].paused_until = until;
    pausable_ = true;
  }

  void set_rate(Rate rate) { serializer_.set_rate(rate); }
  Rate rate() const { return serializer_.rate(); }
  void start_epoch();

  // End of the service under way; kNever when idle.
  TimeNs service_end() const { return busy_ ? serializer_.busy_until() : kNever; }
  // When something that waits behind a pause may go on; kNever when nothing does.
  TimeNs pause_end() const {
    return pausable_ && !busy_ && waiting_packets_ != 0 ? may_begin() : kNever;
  }
  // Whether the end of a service may drop something, or end a pause that was asked for.
  bool may_speak_at_dequeue() const { return may_drop_ || asking_ != 0; }
  uint64_t waiting_packets() const { return waiting_packets_; }
  uint64_t waiting_bytes() const;
  uint64_t held_packets() const { return waiting_packets_ + (busy_ ? 1 : 0); }

 private:
  struct Class {
    PacketFifo fifo;
    Aqm aqm;
    QueueLimit limit;
    uint64_t bytes = 0;
    int64_t quantum = 0;
    int64_t deficit = 0;
    uint64_t xoff_bytes = UINT64_MAX;
    uint64_t xon_bytes = 0;
    bool asks_pause = false;  // its sender is asked to
    TimeNs paused_until{INT64_MIN};
  };
  // Classes of one priority, in rotation.
  struct Group {
    std::vector<uint8_t> members;
    size_t turn = 0;
    bool granted = false;  // the member whose turn it is has had its quantum
  };

  // With in_service_.
  template <typename Sink>
  void begin(Sink& sink) {
    PacketRef& packet = in_service_;
    Class& c = classes_[packet.traffic_class];
    const TimeNs ready = std::max(packet.due, c.paused_until);
    const TimeNs start = std::max(ready, serializer_.busy_until());
    if (c.asks_pause) [[unlikely]]
      withdraw_pause(packet.traffic_class, start, sink);
    const AqmVerdict verdict =
        c.aqm.decide(start, start - packet.due, c.bytes, (packet.flags & kEcnCapable) != 0);
    if (verdict == AqmVerdict::kDrop) {
      drop(packet, start, Cause::kAqm, sink);
      return;
    }
    service_start_ = serializer_.send(ready, accounted(packet));
    if (verdict == AqmVerdict::kMark) packet.flags |= kMarked;
    busy_ = true;
  }

  template <typename Sink>
  void enqueue(const PacketRef& packet, Sink& sink) {
    Class& c = classes_[packet.traffic_class];
    if (exceeds_limit(c, accounted(packet))) {
      drop(packet, packet.due, limit_cause_, sink);
      return;
    }
    c.fifo.push(packet);
    c.bytes += accounted(packet);
    ++waiting_packets_;
    if (c.bytes >= c.xoff_bytes && !c.asks_pause) [[unlikely]] {
      c.asks_pause = true;
      ++asking_;
      sink.ask_pause(packet.traffic_class, packet.due, true);
    }
  }

  template <typename Sink>
  void withdraw_pause(size_t traffic_class, TimeNs at, Sink& sink) {
    Class& c = classes_[traffic_class];
    if (!c.asks_pause || c.bytes > c.xon_bytes) return;
    c.asks_pause = false;
    --asking_;
    sink.ask_pause(traffic_class, at, false);
  }

  void dequeue(TimeNs at, PacketRef& out) {
    Class& c = classes_.size() == 1 ? classes_[0] : pick(at);
    out = c.fifo.front();
    c.fifo.drop_front();
    c.bytes -= accounted(out);
    --waiting_packets_;
  }

  template <typename Sink>
  static void drop(PacketRef packet, TimeNs at, Cause cause, Sink& sink) {
    packet.flags |= kDropped;
    packet.cause = cause;
    packet.due = at;
    sink.dropped(packet);
  }

  uint32_t accounted(const PacketRef& packet) const {
    const int64_t bytes = int64_t{packet.wire_bytes} + overhead_bytes_;
    return static_cast<uint32_t>(bytes > mpu_bytes_ ? bytes : mpu_bytes_);
  }
  bool exceeds_limit(const Class& c, uint32_t bytes) const {
    if (c.limit.bytes != 0 && c.bytes + bytes > c.limit.bytes) return true;
    return c.limit.time.ns != 0 && exceeds_time(c);
  }
  bool exceeds_time(const Class& c) const;
  bool is_paused(const PacketRef& packet) const {
    return pausable_ && classes_[packet.traffic_class].paused_until > packet.due;
  }
  static bool may_go(const Class& c, TimeNs at) { return !c.fifo.empty() && c.paused_until <= at; }
  // The earliest instant at which something that waits is not paused.
  TimeNs may_begin() const;
  Class& pick(TimeNs at);
  Class& pick_by_deficit(Group& group, TimeNs at);

  const int64_t overhead_bytes_;
  const int64_t mpu_bytes_;
  const Cause limit_cause_;
  Serializer serializer_;
  std::vector<Class> classes_;
  std::vector<Group> groups_;  // highest priority first
  bool may_drop_ = false;
  bool pausable_ = false;  // a class has been paused
  uint32_t asking_ = 0;    // classes that ask for a pause

  bool busy_ = false;
  PacketRef in_service_;
  TimeNs service_start_{};
  uint64_t waiting_packets_ = 0;
};

}  // namespace farspan::link
