#include "emulator/sim/traffic.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "emulator/base/check.h"
#include "emulator/base/int128.h"

namespace farspan::sim {
namespace {

using link::PacketRef;

// When packet `index` of a stream comes, counted from the stream's start.
class Stream : public TrafficSource {
 public:
  explicit Stream(const StreamSpec& spec) : spec_(spec) {
    FARSPAN_CHECK(spec.flows > 0 && spec.packet.wire_bytes > 0);
  }

  bool next(PacketRef& packet) final {
    if (index_ == spec_.count) return false;
    packet = spec_.packet;
    packet.flow += static_cast<uint32_t>(index_ % spec_.flows);
    packet.due = spec_.start + offset(index_++);
    return true;
  }

 protected:
  virtual TimeNs offset(uint64_t index) = 0;
  const StreamSpec spec_;

 private:
  uint64_t index_ = 0;
};

class Cbr final : public Stream {
 public:
  Cbr(const StreamSpec& spec, Rate rate) : Stream(spec), rate_(rate) {}
  TimeNs offset(uint64_t index) override {
    return SpacingOf(index, spec_.packet.wire_bytes, rate_);
  }

 private:
  const Rate rate_;
};

class Poisson final : public Stream {
 public:
  Poisson(const StreamSpec& spec, Rate rate, StreamKey key)
      : Stream(spec),
        key_(key),
        mean_ns_(spec.packet.wire_bytes * 8e9 / static_cast<double>(rate.bits_per_s)) {}

  TimeNs offset(uint64_t index) override {
    const RandomWords words = Draw(key_, RandomPurpose::kTest, index);
    elapsed_ns_ -= mean_ns_ * std::log(ToUnit(words.lo));
    return {static_cast<int64_t>(elapsed_ns_)};
  }

 private:
  const StreamKey key_;
  const double mean_ns_;
  double elapsed_ns_ = 0;
};

class OnOff final : public Stream {
 public:
  OnOff(const StreamSpec& spec, Rate rate, TimeNs on, TimeNs off)
      : Stream(spec), rate_(rate), on_(on), off_(off) {
    FARSPAN_CHECK(on.ns > 0 && off.ns >= 0);
    while (SpacingOf(per_burst_, spec.packet.wire_bytes, rate) < on) ++per_burst_;
  }

  TimeNs offset(uint64_t index) override {
    const TimeNs within = SpacingOf(index % per_burst_, spec_.packet.wire_bytes, rate_);
    return TimeNs{static_cast<int64_t>(index / per_burst_) * (on_.ns + off_.ns)} + within;
  }

 private:
  const Rate rate_;
  const TimeNs on_;
  const TimeNs off_;
  uint64_t per_burst_ = 1;
};

class Trace final : public TrafficSource {
 public:
  explicit Trace(std::vector<PacketRef> packets) : packets_(std::move(packets)) {
    FARSPAN_CHECK(std::is_sorted(packets_.begin(), packets_.end(),
                                 [](auto& a, auto& b) { return a.due < b.due; }));
  }
  bool next(PacketRef& packet) override {
    if (index_ == packets_.size()) return false;
    packet = packets_[index_++];
    return true;
  }

 private:
  const std::vector<PacketRef> packets_;
  size_t index_ = 0;
};

class Merged final : public TrafficSource {
 public:
  explicit Merged(std::vector<TrafficPtr> sources) {
    for (TrafficPtr& source : sources) {
      heads_.push_back({std::move(source), {}, false});
      advance(heads_.back());
    }
  }

  bool next(PacketRef& packet) override {
    Head* first = nullptr;
    for (Head& head : heads_) {
      if (head.valid && (first == nullptr || head.packet.due < first->packet.due)) first = &head;
    }
    if (first == nullptr) return false;
    packet = first->packet;
    advance(*first);
    return true;
  }

 private:
  struct Head {
    TrafficPtr source;
    PacketRef packet;
    bool valid;
  };
  static void advance(Head& head) { head.valid = head.source->next(head.packet); }
  std::vector<Head> heads_;
};

}  // namespace

TimeNs SpacingOf(uint64_t packets, uint32_t wire_bytes, Rate rate) {
  FARSPAN_CHECK(rate.bits_per_s > 0);
  const auto numerator = static_cast<Uint128>(packets) * wire_bytes * 8u * 1'000'000'000u;
  return {static_cast<int64_t>((numerator + rate.bits_per_s - 1) / rate.bits_per_s)};
}

TrafficPtr MakeCbr(const StreamSpec& stream, Rate rate) {
  return std::make_unique<Cbr>(stream, rate);
}
TrafficPtr MakePoisson(const StreamSpec& stream, Rate rate, StreamKey key) {
  return std::make_unique<Poisson>(stream, rate, key);
}
TrafficPtr MakeOnOff(const StreamSpec& stream, Rate rate, TimeNs on, TimeNs off) {
  return std::make_unique<OnOff>(stream, rate, on, off);
}
TrafficPtr MakeTrace(std::vector<PacketRef> packets) {
  return std::make_unique<Trace>(std::move(packets));
}
TrafficPtr MakeMerged(std::vector<TrafficPtr> sources) {
  return std::make_unique<Merged>(std::move(sources));
}

std::vector<PacketRef> Collect(TrafficSource& source) {
  std::vector<PacketRef> packets;
  for (PacketRef packet; source.next(packet);) {
    packet.handle = packets.size();
    packet.sequence = static_cast<uint32_t>(packets.size());
    packets.push_back(packet);
  }
  return packets;
}

}  // namespace farspan::sim
