#include "transports/testbed/compare_case.h"

#include <algorithm>
#include <bit>
#include <map>
#include <set>

#include "emulator/base/check.h"
#include "emulator/link/path.h"

namespace farspan::testbed {
namespace {

using link::DirectionSpec;

constexpr uint64_t kLeastWindow = 4096, kMostWindow = 1u << 22;  // packets, as Span takes them

// Of what a direction is at first, and what its timeline makes of it.
template <typename Visitor>
void ForEachPath(const DirectionSpec& spec, Visitor visit) {
  for (const link::LaneSpec& lane : spec.lanes) visit(lane.path);
  for (const link::TimelineEvent& event : spec.timeline) {
    if (const auto* set = std::get_if<link::SetPath>(&event.change)) visit(set->path);
    if (const auto* to = std::get_if<link::ProtectionSwitch>(&event.change)) visit(to->path);
  }
}

struct Path {
  TimeNs rtt{};     // the longest
  double rate = 0;  // the slowest, in bits/s
};

Path WorstPath(const ScenarioPoint& point) {
  Path worst{.rtt = {}, .rate = 1e18};
  for (const auto& [pair, spec] : point.links) {
    const DirectionSpec& back = point.links.at({pair.second, pair.first});
    worst.rtt = std::max(worst.rtt, MostDelay(spec) + MostDelay(back));
    double rate = 0;
    for (const link::LaneSpec& lane : spec.lanes) rate += static_cast<double>(lane.rate.bits_per_s);
    worst.rate = std::min(worst.rate, rate);
  }
  return worst;
}

// How many of a site's peers share the bottleneck that the busiest rank's data leaves by.
uint64_t Sharers(const Scenario& scenario, const std::vector<collectives::Plan>& plans) {
  std::map<SitePair, std::set<std::pair<uint32_t, uint32_t>>> lanes;
  for (uint32_t rank = 0; rank < plans.size(); ++rank) {
    const uint32_t from = rank / scenario.ranks_per_site;
    for (const collectives::Lane& lane : plans[rank].sends) {
      const uint32_t to = lane.peer / scenario.ranks_per_site;
      if (from == to) continue;
      lanes[{from, scenario.shared_uplinks ? from : to}].emplace(rank, lane.peer);
    }
  }
  uint64_t most = 1;
  for (const auto& [pair, sharers] : lanes) most = std::max<uint64_t>(most, sharers.size());
  return most;
}

}  // namespace

TimeNs LeastDelay(const link::DirectionSpec& spec) {
  TimeNs least = kNever;
  ForEachPath(spec, [&](const auto& path) { least = std::min(least, link::OneWayDelay(path)); });
  return least;
}

TimeNs MostDelay(const link::DirectionSpec& spec) {
  TimeNs most{};
  ForEachPath(spec, [&](const auto& path) { most = std::max(most, link::OneWayDelay(path)); });
  return most;
}

double RateOf(const link::DirectionSpec& spec) {
  double sum = 0, changed = 0;
  for (const link::LaneSpec& lane : spec.lanes) sum += static_cast<double>(lane.rate.bits_per_s);
  for (const link::TimelineEvent& event : spec.timeline) {
    const auto* set = std::get_if<link::SetRate>(&event.change);
    if (set == nullptr) continue;
    const double lanes = set->lane == link::kAllLanes ? static_cast<double>(spec.lanes.size()) : 1;
    changed = std::max(changed, static_cast<double>(set->rate.bits_per_s) * lanes);
  }
  return std::max(sum, changed);
}

Case MakeCase(const Scenario& scenario, const CompareRow& row) {
  Case made{.scenario = &scenario,
            .point = &scenario.points[row.point],
            .contender = &scenario.contenders[row.contender],
            .bytes = row.bytes,
            .rtt = {},
            .rate = {},
            .preset = {},
            .tasks = {},
            .plans = {}};
  const Path path = WorstPath(*made.point);
  made.rtt = path.rtt;
  const ContenderSpec& contender = *made.contender;
  const uint64_t element = BytesOf(scenario.element);
  made.ample_bytes = static_cast<uint64_t>(4 * path.rate / 8 * ToSeconds(path.rtt));
  const Rate port{static_cast<uint64_t>(path.rate)};
  const auto preset = FindPreset(contender.tuned ? "tuned" : "default", port, path.rtt);
  FARSPAN_CHECK(preset);
  made.preset = *preset;
  uint64_t buffsize = contender.buffsize;
  if (buffsize == 0) {
    const bool enough = contender.baseline() || !contender.tuned;
    buffsize = std::max(preset->buffsize, enough ? 0 : made.ample_bytes / contender.channels);
  }
  // Twice the message is never reached.
  const uint64_t window = contender.window_bytes != 0 ? contender.window_bytes
                                                      : std::min(made.ample_bytes, 2 * row.bytes);
  made.window_packets = static_cast<uint32_t>(
      std::bit_ceil(std::clamp(window / scenario.payload_bytes, kLeastWindow, kMostWindow)));
  made.slot_bytes = std::max(buffsize / kSlots / element * element, element);
  for (uint32_t rank = 0; rank < scenario.ranks(); ++rank) {
    collectives::Task task = TaskOf(scenario, contender, row.bytes);
    task.rank = rank;
    task.slot_bytes = made.slot_bytes;
    auto plan = collectives::MakePlan(task);
    FARSPAN_CHECK(plan);  // the scenario's reader has tried it
    made.tasks.push_back(task);
    made.plans.push_back(std::move(*plan));
  }
  const bool fixed = contender.congestion == "fixed";
  made.rate = {port.bits_per_s / (fixed ? Sharers(scenario, made.plans) : 1)};
  return made;
}

uint64_t CrossingBytes(const Case& of) {
  uint64_t sum = 0;
  for (size_t rank = 0; rank < of.plans.size(); ++rank) {
    const collectives::Task& task = of.tasks[rank];
    sum += SentBytes(of.plans[rank],
                     [&](uint32_t peer) { return task.site(peer) != task.site(task.rank); });
  }
  return sum;
}

}  // namespace farspan::testbed
