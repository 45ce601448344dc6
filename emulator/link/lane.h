// Lane: one of a link's parallel paths: its bottleneck, its fiber, and the drops on their way back.
#pragma once

#include <span>

#include "emulator/link/bottleneck.h"
#include "emulator/link/fiber.h"
#include "emulator/link/packet_fifo.h"

namespace farspan::link {

// What a lane tells its link beside the packets.
class LaneEvents : public FiberHost {
 public:
  virtual void pause_asked(size_t traffic_class, TimeNs at, bool pause) = 0;
};

class Lane {
 public:
  Lane(const DirectionSpec& spec, uint32_t number, StreamKey key, TimeNs start, uint64_t capacity,
       BlockPool* pool, DirectionCounters* counters, FaultTable* faults, LaneEvents* events)
      : bottleneck_(spec.bottleneck, spec.lanes[number].rate, key, number, Cause::kTailDrop, pool),
        fiber_(spec, number, key, start, capacity, pool, counters, faults, events),
        drops_(pool),
        faults_(faults),
        events_(events) {}

  // Hands over all that waits in the bottleneck.
  template <typename Visitor>
  void drain(TimeNs now, Visitor&& visit) {
    bottleneck_.drain(now, *this, visit);
  }

  Bottleneck& bottleneck() { return bottleneck_; }
  const Bottleneck& bottleneck() const { return bottleneck_; }
  Fiber& fiber() { return fiber_; }
  const Fiber& fiber() const { return fiber_; }

  void offer(const PacketRef& packet) { bottleneck_.offer(packet, *this); }
  // `until` is read again after every frame: a trigger may bring it nearer.
  void advance(const TimeNs& until) { bottleneck_.advance(until, *this); }
  // Gives a packet back at once, with its verdict set.
  void reject(const PacketRef& packet) {
    if (packet.rule != 0) faults_->settle(packet.rule);
    drops_.push(packet);
  }
  uint64_t waiting_drops() const { return drops_.size(); }

  // The bottleneck's sink.
  void served(const PacketRef& packet, TimeNs start, TimeNs end) {
    fiber_.enter(packet, start, end);
  }
  void dropped(const PacketRef& packet) { reject(packet); }
  void ask_pause(size_t traffic_class, TimeNs at, bool pause) {
    events_->pause_asked(traffic_class, at, pause);
  }

  // What leaves by `now`, drops included, in order.
  size_t release(TimeNs now, std::span<PacketRef> out) {
    if (drops_.empty() && fiber_.plain()) return fiber_.take_plain(now, out);
    size_t released = 0;
    TimeNs due;
    uint32_t sequence = 0;
    while (released < out.size() && head(now, due, sequence)) take(out[released++]);
    return released;
  }

  // One by one, to merge lanes: the earliest, which take() then removes.
  bool head(TimeNs now, TimeNs& due, uint32_t& sequence) {
    bool found = fiber_.head(now, due, sequence);
    head_is_drop_ = false;
    if (!drops_.empty() && drops_.front().due <= now) {
      const PacketRef& drop = drops_.front();
      if (!found || drop.due < due ||
          (drop.due == due && static_cast<int32_t>(drop.sequence - sequence) < 0)) {
        found = head_is_drop_ = true;
        due = drop.due;
        sequence = drop.sequence;
      }
    }
    return found;
  }
  void take(PacketRef& out) {
    if (head_is_drop_) {
      out = drops_.pop();
    } else {
      fiber_.take(out);
    }
  }

  TimeNs next_deadline() const {
    TimeNs earliest = drops_.empty() ? kNever : drops_.front().due;
    earliest = std::min(earliest, fiber_.next_deadline());
    const TimeNs end = bottleneck_.service_end();
    if (end == kNever) return earliest;
    // What is on the wire may be dropped from the queue behind it as it ends, or leave after it.
    const bool may_speak = bottleneck_.may_speak_at_dequeue();
    return std::min(earliest, may_speak ? end : end + fiber_.shortest_stay());
  }

 private:
  Bottleneck bottleneck_;
  Fiber fiber_;
  PacketFifo drops_;
  FaultTable* faults_;
  LaneEvents* events_;
  bool head_is_drop_ = false;
};

}  // namespace farspan::link
