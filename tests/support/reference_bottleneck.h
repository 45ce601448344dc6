// The reference's bottleneck: see reference_link.h.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "emulator/base/int128.h"
#include "emulator/base/random.h"
#include "emulator/base/time.h"
#include "emulator/link/packet_ref.h"
#include "emulator/link/spec.h"

namespace farspan::test {

// num / den ns, exactly.
struct ExactTime {
  Int128 num = 0;
  Int128 den = 1;
  TimeNs ceil() const;
};

class ReferenceAqm {
 public:
  enum Verdict { kPass, kMark, kDrop };

  ReferenceAqm(const link::AqmSpec& spec, StreamKey key, uint32_t stream)
      : spec_(spec), key_(key), stream_(stream) {}
  Verdict decide(TimeNs now, TimeNs sojourn, uint64_t backlog, bool ecn_capable);
  void start_epoch() { draws_ = 0; }

 private:
  bool congested(TimeNs now, TimeNs sojourn, uint64_t backlog);
  bool codel(TimeNs now, bool above);

  link::AqmSpec spec_;
  StreamKey key_;
  uint32_t stream_;
  uint64_t draws_ = 0;
  TimeNs above_since_ = kNever;
  TimeNs drop_next_{};
  int count_ = 0;
  int last_count_ = 0;
  bool dropping_ = false;
};

class ReferenceBottleneck {
 public:
  using Served = std::function<void(link::PacketRef, TimeNs start)>;
  using Dropped = std::function<void(link::PacketRef)>;

  ReferenceBottleneck(const link::BottleneckSpec& spec, Rate rate, StreamKey key, uint32_t lane);

  void arrive(link::PacketRef packet, const Served& served, const Dropped& dropped);
  // When the frame on the wire ends; kNever when there is none.
  TimeNs service_end() const;
  void end_service(const Served& served, const Dropped& dropped);
  // Everything that waits, in the order of service.
  std::vector<link::PacketRef> drain();
  void set_rate(Rate rate);
  void start_epoch();

 private:
  struct Class {
    link::ClassSpec spec;
    ReferenceAqm aqm;
    std::deque<link::PacketRef> waiting;
    int64_t deficit = 0;
  };

  uint64_t size(const link::PacketRef& packet) const;
  uint64_t backlog(const Class& c) const;
  bool full(const Class& c, const link::PacketRef& packet) const;
  size_t waiting() const;
  link::PacketRef next();
  size_t choose();
  bool begin(link::PacketRef packet, const Dropped& dropped);

  link::BottleneckSpec spec_;
  Rate rate_;
  std::vector<Class> classes_;
  struct Turn {
    uint32_t priority;
    size_t class_index;  // whose turn it is
    bool credited;       // has had its quantum in this turn
  };
  std::vector<Turn> turns_;
  bool busy_ = false;
  link::PacketRef in_service_;
  TimeNs service_start_{};
  ExactTime free_at_{INT64_MIN, 1};
};

}  // namespace farspan::test
