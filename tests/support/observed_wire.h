// ObservedWire: a link of nothing but taps, for tests of the observer.
//
//   ObservedWire wire({.round_trip = 10_ms});
//   wire.pass(0, {.opcode = 0x04, .dest_qp = 0x22, .psn = 7});          // enters, and is delivered
//   wire.pass(0, {.opcode = 0x04, .dest_qp = 0x22, .psn = 8}, kDrop);
//
// Direction 0 goes from 10.0.0.1 to 10.0.0.2, direction 1 back (or their IPv6 counterparts). What
// enters at a time leaves at the same time; tests of delays call enter() and leave() themselves.
#pragma once

#include <utility>

#include "emulator/roce/qp_observer.h"
#include "tests/support/roce_builder.h"

namespace farspan::test {

enum class Fate { kDeliver, kDrop, kCorrupt, kMark };

struct WireSpec {
  TimeNs round_trip{10'000'000};
  uint32_t queue_pairs = 64;
  bool check_icrc = false;
  int ip_version = 4;
};

class ObservedWire {
 public:
  struct Packet {
    uint32_t direction = 0;
    TimeNs entered{};
    Bytes bytes;
    roce::FrameView frame{};
    roce::RoceView roce{};
    roce::QpNote note{};
    roce::Passage passage{};
  };

  explicit ObservedWire(const WireSpec& spec)
      : ip_version_(spec.ip_version),
        observer_({.queue_pairs = spec.queue_pairs, .check_icrc = spec.check_icrc},
                  spec.round_trip) {}

  roce::QpObserver& observer() { return observer_; }
  TimeNs now{};

  Packet enter(uint32_t direction, RoceSpec spec) {
    spec.frame.ip_version = ip_version_;
    if (direction == 1) {
      spec.frame.src = ip_version_ == 4 ? "10.0.0.2" : "fd00::2";
      spec.frame.dst = ip_version_ == 4 ? "10.0.0.1" : "fd00::1";
    }
    return enter_bytes(direction, BuildRoce(spec));
  }

  Packet enter_bytes(uint32_t direction, Bytes bytes) {
    Packet packet{.direction = direction, .entered = now, .bytes = std::move(bytes)};
    packet.frame = roce::ParseFrame(packet.bytes, static_cast<uint32_t>(packet.bytes.size()), 0);
    packet.roce = roce::ParseRoce(packet.bytes, packet.frame);
    packet.note =
        observer_.ingress(direction, now, packet.bytes, packet.frame, packet.roce, packet.passage);
    return packet;
  }

  void leave(const Packet& packet, Fate fate = Fate::kDeliver) {
    if (packet.note.entry == roce::kNoQueuePair) return;
    observer_.egress(packet.direction, packet.passage,
                     {.entered = packet.entered,
                      .dropped = fate == Fate::kDrop,
                      .corrupted = fate == Fate::kCorrupt,
                      .marked = fate == Fate::kMark});
  }

  roce::QpNote pass(uint32_t direction, const RoceSpec& spec, Fate fate = Fate::kDeliver) {
    const Packet packet = enter(direction, spec);
    leave(packet, fate);
    return packet.note;
  }

  // The queue pair with this destination; aborts where there is none.
  roce::QpSnapshot queue_pair(uint32_t direction, uint32_t dest_qp) const {
    for (uint32_t entry = 0; entry < observer_.live(); ++entry) {
      const roce::QpSnapshot snapshot = observer_.snapshot(entry);
      if (snapshot.direction == direction && snapshot.dest_qp == dest_qp) return snapshot;
    }
    FARSPAN_CHECK(false);
  }

 private:
  const int ip_version_;
  roce::QpObserver observer_;
};

}  // namespace farspan::test
