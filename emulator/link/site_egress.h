// SiteEgress: the far site's port: a bottleneck behind the fiber, for mesh incast and for ports
// slower than the link. A Stage like Link: offer() in order of arrival, release(), next_deadline().
//
// Packets that were dropped before keep their verdict and pass straight through. Drops at the
// port's own limit are emulated ones (Cause::kEgressDrop). The host behind the port may pause it
// by PFC: a class heeds the priorities in its `pcp`, the only class of a port all of them. Single
// thread; nothing is allocated after construction.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "emulator/link/bottleneck.h"
#include "emulator/link/packet_fifo.h"
#include "emulator/link/pfc.h"

namespace farspan::link {

class SiteEgress {
 public:
  SiteEgress(const BottleneckSpec& spec, Rate rate, StreamKey key, uint64_t capacity)
      : capacity_(capacity),
        pool_(capacity, spec.classes.size() + 1),
        bottleneck_(spec, rate, key, kEgressStream, Cause::kEgressDrop, &pool_),
        ready_(&pool_),
        line_rate_(rate) {
    for (const ClassSpec& c : spec.classes) {
      heeds_.push_back(spec.classes.size() == 1 ? 0xff : 0);
      for (const uint8_t pcp : c.pcp) heeds_.back() |= static_cast<uint8_t>(1u << pcp);
    }
  }

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
    const TimeNs next = std::min(bottleneck_.service_end(), bottleneck_.pause_end());
    return ready_.empty() ? next : std::min(ready_.front().due, next);
  }

  // What the host behind the port says with a PFC frame that came at `now`: no frame of the
  // priorities it names begins before their quanta have passed. Everything that reaches the port
  // before `now` has been offered.
  void pause(TimeNs now, const PfcFrame& frame) {
    bottleneck_.advance(now, *this);
    for (size_t c = 0; c < heeds_.size(); ++c) {
      for (unsigned p = 0; p < kPfcPriorities; ++p) {
        if ((heeds_[c] & frame.enabled & 1u << p) == 0) continue;
        bottleneck_.pause(c, now + QuantaTime(frame.quanta[p], line_rate_));
      }
    }
  }

  uint64_t room() const { return capacity_ - held(); }
  uint64_t held() const { return ready_.size() + bottleneck_.held_packets(); }

  // The bottleneck's sink.
  void served(const PacketRef& packet, TimeNs, TimeNs end) { ready_.push(WithDue(packet, end)); }
  void ask_pause(size_t, TimeNs, bool) {}
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
  const Rate line_rate_;
  std::vector<uint8_t> heeds_;  // of each class: the priorities whose pauses hold it back
};

}  // namespace farspan::link
