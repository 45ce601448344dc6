#include "emulator/control/api.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <variant>

#include "emulator/config/changes.h"
#include "emulator/config/rules.h"

namespace farspan::control {
namespace {

using Fields = std::map<std::string, std::string>;

Result<std::string> FieldText(const std::string& key, const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  return Fail(ErrorCode::kInvalid,
              fmt::format("\"{}\" must be a text such as \"10 Gbps\", or a number", key));
}

Result<Fields> ParseFlatObject(std::string_view body) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) return Fields{};
  std::set<std::string> keys;
  std::string twice;
  const auto on_event = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (event == nlohmann::json::parse_event_t::key && !keys.insert(parsed).second) {
      twice = parsed;
    }
    return true;
  };
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(body, on_event);
  } catch (const nlohmann::json::exception& e) {
    const std::string_view what = e.what();
    return Fail(ErrorCode::kInvalid,
                fmt::format("the body is not JSON: {}", what.substr(what.find(']') + 2)));
  }
  if (!object.is_object()) {
    return Fail(ErrorCode::kInvalid,
                "the body must be a JSON object, as in {\"rate\": \"1 Gbps\"}");
  }
  if (!twice.empty()) {
    return Fail(ErrorCode::kInvalid, fmt::format("\"{}\" is given twice", twice));
  }
  Fields fields;
  for (const auto& [key, value] : object.items()) {
    Result<std::string> text = FieldText(key, value);
    if (!text) return tl::unexpected(text.error());
    fields.emplace(key, std::move(*text));
  }
  return fields;
}

std::optional<std::string> Take(Fields& fields, const std::string& key) {
  auto node = fields.extract(key);
  if (node.empty()) return std::nullopt;
  return std::move(node.mapped());
}

Result<void> CheckNoneLeft(const Fields& fields, std::string_view known) {
  if (fields.empty()) return {};
  return Fail(ErrorCode::kInvalid,
              fmt::format("unknown key \"{}\"; expected {}", fields.begin()->first, known));
}

// The directions of one link that a request means, and the lane if it names one.
struct Target {
  std::vector<const DirectionSnapshot*> directions;  // not empty
  std::optional<int> lane;
};

Result<std::vector<const DirectionSnapshot*>> FindLink(const EngineSnapshot& engine,
                                                       std::string_view link) {
  std::vector<const DirectionSnapshot*> found;
  for (const DirectionSnapshot& d : engine.directions) {
    if (d.link == link) found.push_back(&d);
  }
  if (found.empty()) return tl::unexpected(NoSuchLink(engine, link));
  return found;
}

Result<int> ParseLane(const std::string& text, const std::vector<const DirectionSnapshot*>& of) {
  int lane = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), lane);
  size_t lanes = of.front()->spec.lanes.size();
  for (const DirectionSnapshot* d : of) lanes = std::min(lanes, d->spec.lanes.size());
  if (error != std::errc{} || end != text.data() + text.size() || lane < 0 ||
      static_cast<size_t>(lane) >= lanes) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("\"lane\" is {}; the link has lanes 0 to {}", text, lanes - 1));
  }
  return lane;
}

// Takes "direction" and "lane" out of the fields.
Result<Target> TakeTarget(const EngineSnapshot& engine, std::string_view link, Fields& fields) {
  auto found = FindLink(engine, link);
  if (!found) return tl::unexpected(found.error());
  Target target{std::move(*found), {}};
  if (const auto text = Take(fields, "direction")) {
    if (*text != "ab" && *text != "ba") {
      return Fail(
          ErrorCode::kInvalid,
          fmt::format("\"direction\" is \"{}\"; expected \"ab\" or \"ba\", or none for both",
                      *text));
    }
    std::erase_if(target.directions,
                  [&](const DirectionSnapshot* d) { return ToText(d->direction) != *text; });
    if (target.directions.empty()) {
      return Fail(ErrorCode::kNotFound, fmt::format("the link has no direction {}", *text));
    }
  }
  if (const auto text = Take(fields, "lane")) {
    const Result<int> lane = ParseLane(*text, target.directions);
    if (!lane) return tl::unexpected(lane.error());
    target.lane = *lane;
  }
  return target;
}

// `position` counts from the link's first site; the model's from the sending one.
Result<std::vector<link::Change>> CutsOf(const DirectionSnapshot& direction,
                                         std::optional<int> lane, Length position,
                                         TimeNs duration) {
  std::vector<link::Change> cuts;
  const int first = lane.value_or(0);
  const int last = lane.value_or(static_cast<int>(direction.spec.lanes.size()) - 1);
  for (int i = first; i <= last; ++i) {
    const Length length = direction.spec.lanes[static_cast<size_t>(i)].path.length;
    if (position > length) {
      return Fail(ErrorCode::kInvalid,
                  length.mm == 0
                      ? fmt::format("lane {} has a delay but no length: it can only be cut at its "
                                    "first site (leave \"position\" out)",
                                    i)
                      : fmt::format("\"position\" {} is beyond the end of lane {} at {}",
                                    ToText(position), i, ToText(length)));
    }
    const bool forward = direction.direction == Direction::kAb;
    cuts.emplace_back(link::Cut{i, forward ? position : Length{length.mm - position.mm}, duration});
  }
  return cuts;
}

template <typename ChangesOf>  // Result<vector<Change>>(const DirectionSnapshot&)
Result<Plan> ForEach(const Target& target, ChangesOf changes_of) {
  Plan plan;
  for (const DirectionSnapshot* direction : target.directions) {
    Result<std::vector<link::Change>> changes = changes_of(*direction);
    if (!changes) return tl::unexpected(changes.error());
    plan.push_back({direction->direction, std::move(*changes)});
  }
  return plan;
}

struct Parsed {
  Fields fields;  // without "direction" and "lane"
  Target target;
};

Result<Parsed> ParseRequest(const EngineSnapshot& engine, std::string_view link,
                            std::string_view body) {
  auto fields = ParseFlatObject(body);
  if (!fields) return tl::unexpected(fields.error());
  auto target = TakeTarget(engine, link, *fields);
  if (!target) return tl::unexpected(target.error());
  return Parsed{std::move(*fields), std::move(*target)};
}

tl::unexpected<Error> About(std::string_view key, Error error) {
  error.message = fmt::format("\"{}\": {}", key, error.message);
  return tl::unexpected(std::move(error));
}

}  // namespace

Error NoSuchLink(const EngineSnapshot& engine, std::string_view link) {
  std::set<std::string_view> names;
  for (const DirectionSnapshot& d : engine.directions) names.insert(d.link);
  return {ErrorCode::kNotFound,
          fmt::format("no link \"{}\"; this engine has: {}", link, fmt::join(names, ", ")),
          {}};
}

Result<Plan> PlanSettings(const EngineSnapshot& engine, std::string_view link,
                          std::string_view body) {
  const Result<Parsed> request = ParseRequest(engine, link, body);
  if (!request) return tl::unexpected(request.error());
  if (request->fields.empty()) {
    return Fail(ErrorCode::kInvalid,
                "no setting is given; expected one, as in "
                "{\"distance\": \"700 km\"}");
  }
  Fields settings = request->fields;
  if (request->target.lane) settings.emplace("lane", std::to_string(*request->target.lane));
  return ForEach(request->target,
                 [&](const DirectionSnapshot& d) { return config::ChangesFrom(d.spec, settings); });
}

Result<Plan> PlanCut(const EngineSnapshot& engine, std::string_view link, std::string_view body) {
  Result<Parsed> request = ParseRequest(engine, link, body);
  if (!request) return tl::unexpected(request.error());
  TimeNs duration = kNever;
  if (const auto text = Take(request->fields, "for")) {
    const Result<TimeNs> parsed = ParseTime(*text);
    if (!parsed) return About("for", parsed.error());
    if (*parsed <= TimeNs{}) {
      return Fail(ErrorCode::kInvalid, "\"for\" must be longer than nothing, as in \"50 ms\"");
    }
    duration = *parsed;
  }
  Length position;
  if (const auto text = Take(request->fields, "position")) {
    const Result<Length> parsed = ParseLength(*text);
    if (!parsed) return About("position", parsed.error());
    if (*parsed < Length{}) {
      return Fail(ErrorCode::kInvalid, "\"position\" counts from the first site: 0 km or more");
    }
    position = *parsed;
  }
  if (auto rest = CheckNoneLeft(request->fields, "for, position, direction or lane"); !rest) {
    return tl::unexpected(rest.error());
  }
  return ForEach(request->target, [&](const DirectionSnapshot& d) {
    return CutsOf(d, request->target.lane, position, duration);
  });
}

Result<Plan> PlanRestore(const EngineSnapshot& engine, std::string_view link,
                         std::string_view body) {
  const Result<Parsed> request = ParseRequest(engine, link, body);
  if (!request) return tl::unexpected(request.error());
  if (auto rest = CheckNoneLeft(request->fields, "direction or lane"); !rest) {
    return tl::unexpected(rest.error());
  }
  const int lane = request->target.lane.value_or(link::kAllLanes);
  return ForEach(request->target, [&](const DirectionSnapshot&) {
    return Result<std::vector<link::Change>>{{link::Restore{lane}}};
  });
}

namespace {

// r and a number that no rule of the link has had.
std::string NextRuleName(const EngineSnapshot& engine, std::string_view link) {
  uint64_t last = 0;
  for (const DirectionSnapshot& d : engine.directions) {
    if (d.link != link) continue;
    for (const RuleSnapshot& rule : d.rules) {
      if (!rule.name.starts_with('r')) continue;
      uint64_t number = 0;
      const char* end = rule.name.data() + rule.name.size();
      const auto parsed = std::from_chars(rule.name.data() + 1, end, number);
      if (parsed.ec == std::errc{} && parsed.ptr == end) last = std::max(last, number);
    }
  }
  return "r" + std::to_string(last + 1);
}

config::RuleNames NamesIn(const DirectionSnapshot& d) {
  config::RuleNames names{.events = d.events, .rules = {}};
  for (const RuleSnapshot& rule : d.rules) {
    if (rule.removed_at == kNever) names.rules.push_back({rule.name, rule.number});
  }
  return names;
}

Error NoLanes() { return {ErrorCode::kInvalid, "a rule is for all lanes: leave \"lane\" out", {}}; }

}  // namespace

Result<PlannedRule> PlanRule(const EngineSnapshot& engine, std::string_view link,
                             std::string_view body) {
  const Result<Parsed> request = ParseRequest(engine, link, body);
  if (!request) return tl::unexpected(request.error());
  if (request->target.lane) return tl::unexpected(NoLanes());
  PlannedRule plan;
  for (const DirectionSnapshot* d : request->target.directions) {
    Result<config::Rule> rule = config::RuleFrom(request->fields, NamesIn(*d));
    if (!rule) return tl::unexpected(rule.error());
    if (rule->name.empty()) rule->name = NextRuleName(engine, link);
    for (const RuleSnapshot& other : d->rules) {
      if (other.name != rule->name || other.removed_at != kNever) continue;
      return Fail(ErrorCode::kConflict, fmt::format("there is a rule \"{}\" already", rule->name));
    }
    plan.name = rule->name;
    plan.rules.emplace_back(d->direction, std::move(*rule));
  }
  return plan;
}

Result<std::vector<Direction>> PlanRemoval(const EngineSnapshot& engine, std::string_view link,
                                           const std::optional<std::string>& name,
                                           std::string_view body) {
  const Result<Parsed> request = ParseRequest(engine, link, body);
  if (!request) return tl::unexpected(request.error());
  if (request->target.lane) return tl::unexpected(NoLanes());
  if (auto rest = CheckNoneLeft(request->fields, "direction"); !rest) {
    return tl::unexpected(rest.error());
  }
  std::vector<Direction> directions;
  for (const DirectionSnapshot* d : request->target.directions) {
    const bool has = std::any_of(d->rules.begin(), d->rules.end(), [&](const RuleSnapshot& rule) {
      return rule.removed_at == kNever && (!name || rule.name == *name);
    });
    if (has) directions.push_back(d->direction);
  }
  // Nothing to clear is no error; of a name the engine says what there is instead.
  if (directions.empty() && name)
    directions.push_back(request->target.directions.front()->direction);
  return directions;
}

Result<void> CheckEmpty(std::string_view body) {
  const Result<Fields> fields = ParseFlatObject(body);
  if (!fields) return tl::unexpected(fields.error());
  return CheckNoneLeft(*fields, "an empty object");
}

}  // namespace farspan::control
