// RuleTable: the fault rules of one direction, matched at ingress.
//
// The driver writes the result into PacketRef::rule; the action happens on entering the fiber
// (link::FaultTable, by the same number). Matching counts, so a table belongs to one thread; that
// thread exchanges the list of rules, too, and counts() may be called from any. Nothing is
// allocated after Create.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "emulator/base/random.h"
#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/roce/frame_view.h"
#include "emulator/roce/qp_note.h"
#include "emulator/roce/rule_match.h"

namespace farspan::roce {

struct PlacedRule {
  RuleMatch match;
  uint8_t number = 1;  // PacketRef::rule
  bool fresh = true;   // begins as the list takes effect; else its counts and origin go on
};

// Of a rule's life, over all epochs.
struct RuleCounts {
  uint64_t matched = 0;  // met the conditions
  uint64_t picked = 0;   // went to the fiber with the rule's number
};

class RuleTable {
 public:
  RuleTable() = default;
  // Rule i is number i + 1. `link_start`: their origin. `key`: of the direction.
  static Result<RuleTable> Create(const std::vector<RuleMatch>& rules, TimeNs link_start,
                                  StreamKey key = {});
  static Result<void> Validate(const RuleMatch& rule);

  // The number of the first rule that picks the frame, 0 for none. Call it once for every frame, in
  // order of arrival, with the arrival's time. `bytes` are those of `view`, for rules that look at
  // RoCE's headers; `note` is the observer's, for those that need one.
  uint8_t match(const FrameView& view, TimeNs now, std::span<const uint8_t> bytes = {},
                const QpNote& note = {}) {
    return rules_.empty() ? 0 : match_all(view, now, bytes, note);
  }
  // A picked frame that did not enter the link after all.
  void give_back(uint8_t number) { Add(slots_->at(number).total_picked, -1); }

  // From now on, in this order; every number is there once. The old list is in `rules` afterwards,
  // for its owner to free.
  void exchange(std::vector<PlacedRule>& rules, TimeNs now);
  void start_epoch();

  size_t size() const { return rules_.size(); }
  RuleCounts counts(uint8_t number) const;

 private:
  struct Slot {
    uint64_t seen = 0;  // in this epoch, as `picked`
    uint64_t picked = 0;
    TimeNs origin{};
    std::atomic<uint64_t> total_matched{0};
    std::atomic<uint64_t> total_picked{0};
  };
  using Slots = std::array<Slot, kMaxRules + 1>;

  static void Add(std::atomic<uint64_t>& counter, int change) {  // of a single writer
    counter.store(counter.load(std::memory_order_relaxed) + static_cast<uint64_t>(change),
                  std::memory_order_relaxed);
  }
  uint8_t match_all(const FrameView& view, TimeNs now, std::span<const uint8_t> bytes,
                    const QpNote& note);
  bool picks(const RuleMatch& rule, uint8_t number) const;
  void open_windows_after(uint8_t number, TimeNs now);

  std::vector<PlacedRule> rules_;
  bool looks_at_roce_ = false;  // any of them
  std::unique_ptr<Slots> slots_ = std::make_unique<Slots>();
  StreamKey key_;
};

}  // namespace farspan::roce
