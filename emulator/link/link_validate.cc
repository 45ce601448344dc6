// What a link refuses to be built from or changed to.
#include <algorithm>
#include <string>

#include "emulator/link/link_impl.h"
#include "emulator/link/path.h"

namespace farspan::link {
namespace {

// Kept free of timeline changes for live ones.
constexpr uint32_t kLiveChanges = 32;

Result<void> ValidatePosition(Length position, std::span<const Length> glass, int named) {
  for (size_t i = 0; i < glass.size(); ++i) {
    if (named != kAllLanes && named != static_cast<int>(i)) continue;
    if (position.mm >= 0 && position.mm <= glass[i].mm) continue;
    return Fail(ErrorCode::kInvalid, "a cut at " + ToText(position) +
                                         " is not on the path, which then has " + ToText(glass[i]) +
                                         " of glass");
  }
  return {};
}

const PathSpec* NewPath(const Change& change, size_t lane) {
  const auto of = [&](const auto& c) {
    return c.lane == kAllLanes || c.lane == static_cast<int>(lane) ? &c.path : nullptr;
  };
  if (const auto* set = std::get_if<SetPath>(&change)) return of(*set);
  if (const auto* protect = std::get_if<ProtectionSwitch>(&change)) return of(*protect);
  return nullptr;
}

// Of each lane's path just before event `index` of the timeline. Where triggers decide, the longest
// that it can be.
std::vector<Length> GlassBefore(const DirectionSpec& spec, size_t index) {
  const TimelineEvent& event = spec.timeline[index];
  std::vector<Length> glass;
  for (size_t lane = 0; lane < spec.lanes.size(); ++lane) {
    Length longest = spec.lanes[lane].path.length;
    Length last = longest;
    TimeNs set_at{-1};
    bool open = event.triggered;
    for (size_t i = 0; i < spec.timeline.size(); ++i) {
      const TimelineEvent& other = spec.timeline[i];
      const PathSpec* path = NewPath(other.change, lane);
      if (path == nullptr || i == index) continue;
      longest = std::max(longest, path->length);
      open = open || other.triggered;
      const bool before = other.at < event.at || (other.at == event.at && i < index);
      if (!before || other.at < set_at) continue;
      last = path->length;
      set_at = other.at;
    }
    glass.push_back(open ? longest : last);
  }
  return glass;
}

struct ChangeRules {
  const DirectionSpec& spec;
  std::span<const Length> glass;

  Result<void> lane(int lane) const {
    if (lane >= kAllLanes && lane < static_cast<int>(spec.lanes.size())) return {};
    return Fail(ErrorCode::kInvalid, "there is no lane " + std::to_string(lane) +
                                         ": the link has lanes 0 to " +
                                         std::to_string(spec.lanes.size() - 1));
  }
  Result<void> operator()(const Cut& c) const {
    if (auto valid = lane(c.lane); !valid) return valid;
    if (c.duration.ns <= 0) return Fail(ErrorCode::kInvalid, "a cut lasts longer than 0");
    return ValidatePosition(c.position, glass, c.lane);
  }
  Result<void> operator()(const Restore& c) const { return lane(c.lane); }
  Result<void> operator()(const SetPath& c) const { return lane(c.lane); }
  Result<void> operator()(const ProtectionSwitch& c) const {
    if (auto valid = lane(c.lane); !valid) return valid;
    return ValidatePosition(c.position, glass, c.lane);
  }
  Result<void> operator()(const SetRate& c) const { return lane(c.lane); }
  Result<void> operator()(const SetLoss& c) const {
    if (auto valid = lane(c.lane); !valid) return valid;
    for (const LaneSpec& l : spec.lanes) {
      if (auto valid = Validate(c.loss, l.rate); !valid) return valid;
    }
    return {};
  }
  Result<void> operator()(const SetJitter& c) const { return Validate(c.jitter); }
  Result<void> operator()(const SetFault& c) const {
    if (c.rule == 0) return Fail(ErrorCode::kInvalid, "rules are numbered from 1");
    return fault(c.fault);
  }
  Result<void> operator()(const StartEpoch&) const { return {}; }
  Result<void> fault(const FaultSpec& fault) const {
    if (fault.delay.ns < 0) return Fail(ErrorCode::kInvalid, "a rule delays by less than nothing");
    if (fault.kind != FaultKind::kTrigger) return {};
    if (fault.event < spec.timeline.size() && spec.timeline[fault.event].triggered) return {};
    return Fail(ErrorCode::kInvalid, "a rule triggers an event that does not wait for one");
  }
};

Result<void> ValidatePfc(const BottleneckSpec& bottleneck) {
  uint32_t priorities = 0;
  for (const ClassSpec& c : bottleneck.classes) {
    if (!c.pfc) continue;
    const auto fail = [&](const std::string& message) {
      return Fail(ErrorCode::kInvalid, "pfc of class \"" + c.name + "\": " + message);
    };
    if (c.pfc->priority >= kPfcPriorities) return fail("priorities are 0 to 7");
    if ((priorities >> c.pfc->priority & 1) != 0) return fail("another class has its priority");
    priorities |= 1u << c.pfc->priority;
    if (c.pfc->xoff_bytes == 0) return fail("xoff is more than 0");
    if (c.pfc->xon_bytes >= c.pfc->xoff_bytes) return fail("xon is less than xoff");
    if (c.pfc->quanta == 0) return fail("a pause of 0 quanta is none");
  }
  return {};
}

}  // namespace

Density DensestChanges(const DirectionSpec& spec) {
  TimeNs longest{};
  for (const LaneSpec& lane : spec.lanes) longest = std::max(longest, OneWayDelay(lane.path));
  for (const TimelineEvent& event : spec.timeline) {
    if (const auto* c = std::get_if<SetPath>(&event.change)) {
      longest = std::max(longest, OneWayDelay(c->path));
    } else if (const auto* p = std::get_if<ProtectionSwitch>(&event.change)) {
      longest = std::max(longest, OneWayDelay(p->path));
    }
  }
  std::vector<std::pair<TimeNs, int>> edges;
  const auto add = [&](TimeNs from, TimeNs lasts, int count) {
    edges.emplace_back(from, count);
    edges.emplace_back(from + lasts + longest, -count);
  };
  for (const TimelineEvent& event : spec.timeline) {
    if (const auto* c = std::get_if<Cut>(&event.change)) {
      add(event.at, c->duration, 1);
    } else if (std::holds_alternative<SetPath>(event.change)) {
      add(event.at, {}, 1);
    } else if (const auto* p = std::get_if<ProtectionSwitch>(&event.change)) {
      add(event.at, p->outage, 2);
    }
  }
  std::sort(edges.begin(), edges.end());
  int at_once = 0;
  Density densest;
  for (const auto& [at, change] : edges) {
    at_once += change;
    if (at_once > static_cast<int>(densest.changes)) {
      densest = {static_cast<uint32_t>(at_once), at};
    }
  }
  return densest;
}

Result<void> ValidateChange(const Change& change, const DirectionSpec& spec,
                            std::span<const Length> glass) {
  return std::visit(ChangeRules{spec, glass}, change);
}

Result<void> ValidateDirection(const DirectionSpec& spec) {
  if (spec.lanes.empty() || spec.lanes.size() > 256) {
    return Fail(ErrorCode::kInvalid, "a link has 1 to 256 lanes");
  }
  if (spec.bottleneck.classes.empty() || spec.bottleneck.classes.size() > 64) {
    return Fail(ErrorCode::kInvalid, "a bottleneck has 1 to 64 classes");
  }
  if (auto valid = ValidatePfc(spec.bottleneck); !valid) return valid;
  if (spec.faults.size() > FaultTable::kMaxFaults) {
    return Fail(ErrorCode::kInvalid, "a link has at most 255 rules");
  }
  for (const LaneSpec& lane : spec.lanes) {
    if (auto valid = Validate(lane.loss, lane.rate); !valid) return valid;
  }
  if (auto valid = Validate(spec.jitter); !valid) return valid;
  for (const FaultSpec& fault : spec.faults) {
    if (auto valid = ChangeRules{spec, {}}.fault(fault); !valid) return valid;
  }
  for (size_t i = 0; i < spec.timeline.size(); ++i) {
    const Change& change = spec.timeline[i].change;
    const bool placed =
        std::holds_alternative<Cut>(change) || std::holds_alternative<ProtectionSwitch>(change);
    const std::vector<Length> glass = placed ? GlassBefore(spec, i) : std::vector<Length>{};
    if (auto valid = ValidateChange(change, spec, glass); !valid) return valid;
  }
  constexpr uint32_t kMost = Fiber::kMaxChanges - kLiveChanges;
  if (const Density densest = DensestChanges(spec); densest.changes > kMost) {
    return Fail(ErrorCode::kInvalid, "the timeline has more than " + std::to_string(kMost) +
                                         " cuts and path changes that matter at once around " +
                                         ToText(densest.at) +
                                         ": space them out over the link's delay");
  }
  return {};
}

}  // namespace farspan::link
