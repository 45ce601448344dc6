// Where plots put a point of a scenario, and what happens on its links meanwhile.
#include "emulator/link/loss.h"
#include "emulator/link/path.h"
#include "transports/testbed/compare.h"
#include "transports/testbed/endpoints.h"

namespace farspan::testbed {
namespace {

double MeanBurst(const link::LossSpec& loss) {
  switch (loss.kind) {
    case link::LossKind::kGilbertElliott:
      return 1 / loss.ge_r;
    case link::LossKind::kBurst:
      return loss.burst_frames;
    case link::LossKind::kNone:
    case link::LossKind::kMask:
    case link::LossKind::kTrace:
      return 0;
    default:
      return 1;
  }
}

std::string_view WhatIs(const link::Change& change) {
  if (std::holds_alternative<link::Cut>(change)) return "cut";
  if (std::holds_alternative<link::Restore>(change)) return "restored";
  if (std::holds_alternative<link::ProtectionSwitch>(change)) return "cut";
  if (std::holds_alternative<link::SetPath>(change)) return "path";
  if (std::holds_alternative<link::SetRate>(change)) return "rate";
  if (std::holds_alternative<link::SetLoss>(change)) return "loss";
  if (std::holds_alternative<link::SetJitter>(change)) return "jitter";
  if (std::holds_alternative<link::SetFault>(change)) return "fault";
  return "epoch";
}

std::vector<PointEvent> EventsOf(const std::vector<link::TimelineEvent>& timeline) {
  std::vector<PointEvent> events;
  for (const link::TimelineEvent& event : timeline) {
    if (event.triggered) continue;
    events.push_back({ToSeconds(event.at), std::string(WhatIs(event.change))});
    if (const auto* cut = std::get_if<link::Cut>(&event.change)) {
      if (cut->duration != kNever) {
        events.push_back({ToSeconds(event.at + cut->duration), "restored"});
      }
    }
    if (const auto* protection = std::get_if<link::ProtectionSwitch>(&event.change)) {
      events.push_back({ToSeconds(event.at + protection->outage), "switched"});
    }
  }
  return events;
}

}  // namespace

PointView ViewOf(const Scenario& scenario, const ScenarioPoint& point) {
  const auto& [pair, spec] = *point.links.begin();
  const link::LaneSpec& lane = spec.lanes[0];
  const uint32_t wire_bytes = scenario.payload_bytes + OverheadBytes("span");
  const TimeNs back = link::OneWayDelay(point.links.at({pair.second, pair.first}).lanes[0].path);
  return {link::ExpectedLoss(lane.loss, wire_bytes, lane.rate),
          ToSeconds(link::OneWayDelay(lane.path) + back), static_cast<double>(lane.rate.bits_per_s),
          MeanBurst(lane.loss), EventsOf(spec.timeline)};
}

}  // namespace farspan::testbed
