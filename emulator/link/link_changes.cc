// What happens to a link at an instant: its timeline, triggers and live changes.
#include <algorithm>

#include "emulator/link/link_impl.h"

namespace farspan::link {
namespace {

int LaneOf(const Change& change) {
  return std::visit(
      [](const auto& c) {
        if constexpr (requires { c.lane; }) return c.lane;
        return kAllLanes;
      },
      change);
}

template <typename... Kinds>
bool Touches(const DirectionSpec& spec) {
  return std::any_of(spec.timeline.begin(), spec.timeline.end(), [](const TimelineEvent& event) {
    return (std::holds_alternative<Kinds>(event.change) || ...);
  });
}

}  // namespace

// --- The order of things ---------------------------------------------------------------------

void Link::Impl::schedule(const Event& event) {
  FARSPAN_CHECK(events.size() < events.capacity());
  events.push_back(event);
  events.back().order = events_scheduled++;
  std::push_heap(events.begin(), events.end(), Later{});
  next_event = events.front().at;
}

void Link::Impl::run_to(TimeNs now) {
  for (;;) {
    // An event comes before the packets of its own instant.
    const TimeNs until = next_event <= now ? next_event - TimeNs{1} : now;
    advance_lanes(until);
    if (next_event > now) return;
    if (next_event <= until) continue;  // a trigger on the way put one in front
    std::pop_heap(events.begin(), events.end(), Later{});
    const Event event = events.back();
    events.pop_back();
    next_event = events.empty() ? kNever : events.front().at;
    happen(event);
  }
}

void Link::Impl::advance_lanes(TimeNs until) {
  horizon = until;
  if (!in_step) {
    for (Lane& lane : lanes) lane.advance(horizon);
    return;
  }
  // Frame by frame over all lanes: a trigger in one stops the others at its instant, and pauses are
  // asked for in order of time.
  for (;;) {
    Lane* first = &*std::min_element(lanes.begin(), lanes.end(), [](const Lane& a, const Lane& b) {
      return a.bottleneck().service_end() < b.bottleneck().service_end();
    });
    const TimeNs end = first->bottleneck().service_end();
    if (end > horizon) return;
    first->advance(end);
  }
}

// A trigger fires its event once in the life of a link.
void Link::Impl::triggered(uint32_t event, TimeNs at) {
  if (trigger_fired[event]) return;
  trigger_fired[event] = true;
  const TimeNs happens = at + spec.timeline[event].at;
  schedule({.at = happens, .index = event});
  horizon = std::min(horizon, happens - TimeNs{1});
}

void Link::Impl::happen(const Event& event) {
  if (event.kind == EventKind::kTimeline) {
    apply(event.at, timeline[event.index]);
  } else {
    look_at_lane(event.at, event.index);
  }
}

// --- Changes ---------------------------------------------------------------------------------

void Link::Impl::apply(TimeNs now, PreparedChange& prepared) {
  if (std::holds_alternative<StartEpoch>(prepared.change)) {
    restart_timeline(now, prepared);
    start_epoch(now);
    publish_room();
    return;
  }
  if (const auto* set = std::get_if<SetFault>(&prepared.change)) {
    faults.set(set->rule, set->fault);
    if (set->fault.kind == FaultKind::kTrigger) {
      has_triggers = true;
      in_step = lanes.size() > 1;
    }
  }
  const int named = LaneOf(prepared.change);
  for (uint32_t lane = 0; lane < lanes.size(); ++lane) {
    if (named == kAllLanes || named == static_cast<int>(lane)) change_lane(now, prepared, lane);
  }
  publish_room();
}

void Link::Impl::publish_room() {
  uint32_t most = 0;
  for (size_t i = 0; i < lanes.size(); ++i) {
    most = std::max(most, lanes[i].fiber().changes_in_flight());
    glass_mm[i].store(lanes[i].fiber().length().mm, std::memory_order_relaxed);
  }
  in_flight.store(most, std::memory_order_relaxed);
  events_fit.store(events.capacity() - events.size() > 8 * lanes.size(), std::memory_order_relaxed);
}

void Link::Impl::forget_changes(TimeNs now) {
  for (Lane& lane : lanes) lane.fiber().forget_cuts(now);
  publish_room();
}

void Link::Impl::change_lane(TimeNs now, PreparedChange& prepared, uint32_t lane) {
  Fiber& fiber = lanes[lane].fiber();
  const Change& change = prepared.change;
  if (const auto* cut = std::get_if<Cut>(&change)) {
    fiber.cut(now, cut->position, cut->duration);
    look_when_dark(now, cut->duration, lane);
  } else if (std::holds_alternative<Restore>(change)) {
    fiber.restore(now);
    look_at_lane(now, lane);
  } else if (const auto* path = std::get_if<SetPath>(&change)) {
    fiber.set_path(now, path->path);
  } else if (const auto* protect = std::get_if<ProtectionSwitch>(&change)) {
    fiber.switch_path(now, *protect);
    look_when_dark(now, protect->outage, lane);
  } else if (const auto* rate = std::get_if<SetRate>(&change)) {
    lanes[lane].bottleneck().set_rate(rate->rate);
  } else if (std::holds_alternative<SetLoss>(change)) {
    fiber.swap_loss(prepared.loss[lane]);
  } else if (std::holds_alternative<SetJitter>(change)) {
    fiber.swap_jitter(prepared.jitter[lane], prepared.jitter_specs[lane], prepared.calendars[lane]);
  } else if (std::holds_alternative<SetFault>(change)) {
    fiber.take_calendar(prepared.calendars[lane]);
  }
  if (fiber.has_calendar()) has_calendars.store(true, std::memory_order_relaxed);
}

void Link::Impl::look_when_dark(TimeNs now, TimeNs duration, uint32_t lane) {
  if (lanes.size() == 1) return;
  schedule({.at = now + spec.detection, .kind = EventKind::kLookAtLane, .index = lane});
  if (duration == kNever) return;
  schedule({.at = now + duration, .kind = EventKind::kLookAtLane, .index = lane});
}

// A lane that is cut long enough to be noticed hands its flows over; one that works takes them.
void Link::Impl::look_at_lane(TimeNs now, uint32_t lane) {
  if (lanes.size() == 1) return;
  const bool up = !lanes[lane].fiber().is_dark(now - spec.detection, now);
  if (!selector.set_up(lane, up) || up) return;
  lanes[lane].drain(now, [&](PacketRef packet) {
    packet.due = now;
    const int other = selector.select(packet.flow);
    if (other == LaneSelector::kNoLane) {
      packet.flags |= kDropped;
      packet.cause = Cause::kNoPath;
      lanes[lane].reject(packet);
    } else {
      lanes[static_cast<size_t>(other)].offer(packet);
    }
  });
}

void Link::Impl::schedule_timeline(TimeNs from) {
  for (uint32_t i = 0; i < spec.timeline.size(); ++i) {
    const TimelineEvent& event = spec.timeline[i];
    if (!event.triggered) schedule({.at = from + event.at, .index = i});
  }
}

// As at the link's start, but for what is in flight.
void Link::Impl::restart_timeline(TimeNs now, PreparedChange& prepared) {
  if (prepared.timeline.empty()) return;
  // No lane is dark once all are restored, so none need be looked at.
  const bool mends = Touches<Cut, ProtectionSwitch>(spec);
  std::erase_if(events, [&](const Event& e) { return e.kind == EventKind::kTimeline || mends; });
  std::make_heap(events.begin(), events.end(), Later{});
  next_event = events.empty() ? kNever : events.front().at;
  std::swap(timeline, prepared.timeline);
  std::fill(trigger_fired.begin(), trigger_fired.end(), false);
  for (PreparedChange& back : prepared.back) apply(now, back);
  schedule_timeline(now);
}

void Link::Impl::start_epoch(TimeNs now) {
  for (Lane& lane : lanes) {
    lane.bottleneck().start_epoch();
    lane.fiber().start_epoch(now);
  }
}

PreparedChange Link::Impl::build_change(const Change& change) const {
  PreparedChange prepared;
  prepared.change = change;
  const auto calendar_for = [&](bool reorders, const JitterSpec& jitter) {
    return reorders && !has_calendars.load(std::memory_order_relaxed)
               ? Fiber::MakeCalendar(spec, jitter, MostPackets(spec, capacity), start)
               : nullptr;
  };
  for (uint32_t lane = 0; lane < spec.lanes.size(); ++lane) {
    if (const auto* c = std::get_if<SetLoss>(&change)) {
      prepared.loss.emplace_back(c->loss, key, lane, spec.lanes[lane].rate);
    } else if (const auto* j = std::get_if<SetJitter>(&change)) {
      prepared.jitter.push_back(Fiber::MakeJitter(j->jitter, key, lane));
      prepared.jitter_specs.push_back(j->jitter);
      prepared.calendars.push_back(calendar_for(Fiber::Reorders(j->jitter), j->jitter));
    } else if (const auto* f = std::get_if<SetFault>(&change)) {
      prepared.calendars.push_back(calendar_for(f->fault.kind == FaultKind::kDelay, spec.jitter));
    }
  }
  return prepared;
}

PreparedChange Link::Impl::build_epoch() const {
  PreparedChange epoch;
  epoch.change = StartEpoch{};
  for (const Change& change : ChangesBack(spec)) epoch.back.push_back(build_change(change));
  for (const TimelineEvent& event : spec.timeline) {
    epoch.timeline.push_back(build_change(event.change));
  }
  return epoch;
}

// Whether another live change is sure to fit, or a timeline from its start.
Result<void> Link::Impl::check_room(const Change& change) const {
  const uint32_t needed =
      kSpareChanges + (std::holds_alternative<StartEpoch>(change) ? densest : 0);
  if (in_flight.load(std::memory_order_relaxed) + needed < Fiber::kMaxChanges &&
      events_fit.load(std::memory_order_relaxed)) {
    return {};
  }
  return Fail(ErrorCode::kConflict,
              "too many cuts and path changes still matter to packets in flight; try again when "
              "those have arrived");
}

// --- The public side -------------------------------------------------------------------------

std::vector<Change> ChangesBack(const DirectionSpec& spec) {
  std::vector<Change> back;
  if (Touches<Cut, ProtectionSwitch>(spec)) back.emplace_back(Restore{});
  for (int i = 0; i < static_cast<int>(spec.lanes.size()); ++i) {
    const LaneSpec& lane = spec.lanes[static_cast<size_t>(i)];
    if (Touches<SetPath, ProtectionSwitch>(spec)) back.emplace_back(SetPath{i, lane.path});
    if (Touches<SetRate>(spec)) back.emplace_back(SetRate{i, lane.rate});
    if (Touches<SetLoss>(spec)) back.emplace_back(SetLoss{i, lane.loss});
  }
  if (Touches<SetJitter>(spec)) back.emplace_back(SetJitter{spec.jitter});
  return back;
}

void PreparedChangeDeleter::operator()(PreparedChange* change) const { delete change; }

Result<PreparedChangePtr> Link::prepare(const Change& change) const {
  std::vector<Length> glass;
  for (const auto& mm : impl_->glass_mm) glass.push_back({mm.load(std::memory_order_relaxed)});
  if (auto valid = ValidateChange(change, impl_->spec, glass); !valid) {
    return tl::unexpected(valid.error());
  }
  if (auto room = impl_->check_room(change); !room) return tl::unexpected(room.error());
  const bool epoch = std::holds_alternative<StartEpoch>(change);
  return PreparedChangePtr(
      new PreparedChange(epoch ? impl_->build_epoch() : impl_->build_change(change)));
}

void Link::apply(TimeNs now, PreparedChange& change) {
  impl_->run_to(now - TimeNs{1});
  impl_->apply(now, change);
}

}  // namespace farspan::link
