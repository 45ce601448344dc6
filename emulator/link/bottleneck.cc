#include "emulator/link/bottleneck.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "emulator/base/int128.h"

namespace farspan::link {
namespace {
constexpr int64_t kQuantumBytes = 2048;
}

Bottleneck::Bottleneck(const BottleneckSpec& spec, Rate rate, StreamKey key, uint32_t lane,
                       Cause limit_cause, BlockPool* pool)
    : overhead_bytes_(spec.overhead_bytes),
      mpu_bytes_(std::max<int64_t>(spec.mpu_bytes, 1)),
      limit_cause_(limit_cause),
      serializer_(rate) {
  FARSPAN_CHECK(!spec.classes.empty() && spec.classes.size() <= 256);
  std::map<uint32_t, std::vector<uint8_t>, std::greater<>> by_priority;
  for (size_t i = 0; i < spec.classes.size(); ++i) {
    const ClassSpec& c = spec.classes[i];
    by_priority[c.priority].push_back(static_cast<uint8_t>(i));
    const auto stream = static_cast<uint32_t>(lane << 8 | i);
    classes_.push_back({.fifo = PacketFifo(pool),
                        .aqm = Aqm(c.aqm, key, stream),
                        .limit = c.limit,
                        .quantum = kQuantumBytes * std::max<int64_t>(c.weight, 1)});
    if (c.pfc) {
      classes_.back().xoff_bytes = c.pfc->xoff_bytes;
      classes_.back().xon_bytes = c.pfc->xon_bytes;
    }
    may_drop_ = may_drop_ || c.aqm.kind != AqmKind::kTailDrop;
  }
  for (auto& [priority, members] : by_priority) {
    groups_.push_back({.members = std::move(members)});
  }
}

void Bottleneck::start_epoch() {
  for (Class& c : classes_) c.aqm.start_epoch();
}

uint64_t Bottleneck::waiting_bytes() const {
  return std::accumulate(classes_.begin(), classes_.end(), uint64_t{0},
                         [](uint64_t sum, const Class& c) { return sum + c.bytes; });
}

bool Bottleneck::exceeds_time(const Class& c) const {
  if (serializer_.unlimited()) return false;
  const auto waiting_bit_ns = static_cast<Uint128>(c.bytes) * 8'000'000'000u;
  return waiting_bit_ns > static_cast<Uint128>(c.limit.time.ns) * serializer_.rate().bits_per_s;
}

TimeNs Bottleneck::may_begin() const {
  TimeNs earliest = kNever;
  for (const Class& c : classes_) {
    if (!c.fifo.empty()) {
      earliest = std::min(earliest, std::max(c.fifo.front().due, c.paused_until));
    }
  }
  return earliest;
}

Bottleneck::Class& Bottleneck::pick(TimeNs at) {
  for (Group& group : groups_) {
    const bool any = std::any_of(group.members.begin(), group.members.end(),
                                 [&](uint8_t m) { return may_go(classes_[m], at); });
    if (any) {
      return group.members.size() == 1 ? classes_[group.members[0]] : pick_by_deficit(group, at);
    }
  }
  FARSPAN_CHECK(false);
}

Bottleneck::Class& Bottleneck::pick_by_deficit(Group& group, TimeNs at) {
  for (;;) {
    Class& c = classes_[group.members[group.turn]];
    if (c.fifo.empty()) {
      c.deficit = 0;
    } else if (c.paused_until <= at) {
      if (!group.granted) c.deficit += c.quantum;
      group.granted = true;
      const int64_t bytes = accounted(c.fifo.front());
      if (bytes <= c.deficit) {
        c.deficit -= bytes;
        return c;
      }
    }
    group.turn = (group.turn + 1) % group.members.size();
    group.granted = false;
  }
}

}  // namespace farspan::link
