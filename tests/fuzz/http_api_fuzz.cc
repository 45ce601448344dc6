// Bodies of PATCH and POST on a link and its rules: the first byte picks the request, the rest is
// the body. What is accepted must be a change that the link can be asked for; what is refused must
// say why, as JSON.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>
#include <variant>

#include "emulator/base/check.h"
#include "emulator/control/api.h"
#include "emulator/roce/rule_table.h"
#include "tests/support/fake_engine.h"

namespace farspan::control {
namespace {

EngineSnapshot TwoLanes() {
  EngineSnapshot engine = FakeEngine().snapshot();
  for (DirectionSnapshot& d : engine.directions) {
    d.spec.lanes.resize(2, d.spec.lanes.front());
    d.spec.lanes.back().path.length = {2'000'000'000};
  }
  return engine;
}

void CheckChange(const DirectionSnapshot& direction, const link::Change& change) {
  const auto lanes = static_cast<int>(direction.spec.lanes.size());
  std::visit(
      [&](const auto& c) {
        if constexpr (requires { c.lane; }) {
          FARSPAN_CHECK(c.lane >= link::kAllLanes && c.lane < lanes);
        }
      },
      change);
  if (const auto* cut = std::get_if<link::Cut>(&change)) {
    FARSPAN_CHECK(cut->position >= Length{} && cut->duration > TimeNs{});
    FARSPAN_CHECK(cut->lane >= 0);
    FARSPAN_CHECK(cut->position <=
                  direction.spec.lanes[static_cast<size_t>(cut->lane)].path.length);
  }
}

void CheckRefusal(const Error& error) {
  FARSPAN_CHECK(error.code == ErrorCode::kInvalid && !error.message.empty());
  FARSPAN_CHECK(nlohmann::json::accept(ErrorJson("invalid", error.text())));
}

void CheckRule(const EngineSnapshot& engine, std::string_view body) {
  const auto plan = PlanRule(engine, "chi-nyc", body);
  if (!plan) return CheckRefusal(plan.error());
  FARSPAN_CHECK(!plan->name.empty() && !plan->rules.empty() && plan->rules.size() <= 2);
  for (const auto& [direction, rule] : plan->rules) {
    FARSPAN_CHECK(rule.name == plan->name);
    FARSPAN_CHECK(roce::RuleTable::Validate(rule.conditions).has_value());
  }
}

}  // namespace
}  // namespace farspan::control

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace farspan;
  using namespace farspan::control;
  static const EngineSnapshot engine = TwoLanes();
  constexpr decltype(&PlanSettings) kPlans[] = {PlanSettings, PlanCut, PlanRestore};
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] >= 0x80) {
    CheckRule(engine, body);
    return 0;
  }
  const auto plan = kPlans[data[0] % 3](engine, "chi-nyc", body);
  if (!plan) {
    CheckRefusal(plan.error());
    return 0;
  }
  FARSPAN_CHECK(!plan->empty() && plan->size() <= 2);
  for (const PlannedChange& part : *plan) {
    FARSPAN_CHECK(!part.changes.empty());
    const size_t at = part.direction == Direction::kAb ? 0 : 1;
    for (const link::Change& change : part.changes) CheckChange(engine.directions[at], change);
  }
  return 0;
}
