#include "tests/support/reference_bottleneck.h"

#include <algorithm>
#include <cmath>

#include "emulator/base/check.h"

namespace farspan::test {

using link::PacketRef;

TimeNs ExactTime::ceil() const {
  const Int128 floor = num / den - (num % den < 0 ? 1 : 0);
  return {static_cast<int64_t>(floor + (floor * den == num ? 0 : 1))};
}

// --- AQM -------------------------------------------------------------------------------------

ReferenceAqm::Verdict ReferenceAqm::decide(TimeNs now, TimeNs sojourn, uint64_t backlog,
                                           bool ecn_capable) {
  if (!congested(now, sojourn, backlog)) return kPass;
  if (ecn_capable && spec_.ecn) return kMark;
  return !spec_.ecn || spec_.drop_not_ect ? kDrop : kPass;
}

bool ReferenceAqm::congested(TimeNs now, TimeNs sojourn, uint64_t backlog) {
  const auto k_min = static_cast<double>(spec_.k_min_bytes);
  const auto k_max = static_cast<double>(spec_.k_max_bytes);
  const auto bytes = static_cast<double>(backlog);
  switch (spec_.kind) {
    case link::AqmKind::kTailDrop:
      return false;
    case link::AqmKind::kStep:
      return backlog > spec_.step_bytes;
    case link::AqmKind::kRed:
      if (bytes <= k_min) return false;
      if (bytes > k_max) return true;
      return ToUnit(Draw(key_, RandomPurpose::kAqm, draws_++, stream_).lo) <
             spec_.p_max * (bytes - k_min) / (k_max - k_min);
    case link::AqmKind::kCodel:
      return codel(now, sojourn >= spec_.codel_target && backlog > 1538);
  }
  return false;
}

// RFC 8289, section 5, one packet at a time.
bool ReferenceAqm::codel(TimeNs now, bool above) {
  const auto law = [&](TimeNs t) {
    return t + TimeNs{static_cast<int64_t>(static_cast<double>(spec_.codel_interval.ns) /
                                           std::sqrt(static_cast<double>(count_)))};
  };
  bool ok_to_drop = false;
  if (!above) {
    above_since_ = kNever;
  } else if (above_since_ == kNever) {
    above_since_ = now;
  } else {
    ok_to_drop = now >= above_since_ + spec_.codel_interval;
  }
  if (!ok_to_drop) {
    dropping_ = false;
    return false;
  }
  if (dropping_) {
    if (now < drop_next_) return false;
    ++count_;
    drop_next_ = law(drop_next_);
    return true;
  }
  dropping_ = true;
  const int since_last = count_ - last_count_;
  const bool recent = static_cast<Int128>(now.ns) - drop_next_.ns <
                      static_cast<Int128>(16) * spec_.codel_interval.ns;
  count_ = since_last > 1 && recent ? since_last : 1;
  drop_next_ = law(now);
  last_count_ = count_;
  return true;
}

// --- Queues ----------------------------------------------------------------------------------

ReferenceBottleneck::ReferenceBottleneck(const link::BottleneckSpec& spec, Rate rate, StreamKey key,
                                         uint32_t lane)
    : spec_(spec), rate_(rate) {
  for (size_t i = 0; i < spec.classes.size(); ++i) {
    const auto stream = lane * 256 + static_cast<uint32_t>(i);
    classes_.push_back({spec.classes[i], {spec.classes[i].aqm, key, stream}, {}});
  }
  std::vector<uint32_t> priorities;
  for (const link::ClassSpec& c : spec.classes) priorities.push_back(c.priority);
  std::sort(priorities.begin(), priorities.end(), std::greater<>());
  priorities.erase(std::unique(priorities.begin(), priorities.end()), priorities.end());
  for (const uint32_t priority : priorities) {
    const auto first = std::find_if(spec.classes.begin(), spec.classes.end(),
                                    [&](auto& c) { return c.priority == priority; });
    turns_.push_back({priority, static_cast<size_t>(first - spec.classes.begin()), false});
  }
}

uint64_t ReferenceBottleneck::size(const PacketRef& packet) const {
  const int64_t bytes = int64_t{packet.wire_bytes} + spec_.overhead_bytes;
  return static_cast<uint64_t>(
      std::max({bytes, static_cast<int64_t>(spec_.mpu_bytes), int64_t{1}}));
}

uint64_t ReferenceBottleneck::backlog(const Class& c) const {
  uint64_t bytes = 0;
  for (const PacketRef& packet : c.waiting) bytes += size(packet);
  return bytes;
}

bool ReferenceBottleneck::full(const Class& c, const PacketRef& packet) const {
  const uint64_t bytes = backlog(c);
  const link::QueueLimit& limit = c.spec.limit;
  if (limit.bytes > 0 && bytes + size(packet) > limit.bytes) return true;
  if (limit.time.ns == 0 || rate_.bits_per_s == 0) return false;
  return static_cast<Int128>(bytes) * 8 * 1'000'000'000 >
         static_cast<Int128>(limit.time.ns) * rate_.bits_per_s;
}

size_t ReferenceBottleneck::waiting() const {
  size_t packets = 0;
  for (const Class& c : classes_) packets += c.waiting.size();
  return packets;
}

// --- Scheduling ------------------------------------------------------------------------------

// Strict priority; among equals, each class in its turn gets a quantum and sends while its deficit
// and its packets last. A class found empty in its turn loses what it had saved. A class that is
// alone at its priority keeps no account.
size_t ReferenceBottleneck::choose() {
  for (Turn& turn : turns_) {
    std::vector<size_t> members;
    size_t packets = 0;
    for (size_t i = 0; i < classes_.size(); ++i) {
      if (classes_[i].spec.priority != turn.priority) continue;
      members.push_back(i);
      packets += classes_[i].waiting.size();
    }
    if (packets == 0) continue;
    if (members.size() == 1) return members[0];
    for (;;) {
      Class& c = classes_[turn.class_index];
      if (c.waiting.empty()) {
        c.deficit = 0;
      } else {
        if (!turn.credited) c.deficit += 2048 * int64_t{std::max(c.spec.weight, 1u)};
        turn.credited = true;
        const auto bytes = static_cast<int64_t>(size(c.waiting.front()));
        if (c.deficit >= bytes) {
          c.deficit -= bytes;
          return turn.class_index;
        }
      }
      auto it = std::upper_bound(members.begin(), members.end(), turn.class_index);
      turn.class_index = it == members.end() ? members.front() : *it;
      turn.credited = false;
    }
  }
  FARSPAN_CHECK(false);
  return 0;
}

PacketRef ReferenceBottleneck::next() {
  Class& c = classes_[choose()];
  const PacketRef packet = c.waiting.front();
  c.waiting.pop_front();
  return packet;
}

std::vector<PacketRef> ReferenceBottleneck::drain() {
  std::vector<PacketRef> packets;
  while (waiting() > 0) packets.push_back(next());
  return packets;
}

// --- Service ---------------------------------------------------------------------------------

void ReferenceBottleneck::arrive(PacketRef packet, const Served& served, const Dropped& dropped) {
  Class& c = classes_[packet.traffic_class];
  if (!busy_) {
    if (begin(packet, dropped) && rate_.bits_per_s == 0) end_service(served, dropped);
    return;
  }
  if (full(c, packet)) {
    packet.flags |= link::kDropped;
    packet.cause = link::Cause::kTailDrop;
    dropped(packet);
    return;
  }
  c.waiting.push_back(packet);
}

// False where AQM dropped it instead.
bool ReferenceBottleneck::begin(PacketRef packet, const Dropped& dropped) {
  ExactTime begins = free_at_;
  if (static_cast<Int128>(packet.due.ns) * begins.den > begins.num) {
    begins.num = static_cast<Int128>(packet.due.ns) * begins.den;
  }
  const TimeNs start = begins.ceil();
  Class& c = classes_[packet.traffic_class];
  const auto verdict =
      c.aqm.decide(start, start - packet.due, backlog(c), (packet.flags & link::kEcnCapable) != 0);
  if (verdict == ReferenceAqm::kDrop) {
    packet.flags |= link::kDropped;
    packet.cause = link::Cause::kAqm;
    packet.due = start;
    dropped(packet);
    return false;
  }
  if (verdict == ReferenceAqm::kMark) packet.flags |= link::kMarked;
  if (rate_.bits_per_s != 0) {
    FARSPAN_CHECK(begins.den == static_cast<Int128>(rate_.bits_per_s) || begins.den == 1);
    const Int128 rate = rate_.bits_per_s;
    begins = {begins.num * (rate / begins.den), rate};
    begins.num += static_cast<Int128>(size(packet)) * 8 * 1'000'000'000;
  }
  free_at_ = begins;
  service_start_ = start;
  in_service_ = packet;
  busy_ = true;
  return true;
}

TimeNs ReferenceBottleneck::service_end() const { return busy_ ? free_at_.ceil() : kNever; }

void ReferenceBottleneck::end_service(const Served& served, const Dropped& dropped) {
  in_service_.due = free_at_.ceil();
  busy_ = false;
  served(in_service_, service_start_);
  while (!busy_ && waiting() > 0) begin(next(), dropped);
}

// The frame on the wire ends as it began; its end, rounded up, is where the new rate's count
// begins.
void ReferenceBottleneck::set_rate(Rate rate) {
  free_at_ = {free_at_.ceil().ns, 1};
  rate_ = rate;
}

void ReferenceBottleneck::start_epoch() {
  for (Class& c : classes_) c.aqm.start_epoch();
}

}  // namespace farspan::test
