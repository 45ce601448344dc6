#include "tests/support/reference_link.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>

#include "emulator/base/check.h"
#include "emulator/link/jitter.h"
#include "emulator/link/loss.h"
#include "emulator/link/path.h"
#include "tests/support/reference_bottleneck.h"

namespace farspan::test {
namespace {

using link::Cause;
using link::PacketRef;

struct Cut {
  size_t path;
  Length position;
  TimeNs offset;
  TimeNs from;
  TimeNs until;
  TimeNs restored_at = kNever;
};

// A packet in the glass; judged when everything is known.
struct Flight {
  PacketRef packet;
  TimeNs entry;
  size_t path;
  TimeNs extra;  // beyond the path's delay: drawn jitter, a fault's delay
};

struct Lane {
  ReferenceBottleneck bottleneck;
  link::LossModel loss;
  link::JitterSpec jitter_spec;
  link::JitterModel jitter;
  Rate first_rate;
  uint64_t index = 0;
  TimeNs wire_origin;
  TimeNs last_entry{INT64_MIN};
  std::vector<link::PathSpec> paths;  // the last one works
  std::vector<Cut> cuts{};
  std::vector<Flight> flights{};
  // When no light comes through, by the cuts and outages of the path that works then.
  std::vector<std::pair<TimeNs, TimeNs>> dark{};
  bool up = true;
};

// When, what comes first at one instant, in which order it was scheduled.
using Moment = std::tuple<TimeNs, int, uint64_t>;
struct LookAtLane {
  size_t lane;
};
struct RestartTimeline {};  // a live StartEpoch
using Event = std::variant<link::Change, LookAtLane, RestartTimeline>;

class Reference {
 public:
  explicit Reference(const sim::LinkRun& run);
  ReferenceTrace walk();

 private:
  StreamKey jitter_key(uint32_t lane) const {
    return {Draw(key_, RandomPurpose::kStreamKey, lane).lo};
  }
  void schedule(TimeNs at, int rank, const Event& event) {
    events_.emplace(Moment{at, rank, scheduled_++}, event);
  }

  void arrive(const PacketRef& packet);
  int choose_lane(uint32_t flow) const;
  void offer(size_t lane, const PacketRef& packet);
  void end_service(size_t lane);
  void enter_fiber(uint32_t lane, PacketRef packet, TimeNs start);
  void disturb(uint32_t lane, uint64_t index, PacketRef& packet, TimeNs& extra, bool& twice);
  void drop(PacketRef packet, Cause cause);

  void happen(TimeNs now, const Event& event);
  void change(TimeNs now, uint32_t lane, const link::Change& change);
  void begin_timeline(TimeNs now);
  void restart_timeline(TimeNs now);
  void look_at_lane(TimeNs now, size_t lane);
  static bool DarkThroughout(const Lane& lane, TimeNs since, TimeNs now);
  static void Light(Lane& lane, TimeNs now);
  void darken(TimeNs now, uint32_t lane, TimeNs duration);
  static void NewPath(Lane& lane, const link::PathSpec& path, TimeNs now, bool carry_cuts);

  void land(const Lane& lane);

  const sim::LinkRun& run_;
  const link::DirectionSpec& spec_;
  const StreamKey key_;
  std::vector<Lane> lanes_;
  std::map<Moment, Event> events_;
  uint64_t scheduled_ = 0;
  std::vector<bool> fired_;
  ReferenceTrace trace_;
};

Reference::Reference(const sim::LinkRun& run)
    : run_(run),
      spec_(run.spec),
      key_(MakeStreamKey(run.identity.seed, run.identity.link, run.identity.direction)),
      fired_(run.spec.timeline.size()) {
  for (uint32_t i = 0; i < spec_.lanes.size(); ++i) {
    const link::LaneSpec& lane = spec_.lanes[i];
    lanes_.push_back(Lane{.bottleneck = {spec_.bottleneck, lane.rate, key_, i},
                          .loss = {lane.loss, key_, i, lane.rate},
                          .jitter_spec = spec_.jitter,
                          .jitter = {spec_.jitter, jitter_key(i)},
                          .first_rate = lane.rate,
                          .wire_origin = run.start,
                          .paths = {lane.path}});
    lanes_.back().loss.start_epoch(run.start);
    lanes_.back().jitter.start_epoch(run.start);
  }
  for (const sim::LiveChange& live : run.changes) {
    if (std::holds_alternative<link::StartEpoch>(live.change)) {
      schedule(live.at, 0, RestartTimeline{});
    }
    schedule(live.at, 0, live.change);
  }
  begin_timeline(run.start);
}

ReferenceTrace Reference::walk() {
  size_t arrived = 0;
  for (;;) {
    const TimeNs event = events_.empty() ? kNever : std::get<0>(events_.begin()->first);
    TimeNs service = kNever;
    size_t serving = 0;
    for (size_t i = 0; i < lanes_.size(); ++i) {
      const TimeNs end = lanes_[i].bottleneck.service_end();
      if (end < service) std::tie(service, serving) = std::pair(end, i);
    }
    const TimeNs arrival = arrived < run_.traffic.size() ? run_.traffic[arrived].due : kNever;
    if (service == kNever && arrival == kNever && events_.empty()) break;
    if (event <= service && event <= arrival) {
      const Event what = events_.begin()->second;
      events_.erase(events_.begin());
      happen(event, what);
    } else if (service <= arrival) {
      end_service(serving);
    } else {
      arrive(run_.traffic[arrived++]);
    }
  }
  for (const Lane& lane : lanes_) land(lane);
  std::stable_sort(trace_.released.begin(), trace_.released.end(), ReferenceOrder);
  return std::move(trace_);
}

// --- Into a lane -----------------------------------------------------------------------------

uint32_t Bucket(uint32_t flow) {  // MurmurHash3's finaliser
  uint32_t h = flow;
  h ^= h >> 16;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  h ^= h >> 16;
  return h % 1024;
}

int Reference::choose_lane(uint32_t flow) const {
  if (lanes_.size() == 1) return 0;
  const uint32_t bucket = Bucket(flow);
  int chosen = -1;
  if (spec_.rehash == link::RehashPolicy::kModulo) {
    std::vector<int> slots;
    for (size_t i = 0; i < lanes_.size(); ++i) {
      if (lanes_[i].up) slots.insert(slots.end(), spec_.lanes[i].weight, static_cast<int>(i));
    }
    return slots.empty() ? -1 : slots[bucket % slots.size()];
  }
  double best = -1;
  for (size_t i = 0; i < lanes_.size(); ++i) {
    if (!lanes_[i].up || spec_.lanes[i].weight == 0) continue;
    const RandomWords words =
        Draw({0}, RandomPurpose::kLaneSelection, bucket, static_cast<uint32_t>(i));
    const double score = -double{1.0} * spec_.lanes[i].weight / std::log(ToUnit(words.lo));
    if (score > best) std::tie(best, chosen) = std::pair(score, static_cast<int>(i));
  }
  return chosen;
}

void Reference::arrive(const PacketRef& packet) {
  const int lane = choose_lane(packet.flow);
  if (lane < 0) return drop(packet, Cause::kNoPath);
  offer(static_cast<size_t>(lane), packet);
}

void Reference::offer(size_t lane, const PacketRef& packet) {
  const auto number = static_cast<uint32_t>(lane);
  lanes_[lane].bottleneck.arrive(
      packet, [&](PacketRef p, TimeNs start) { enter_fiber(number, p, start); },
      [&](PacketRef p) { trace_.released.push_back(p); });
}

void Reference::end_service(size_t lane) {
  const auto number = static_cast<uint32_t>(lane);
  lanes_[lane].bottleneck.end_service(
      [&](PacketRef p, TimeNs start) { enter_fiber(number, p, start); },
      [&](PacketRef p) { trace_.released.push_back(p); });
}

void Reference::drop(PacketRef packet, Cause cause) {
  packet.flags |= link::kDropped;
  packet.cause = cause;
  trace_.released.push_back(packet);
}

// --- Into the fiber --------------------------------------------------------------------------

void Reference::enter_fiber(uint32_t number, PacketRef packet, TimeNs start) {
  Lane& lane = lanes_[number];
  const uint64_t index = lane.index++;
  if (lane.loss.lost(start, packet.due, packet.wire_bytes)) {
    packet.flags |= link::kDropped;
    packet.cause = Cause::kLoss;
  }
  TimeNs extra{};
  bool twice = false;
  disturb(number, index, packet, extra, twice);
  const TimeNs departure = packet.due;
  TimeNs entry = departure;
  if (lane.jitter_spec.deviation.ns != 0 && lane.jitter_spec.reorder) {
    extra += lane.jitter.drawn(index);
  } else if (lane.jitter_spec.deviation.ns != 0) {
    // No packet leaves the far end before it has left the near one.
    entry = std::max(entry + lane.jitter.ordered(entry),
                     departure - link::OneWayDelay(lane.paths.back()));
  }
  entry = std::max(entry, lane.last_entry);
  lane.last_entry = entry;
  if (twice) {
    PacketRef copy = packet;
    copy.flags |= link::kDuplicate;
    ++trace_.duplicated;
    lane.flights.push_back({copy, entry, lane.paths.size() - 1, extra});
  }
  lane.flights.push_back({packet, entry, lane.paths.size() - 1, extra});
}

void Reference::disturb(uint32_t lane, uint64_t index, PacketRef& packet, TimeNs& extra,
                        bool& twice) {
  const auto happens = [&](RandomPurpose purpose, double probability) {
    return ToUnit(Draw(key_, purpose, index, lane).lo) < probability;
  };
  if (packet.rule != 0) {
    const link::FaultSpec& fault = spec_.faults.at(packet.rule - 1u);
    if (fault.kind == link::FaultKind::kDrop && (packet.flags & link::kDropped) == 0) {
      packet.flags |= link::kDropped;
      packet.cause = Cause::kFault;
    }
    if (fault.kind == link::FaultKind::kDelay) extra = fault.delay;
    if (fault.kind == link::FaultKind::kDuplicate) twice = true;
    if (fault.kind == link::FaultKind::kCorrupt) packet.flags |= link::kCorrupted;
    if (fault.kind == link::FaultKind::kMark && (packet.flags & link::kEcnCapable) != 0) {
      packet.flags |= link::kMarked;
    }
    if (fault.kind == link::FaultKind::kTrigger && !fired_[fault.event]) {
      fired_[fault.event] = true;
      const link::TimelineEvent& event = spec_.timeline[fault.event];
      schedule(packet.due + event.at, 1, event.change);
    }
  }
  if (happens(RandomPurpose::kDuplicate, spec_.duplicate)) twice = true;
  if (happens(RandomPurpose::kCorrupt, spec_.corrupt)) packet.flags |= link::kCorrupted;
  if ((packet.flags & link::kDropped) != 0) twice = false;
}

// --- Events ----------------------------------------------------------------------------------

void Reference::happen(TimeNs now, const Event& event) {
  if (const auto* look = std::get_if<LookAtLane>(&event)) return look_at_lane(now, look->lane);
  if (std::holds_alternative<RestartTimeline>(event)) return restart_timeline(now);
  const auto& what = std::get<link::Change>(event);
  const int named = std::visit(
      [](const auto& c) {
        if constexpr (requires { c.lane; }) return c.lane;
        return link::kAllLanes;
      },
      what);
  for (uint32_t i = 0; i < lanes_.size(); ++i) {
    if (named == link::kAllLanes || named == static_cast<int>(i)) change(now, i, what);
  }
}

void Reference::begin_timeline(TimeNs now) {
  for (const link::TimelineEvent& event : spec_.timeline) {
    if (!event.triggered) schedule(now + event.at, 1, event.change);
  }
}

// What is to come of the timeline is forgotten; what has come is undone, cuts first.
void Reference::restart_timeline(TimeNs now) {
  std::erase_if(events_, [](const auto& item) {
    return std::get<1>(item.first) == 1 && std::holds_alternative<link::Change>(item.second);
  });
  std::fill(fired_.begin(), fired_.end(), false);
  for (uint32_t lane = 0; lane < lanes_.size(); ++lane) {
    const link::LaneSpec& first = spec_.lanes[lane];
    bool cut = false;
    bool path = false;
    for (const link::TimelineEvent& event : spec_.timeline) {
      const link::Change& what = event.change;
      const bool switches = std::holds_alternative<link::ProtectionSwitch>(what);
      cut = cut || switches || std::holds_alternative<link::Cut>(what);
      path = path || switches || std::holds_alternative<link::SetPath>(what);
    }
    if (cut) change(now, lane, link::Restore{});
    if (path) change(now, lane, link::SetPath{.path = first.path});
    for (const link::TimelineEvent& event : spec_.timeline) {
      const link::Change& what = event.change;
      if (std::holds_alternative<link::SetRate>(what)) {
        change(now, lane, link::SetRate{.rate = first.rate});
      } else if (std::holds_alternative<link::SetLoss>(what)) {
        change(now, lane, link::SetLoss{.loss = first.loss});
      } else if (std::holds_alternative<link::SetJitter>(what)) {
        change(now, lane, link::SetJitter{spec_.jitter});
      }
    }
  }
  begin_timeline(now);
}

void Reference::change(TimeNs now, uint32_t number, const link::Change& what) {
  Lane& lane = lanes_[number];
  const double n = lane.paths.back().group_index;
  if (const auto* cut = std::get_if<link::Cut>(&what)) {
    lane.cuts.push_back({lane.paths.size() - 1, cut->position, link::GlassDelay(cut->position, n),
                         now, now + cut->duration});
    darken(now, number, cut->duration);
  } else if (std::holds_alternative<link::Restore>(what)) {
    for (Cut& c : lane.cuts) {
      if (c.path == lane.paths.size() - 1) c.restored_at = std::min(c.restored_at, now);
    }
    Light(lane, now);
    look_at_lane(now, number);
  } else if (const auto* path = std::get_if<link::SetPath>(&what)) {
    NewPath(lane, path->path, now, true);
  } else if (const auto* protect = std::get_if<link::ProtectionSwitch>(&what)) {
    lane.cuts.push_back({lane.paths.size() - 1, protect->position,
                         link::GlassDelay(protect->position, n), now, kNever});
    NewPath(lane, protect->path, now, false);
    lane.cuts.push_back({lane.paths.size() - 1, {}, {}, {INT64_MIN}, now + protect->outage});
    Light(lane, now);
    darken(now, number, protect->outage);
  } else if (const auto* rate = std::get_if<link::SetRate>(&what)) {
    lane.bottleneck.set_rate(rate->rate);
  } else if (const auto* loss = std::get_if<link::SetLoss>(&what)) {
    lane.loss = link::LossModel(loss->loss, key_, number, lane.first_rate);
    lane.loss.start_epoch(lane.wire_origin);
  } else if (const auto* jitter = std::get_if<link::SetJitter>(&what)) {
    lane.jitter_spec = jitter->jitter;
    lane.jitter = link::JitterModel(jitter->jitter, jitter_key(number));
    lane.jitter.start_epoch(lane.wire_origin);
  } else if (std::holds_alternative<link::StartEpoch>(what)) {
    lane.index = 0;
    lane.wire_origin = now;
    lane.loss.start_epoch(now);
    lane.jitter.start_epoch(now);
    lane.bottleneck.start_epoch();
  }
}

// A cut that is still in force cuts the new path at the same place too, unless traffic was switched
// to another fiber.
void Reference::NewPath(Lane& lane, const link::PathSpec& path, TimeNs now, bool carry_cuts) {
  const size_t old = lane.paths.size() - 1;
  lane.paths.push_back(path);
  if (!carry_cuts) return;
  std::vector<Cut> carried;
  for (Cut c : lane.cuts) {
    if (c.path != old || std::min(c.until, c.restored_at) <= now) continue;
    c.path = old + 1;
    c.offset = link::GlassDelay(c.position, path.group_index);
    carried.push_back(c);
  }
  lane.cuts.insert(lane.cuts.end(), carried.begin(), carried.end());
}

// Whether every instant of [since, now] was dark.
bool Reference::DarkThroughout(const Lane& lane, TimeNs since, TimeNs now) {
  TimeNs covered = since;
  for (bool more = true; more;) {
    more = false;
    for (const auto& [from, until] : lane.dark) {
      if (from > covered || until <= covered) continue;
      if (until > now) return true;
      covered = until;
      more = true;
    }
  }
  return false;
}

void Reference::Light(Lane& lane, TimeNs now) {
  for (auto& [from, until] : lane.dark) until = std::min(until, now);
}

void Reference::darken(TimeNs now, uint32_t number, TimeNs duration) {
  lanes_[number].dark.emplace_back(now, now + duration);
  schedule(now + spec_.detection, 1, LookAtLane{number});
  if (duration != kNever) schedule(now + duration, 1, LookAtLane{number});
}

void Reference::look_at_lane(TimeNs now, size_t number) {
  if (lanes_.size() == 1) return;
  Lane& lane = lanes_[number];
  const bool was_up = lane.up;
  lane.up = !DarkThroughout(lane, now - spec_.detection, now);
  if (lane.up || !was_up) return;
  for (PacketRef packet : lane.bottleneck.drain()) {
    packet.due = now;
    const int other = choose_lane(packet.flow);
    if (other < 0) {
      drop(packet, Cause::kNoPath);
      continue;
    }
    Lane& target = lanes_[static_cast<size_t>(other)];
    while (target.bottleneck.service_end() <= now) end_service(static_cast<size_t>(other));
    offer(static_cast<size_t>(other), packet);
  }
}

// --- Out of the fiber ------------------------------------------------------------------------

void Reference::land(const Lane& lane) {
  TimeNs last_due{INT64_MIN};
  for (const Flight& flight : lane.flights) {
    PacketRef packet = flight.packet;
    packet.due = flight.entry + link::OneWayDelay(lane.paths[flight.path]);
    if (flight.extra.ns != 0) {
      packet.due = std::max(packet.due + flight.extra, flight.entry);
    } else if (spec_.order == link::OrderPolicy::kKeep) {
      trace_.order_clamps += packet.due < last_due ? 1 : 0;
      packet.due = last_due = std::max(packet.due, last_due);
    }
    for (const Cut& c : lane.cuts) {
      if (c.path != flight.path || (packet.flags & link::kDropped) != 0) continue;
      if (c.from > packet.due) continue;  // jitter that reorders may have brought it out already
      const TimeNs until = c.restored_at <= packet.due ? std::min(c.until, c.restored_at) : c.until;
      const TimeNs passes = flight.entry + c.offset;
      if (passes >= c.from && passes < until) {
        packet.flags |= link::kDropped;
        packet.cause = Cause::kCut;
      }
    }
    trace_.released.push_back(packet);
  }
}

}  // namespace

bool ReferenceOrder(const PacketRef& a, const PacketRef& b) {
  if (a.due != b.due) return a.due < b.due;
  if (a.handle != b.handle) return a.handle < b.handle;
  return (a.flags & link::kDuplicate) > (b.flags & link::kDuplicate);
}

ReferenceTrace RunReference(const sim::LinkRun& run) { return Reference(run).walk(); }

}  // namespace farspan::test
