// What the control API means, without HTTP around it: JSON bodies to changes of links, snapshots to
// JSON. Pure functions of their arguments, so that tests and the fuzzer need no socket.
//
// A body is one flat JSON object, its values texts with units as in the configuration (bare numbers
// are taken as the configuration takes them). Unknown keys, duplicate keys and nested values are
// errors. Positions of cuts count from the link's first site (where ab starts), for both
// directions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/control/engine_control.h"

namespace farspan::control {

// What a request asks of one direction of a link.
struct PlannedChange {
  Direction direction = Direction::kAb;
  std::vector<link::Change> changes;  // not empty
};
using Plan = std::vector<PlannedChange>;  // not empty; one for each direction that was meant

// {"distance": "700 km", "rate": "10 Gbps", …, "direction": "ab", "lane": 0}
Result<Plan> PlanSettings(const EngineSnapshot& engine, std::string_view link,
                          std::string_view body);
// {"for": "50 ms", "position": "120 km", "direction": "ab", "lane": 0}, all of them optional
Result<Plan> PlanCut(const EngineSnapshot& engine, std::string_view link, std::string_view body);
// {"direction": "ab", "lane": 0}, all of them optional
Result<Plan> PlanRestore(const EngineSnapshot& engine, std::string_view link,
                         std::string_view body);
// A rule as in [[links.rules]], as RuleFrom has it, and "direction" (else both):
// {"match": "dst_port=4791", "action": "drop", "count": 1, "direction": "ab"}
// Where it has no name it is called r and the next number.
struct PlannedRule {
  std::string name;
  std::vector<std::pair<Direction, config::Rule>> rules;  // not empty
};
Result<PlannedRule> PlanRule(const EngineSnapshot& engine, std::string_view link,
                             std::string_view body);
// {"direction": "ab"}, optional: the directions that have the rule; without a name those that have
// any, or the first of those meant.
Result<std::vector<Direction>> PlanRemoval(const EngineSnapshot& engine, std::string_view link,
                                           const std::optional<std::string>& name,
                                           std::string_view body);
// An empty body, or an empty object.
Result<void> CheckEmpty(std::string_view body);

Error NoSuchLink(const EngineSnapshot& engine, std::string_view link);

struct AppliedChange {
  std::optional<Direction> direction;  // empty: every link
  TimeNs at{};
};

// The links of a snapshot, or the one named; schemas farspan.links.v1 and farspan.link.v1.
std::string LinksJson(const EngineSnapshot& engine);
std::string HealthJson(const EngineSnapshot& engine);
Result<std::string> LinkJson(const EngineSnapshot& engine, std::string_view link);

// The fault rules of a link, or the one named; schema farspan.rules.v1.
Result<std::string> RulesJson(const EngineSnapshot& engine, std::string_view link,
                              const std::optional<std::string>& name);

// farspan.applied.v1; `rule` is the name of one that was added, else empty.
std::string AppliedJson(const std::vector<AppliedChange>& applied, std::string_view rule = {});
std::string ErrorJson(std::string_view code, std::string_view message);

}  // namespace farspan::control
