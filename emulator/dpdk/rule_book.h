// RuleBook: the fault rules of one direction as the control side knows them: names, order, numbers.
//
// A number (PacketRef::rule) is given again only when every packet that its last rule picked has
// entered the fiber or been dropped: until then some wait in a queue for that rule's action. What
// removed rules did is kept, for the certificate.
// Threading: control threads, one at a time. An edit is made, sent to the lcore, and committed once
// it has taken effect.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/config/schema.h"
#include "emulator/roce/rule_table.h"

namespace farspan::dpdk {

// What one rule has done.
struct RuleTally {
  uint64_t matched = 0;  // met its conditions
  uint64_t picked = 0;   // of those, went to the fiber for its action
  uint64_t hits = 0;     // of those, had the action carried out
  uint64_t settled = 0;  // of the picked, reached the fiber or were dropped before
};

struct RuleRecord {
  config::Rule rule;
  uint8_t number = 0;
  TimeNs since{};              // engine time at which it took effect
  TimeNs removed_at = kNever;  // kNever: in force
  RuleTally tally;
};

class RuleBook {
 public:
  static constexpr size_t kMostRemembered = 1000;  // removed rules
  using TallyOf = std::function<RuleTally(uint8_t number)>;

  RuleBook() = default;
  // Rule i has number i + 1.
  RuleBook(std::vector<config::Rule> configured, TallyOf tally);

  // A rule to be added (at the end) or rules to be removed, and the list that comes of it.
  struct Edit {
    std::vector<roce::PlacedRule> placed;
    std::optional<RuleRecord> added;
    std::vector<std::string> removed;
  };
  // kConflict where the name is taken or no number is free.
  Result<Edit> add(const config::Rule& rule);
  // Without a name: all. kNotFound where there is no such rule, kConflict where another waits for
  // it.
  Result<Edit> remove(const std::optional<std::string>& name) const;
  // The edit took effect at `at`.
  void commit(const Edit& edit, TimeNs at);

  bool empty() const { return rules_.empty() && removed_.empty(); }
  // Those in force, in their order, then those removed.
  std::vector<RuleRecord> records() const;

 private:
  void write_down_settled();
  std::optional<uint8_t> free_number() const;
  std::vector<roce::PlacedRule> placed_without(const std::vector<std::string>& names) const;

  std::vector<RuleRecord> rules_;
  std::vector<RuleRecord> removed_;  // number 0: its tally is final
  TallyOf tally_;
};

}  // namespace farspan::dpdk
