// SiteEgress: the far site's port: a bottleneck behind the fiber, for mesh incast and for ports
// slower than the link. A Stage like Link: offer() in order of arrival, release(), next_deadline().
//
// Packets that were dropped before keep their verdict and pass straight through. Drops at the
// port's own limit are emulated ones (Cause::kEgressDrop). Single thread; nothing is allocated
// after construction.
#pragma once

#include <algorithm>
#include <span>

#include "emulator/link/bottleneck.h"
#include "emulator/link/packet_fifo.h"

namespace farspan::link {

class SiteEgress {
 public:
  SiteEgress(const BottleneckSpec& spec, Rate rate, StreamKey key, uint64_t capacity)
      : capacity_(capacity),
        pool_(capacity, spec.classes.size() + 1),
        bottleneck_(spec, rate, key, kEgressStream, Cause::kEgressDrop, &pool_),
        ready_(&pool_) {}

  static uint64_t MemoryBytes(const BottleneckSpec& spec, uint64_t capacity) {
    return BlockPool::MemoryBytes(capacity, spec.classes.size() + 1);
  }

  // Takes a prefix: what fits the capacity.
  size_t offer(TimeNs, std::span<const PacketRef> packets) {
    size_t taken = 0;
    for (; taken < packets.size() && held() < capacity_; ++taken) {
      const PacketRef& packet = packets[taken];
      if ((packet.flags & kDropped) != 0) {
        bottleneck_.advance(packet.due, *this);
        ready_.push(packet);
      } else {
        bottleneck_.offer(packet, *this);
      }
    }
    return taken;
  }

  size_t release(TimeNs now, std::span<PacketRef> out) {
    bottleneck_.advance(now, *this);
    size_t released = 0;
    while (released < out.size() && !ready_.empty() && ready_.front().due <= now) {
      out[released++] = ready_.pop();
    }
    return released;
  }

  TimeNs next_deadline() const {
    return ready_.empty() ? bottleneck_.service_end()
                          : std::min(ready_.front().due, bottleneck_.service_end());
  }

  uint64_t room() const { return capacity_ - held(); }
  uint64_t held() const { return ready_.size() + bottleneck_.held_packets(); }

  // The bottleneck's sink.
  void served(const PacketRef& packet, TimeNs, TimeNs end) { ready_.push(WithDue(packet, end)); }
  void dropped(PacketRef packet) {
    packet.cause = Cause::kEgressDrop;  // its AQM's too
    ready_.push(packet);
  }

 private:
  static constexpr uint32_t kEgressStream = 0xffff;  // keys the AQM's draws, apart from any lane

  const uint64_t capacity_;
  BlockPool pool_;
  Bottleneck bottleneck_;
  PacketFifo ready_;
};

}  // namespace farspan::link
