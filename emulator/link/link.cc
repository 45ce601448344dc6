#include "emulator/link/link.h"

#include <algorithm>

#include "emulator/link/link_impl.h"

namespace farspan::link {
namespace {

// Drops that wait for release() beyond the capacity; past them offer() takes no more.
constexpr uint64_t kSpareDrops = 4096;

uint64_t FifoCount(const DirectionSpec& spec) {
  return spec.lanes.size() * (spec.bottleneck.classes.size() + Fiber::kMaxChanges + 1);
}

bool HasTriggers(const DirectionSpec& spec) {
  return std::any_of(spec.faults.begin(), spec.faults.end(),
                     [](const FaultSpec& f) { return f.kind == FaultKind::kTrigger; });
}

bool HasPfc(const DirectionSpec& spec) {
  const std::vector<ClassSpec>& classes = spec.bottleneck.classes;
  return std::any_of(classes.begin(), classes.end(),
                     [](const ClassSpec& c) { return c.pfc.has_value(); });
}

}  // namespace

uint64_t MostPackets(const DirectionSpec& spec, const LinkCapacity& capacity) {
  const bool duplicates =
      spec.duplicate > 0 || std::any_of(spec.faults.begin(), spec.faults.end(), [](const auto& f) {
        return f.kind == FaultKind::kDuplicate;
      });
  return capacity.packets * (duplicates ? 2 : 1) + kSpareDrops;
}

Link::Impl::Impl(const DirectionSpec& direction, const LinkIdentity& link_identity,
                 const LinkCapacity& link_capacity, TimeNs start_time)
    : spec(direction),
      identity(link_identity),
      capacity(link_capacity),
      key(MakeStreamKey(identity.seed, identity.link, identity.direction)),
      start(start_time),
      has_triggers(HasTriggers(direction)),
      in_step(direction.lanes.size() > 1 && (has_triggers || HasPfc(direction))),
      pool(MostPackets(direction, capacity), FifoCount(direction)),
      faults(direction.faults),
      selector(direction.lanes, direction.rehash),
      lanes_asking(direction.bottleneck.classes.size()),
      densest(DensestChanges(direction).changes),
      has_calendars(Fiber::NeedsCalendar(direction)),
      glass_mm(direction.lanes.size()) {
  lanes.reserve(spec.lanes.size());
  for (uint32_t i = 0; i < spec.lanes.size(); ++i) {
    lanes.emplace_back(spec, i, key, start, MostPackets(spec, capacity), &pool, &counters, &faults,
                       this);
  }
  trigger_fired.assign(spec.timeline.size(), false);
  events.reserve((3 * spec.timeline.size() + 4 * Fiber::kMaxChanges) * lanes.size());
  timeline.reserve(spec.timeline.size());
  for (const TimelineEvent& event : spec.timeline) timeline.push_back(build_change(event.change));
  schedule_timeline(start);
  publish_room();
}

// --- Data path -------------------------------------------------------------------------------

size_t Link::Impl::offer(std::span<const PacketRef> packets) {
  size_t taken = 0;
  while (taken < packets.size() && offer_one(packets[taken])) ++taken;
  return taken;
}

bool Link::Impl::offer_one(const PacketRef& packet) {
  if (next_event <= packet.due || has_triggers || in_step) run_to(packet.due);
  if (held() >= capacity.packets + kSpareDrops) return false;
  ++counters.offered_packets;
  counters.offered_bytes += packet.wire_bytes;
  if (held() > capacity.packets) {
    reject(0, packet, Cause::kStoreFull);
    return true;
  }
  const int lane = lanes.size() == 1 ? 0 : selector.select(packet.flow);
  if (lane == LaneSelector::kNoLane) {
    reject(0, packet, Cause::kNoPath);
    return true;
  }
  lanes[static_cast<size_t>(lane)].offer(packet);
  return true;
}

void Link::Impl::pause_asked(size_t traffic_class, TimeNs at, bool pause) {
  uint32_t& asking = lanes_asking[traffic_class];
  asking += pause ? 1 : -1;
  if (pauses == nullptr || asking != (pause ? 1 : 0)) return;
  pauses->on_pause({.at = at,
                    .traffic_class = static_cast<uint8_t>(traffic_class),
                    .priority = spec.bottleneck.classes[traffic_class].pfc->priority,
                    .pause = pause});
}

void Link::Impl::reject(size_t lane, PacketRef packet, Cause cause) {
  lanes[lane].advance(packet.due);
  packet.flags |= kDropped;
  packet.cause = cause;
  lanes[lane].reject(packet);
}

// Memory is planned for duplicates where the specification has any; rules that come later share the
// spare room.
bool Link::Impl::admit_duplicate() {
  if (held() < MostPackets(spec, capacity)) return true;
  ++counters.duplicated_packets;
  ++counters.dropped_packets[static_cast<size_t>(Cause::kStoreFull)];
  ++released_packets;
  return false;
}

void Link::Impl::count(std::span<const PacketRef> released) {
  uint64_t forwarded = 0;
  uint64_t bytes = 0;
  for (const PacketRef& packet : released) {
    if ((packet.flags & kDropped) != 0) {
      ++counters.dropped_packets[static_cast<size_t>(packet.cause)];
      continue;
    }
    ++forwarded;
    bytes += packet.wire_bytes;
    if ((packet.flags & kMarked) != 0) ++counters.marked_packets;
    if ((packet.flags & kCorrupted) != 0) ++counters.corrupted_packets;
  }
  counters.forwarded_packets += forwarded;
  counters.forwarded_bytes += bytes;
  released_packets += released.size();
}

TimeNs Link::Impl::decided_until(TimeNs now) {
  run_to(now);
  TimeNs until = next_event - TimeNs{1};
  for (const Lane& lane : lanes) until = std::min(until, now + lane.fiber().shortest_stay());
  for (size_t i = 0; has_triggers && i < spec.timeline.size(); ++i) {
    const TimelineEvent& event = spec.timeline[i];
    if (event.triggered && !trigger_fired[i]) until = std::min(until, now + event.at);
  }
  return std::max(now, until);
}

size_t Link::Impl::release(TimeNs now, TimeNs until, std::span<PacketRef> out) {
  run_to(now);
  const size_t released =
      lanes.size() == 1 ? lanes[0].release(until, out) : release_merged(until, out);
  count(out.first(released));
  if (in_flight.load(std::memory_order_relaxed) > kBusyChanges) forget_changes(now);
  return released;
}

size_t Link::Impl::release_merged(TimeNs until, std::span<PacketRef> out) {
  size_t released = 0;
  for (; released < out.size(); ++released) {
    Lane* first = nullptr;
    TimeNs first_due;
    uint32_t first_sequence = 0;
    for (Lane& lane : lanes) {
      TimeNs due;
      uint32_t sequence = 0;
      if (!lane.head(until, due, sequence)) continue;
      if (first == nullptr || due < first_due ||
          (due == first_due && static_cast<int32_t>(sequence - first_sequence) < 0)) {
        first = &lane;
        first_due = due;
        first_sequence = sequence;
      }
    }
    if (first == nullptr) break;
    first->take(out[released]);
  }
  return released;
}

// --- Link ------------------------------------------------------------------------------------

Result<std::unique_ptr<Link>> Link::Create(const DirectionSpec& spec, const LinkIdentity& identity,
                                           const LinkCapacity& capacity, TimeNs start) {
  if (auto valid = ValidateDirection(spec); !valid) return tl::unexpected(valid.error());
  return std::unique_ptr<Link>(new Link(std::make_unique<Impl>(spec, identity, capacity, start)));
}

uint64_t Link::MemoryBytes(const DirectionSpec& spec, const LinkCapacity& capacity) {
  const bool calendar = Fiber::NeedsCalendar(spec);
  return BlockPool::MemoryBytes(MostPackets(spec, capacity), FifoCount(spec)) +
         (calendar ? spec.lanes.size() * CalendarQueue::MemoryBytes(MostPackets(spec, capacity))
                   : 0);
}

Link::Link(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Link::~Link() = default;

size_t Link::offer(TimeNs, std::span<const PacketRef> packets) { return impl_->offer(packets); }
size_t Link::release(TimeNs now, std::span<PacketRef> out) { return impl_->release(now, now, out); }
TimeNs Link::decided_until(TimeNs now) { return impl_->decided_until(now); }
size_t Link::release_ahead(TimeNs now, TimeNs until, std::span<PacketRef> out) {
  return impl_->release(now, until, out);
}

TimeNs Link::next_deadline() const {
  TimeNs earliest = kNever;
  for (const Lane& lane : impl_->lanes) {
    earliest = std::min(earliest, lane.next_deadline());
    const TimeNs end = lane.bottleneck().service_end();
    if (end == kNever) continue;
    // What waits may move, or take a shorter path, by an event that is known or triggered by then.
    earliest = std::min(earliest,
                        impl_->has_triggers ? std::min(impl_->next_event, end) : impl_->next_event);
  }
  return earliest;
}

size_t Link::upcoming(size_t ahead, std::span<uint64_t> handles) const {
  return impl_->lanes[0].fiber().upcoming(ahead, handles);
}

DirectionCounters Link::counters() const {
  DirectionCounters counters = impl_->counters;
  counters.held_packets = impl_->held();
  for (const Lane& lane : impl_->lanes) {
    counters.queue_packets += lane.bottleneck().waiting_packets();
    counters.queue_bytes += lane.bottleneck().waiting_bytes();
  }
  return counters;
}
FaultCounts Link::fault_counts(uint8_t rule) const { return impl_->faults.counts(rule); }

void Link::tell_pauses_to(PauseSink* sink) { impl_->pauses = sink; }

}  // namespace farspan::link
