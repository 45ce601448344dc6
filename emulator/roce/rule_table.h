// RuleTable: the fault rules of one direction, matched at ingress.
//
// The driver writes the result into PacketRef::rule; the action happens on entering the fiber
// (link::FaultSpec with the same index). Matching counts, so a table belongs to one thread. Nothing
// is allocated after Create.
#pragma once

#include <cstdint>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/roce/frame_view.h"
#include "emulator/roce/rule_match.h"

namespace farspan::roce {

class RuleTable {
 public:
  // PacketRef::rule has 8 bits, and 0 means none.
  static constexpr size_t kMaxRules = 254;

  RuleTable() = default;
  // `link_start`: what the rules' windows count from.
  static Result<RuleTable> Create(const std::vector<RuleMatch>& rules, TimeNs link_start);

  // 1 + index of the first rule that picks the frame, 0 for none. Call it once for every frame, in
  // order of arrival, with the arrival's time.
  uint8_t match(const FrameView& view, TimeNs now) {
    return rules_.empty() ? 0 : match_all(view, now);
  }

  size_t size() const { return rules_.size(); }
  uint64_t picked(size_t index) const { return rules_[index].picked; }

 private:
  struct Rule {
    RuleMatch match;
    uint64_t seen = 0;
    uint64_t picked = 0;
  };

  uint8_t match_all(const FrameView& view, TimeNs now);

  std::vector<Rule> rules_;
  TimeNs link_start_{};
};

}  // namespace farspan::roce
