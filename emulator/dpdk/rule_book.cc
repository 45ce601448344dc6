#include "emulator/dpdk/rule_book.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace farspan::dpdk {
namespace {

const RuleRecord* Find(const std::vector<RuleRecord>& rules, const std::string& name) {
  const auto at = std::find_if(rules.begin(), rules.end(),
                               [&](const RuleRecord& r) { return r.rule.name == name; });
  return at == rules.end() ? nullptr : &*at;
}

}  // namespace

RuleBook::RuleBook(std::vector<config::Rule> configured, TallyOf tally) : tally_(std::move(tally)) {
  for (config::Rule& rule : configured) {
    const auto number = static_cast<uint8_t>(rules_.size() + 1);
    rules_.push_back({.rule = std::move(rule), .number = number, .since = {}, .tally = {}});
  }
}

// A removed rule that no packet waits for is written down, so that its number may be given again.
void RuleBook::write_down_settled() {
  for (RuleRecord& record : removed_) {
    if (record.number == 0) continue;
    const RuleTally tally = tally_(record.number);
    if (tally.settled != tally.picked) continue;
    record.tally = tally;
    record.number = 0;
  }
  while (removed_.size() > kMostRemembered && removed_.front().number == 0) {
    removed_.erase(removed_.begin());
  }
}

std::optional<uint8_t> RuleBook::free_number() const {
  std::array<bool, roce::kMaxRules + 1> taken{};
  for (const auto* list : {&rules_, &removed_}) {
    for (const RuleRecord& record : *list) taken[record.number] = true;
  }
  const auto* free = std::find(taken.begin() + 1, taken.end(), false);
  if (free == taken.end()) return std::nullopt;
  return static_cast<uint8_t>(free - taken.begin());
}

std::vector<roce::PlacedRule> RuleBook::placed_without(
    const std::vector<std::string>& names) const {
  std::vector<roce::PlacedRule> placed;
  for (const RuleRecord& r : rules_) {
    if (std::find(names.begin(), names.end(), r.rule.name) != names.end()) continue;
    placed.push_back({.match = r.rule.conditions, .number = r.number, .fresh = false});
  }
  return placed;
}

Result<RuleBook::Edit> RuleBook::add(const config::Rule& rule) {
  if (auto valid = roce::RuleTable::Validate(rule.conditions); !valid) {
    return tl::unexpected(valid.error());
  }
  if (Find(rules_, rule.name) != nullptr) {
    return Fail(ErrorCode::kConflict, fmt::format("there is a rule \"{}\" already", rule.name));
  }
  write_down_settled();
  const std::optional<uint8_t> number = free_number();
  if (!number) {
    return Fail(ErrorCode::kConflict,
                fmt::format("at most {} rules are in force or still have packets waiting for them: "
                            "remove some, or try again",
                            roce::kMaxRules));
  }
  Edit edit{.placed = placed_without({}), .added = {}, .removed = {}};
  edit.placed.push_back({.match = rule.conditions, .number = *number});
  edit.added = {.rule = rule, .number = *number, .since = {}, .tally = {}};
  return edit;
}

Result<RuleBook::Edit> RuleBook::remove(const std::optional<std::string>& name) const {
  Edit edit;
  if (!name) {
    for (const RuleRecord& r : rules_) edit.removed.push_back(r.rule.name);
    return edit;
  }
  const RuleRecord* found = Find(rules_, *name);
  if (found == nullptr) {
    std::string names;
    for (const RuleRecord& r : rules_) names += (names.empty() ? "" : ", ") + r.rule.name;
    return Fail(ErrorCode::kNotFound, fmt::format("no rule \"{}\"; in force are: {}", *name,
                                                  names.empty() ? "none" : names));
  }
  for (const RuleRecord& r : rules_) {
    if (r.rule.conditions.after != found->number || &r == found) continue;
    return Fail(ErrorCode::kConflict,
                fmt::format("rule \"{}\" waits for \"{}\": remove it first", r.rule.name, *name));
  }
  edit.removed = {*name};
  edit.placed = placed_without(edit.removed);
  return edit;
}

void RuleBook::commit(const Edit& edit, TimeNs at) {
  const auto is_removed = [&](const RuleRecord& r) {
    return std::find(edit.removed.begin(), edit.removed.end(), r.rule.name) != edit.removed.end();
  };
  for (RuleRecord& record : rules_) {
    if (!is_removed(record)) continue;
    record.removed_at = at;
    removed_.push_back(record);
  }
  std::erase_if(rules_, is_removed);
  if (edit.added) {
    rules_.push_back(*edit.added);
    rules_.back().since = at;
  }
}

std::vector<RuleRecord> RuleBook::records() const {
  std::vector<RuleRecord> all = rules_;
  all.insert(all.end(), removed_.begin(), removed_.end());
  for (RuleRecord& record : all) {
    if (record.number != 0) record.tally = tally_(record.number);
  }
  return all;
}

}  // namespace farspan::dpdk
