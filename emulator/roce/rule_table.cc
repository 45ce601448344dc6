#include "emulator/roce/rule_table.h"

#include <optional>
#include <string>

namespace farspan::roce {

namespace {

bool HoldsPort(const std::optional<PortRange>& range, const FrameView& view, uint16_t port) {
  return !range || (view.has_ports && port >= range->first && port <= range->last);
}

bool HoldsAddress(const std::optional<IpPrefix>& prefix, const FrameView& view,
                  const IpAddress& address) {
  return !prefix || prefix->contains(view.ip_version, address);
}

bool Holds(const RuleMatch& rule, const FrameView& view, TimeNs since_start) {
  const auto& size = rule.frame_size;
  return since_start >= rule.from && since_start < rule.until &&
         (!rule.ethertype || *rule.ethertype == view.ethertype) &&
         (!rule.vlan || (view.tagged && *rule.vlan == view.vlan)) &&
         (!rule.protocol || (view.ip_version != 0 && *rule.protocol == view.protocol)) &&
         (!rule.dscp || (view.ip_version != 0 && *rule.dscp == view.dscp)) &&
         (!size || (view.frame_bytes >= size->first && view.frame_bytes <= size->last)) &&
         HoldsPort(rule.src_port, view, view.src_port) &&
         HoldsPort(rule.dst_port, view, view.dst_port) && HoldsAddress(rule.src, view, view.src) &&
         HoldsAddress(rule.dst, view, view.dst);
}

bool IsPicked(const RuleMatch& rule, uint64_t number, uint64_t picked) {
  return number >= rule.start && (number - rule.start) % rule.every == 0 &&
         (rule.count == 0 || picked < rule.count);
}

bool IsPrefixOutOfRange(const std::optional<IpPrefix>& prefix) {
  return prefix && prefix->length > (prefix->ip_version == 4 ? 32 : 128);
}

const char* WhyInvalid(const RuleMatch& rule) {
  const auto reversed = [](const auto& range) { return range && range->first > range->last; };
  if (rule.dscp && *rule.dscp > 63) return "dscp is above 63";
  if (rule.vlan && *rule.vlan > 4095) return "vlan is above 4095";
  if (IsPrefixOutOfRange(rule.src)) return "the source prefix is longer than an address";
  if (IsPrefixOutOfRange(rule.dst)) return "the destination prefix is longer than an address";
  if (reversed(rule.src_port)) return "the source port range ends before it begins";
  if (reversed(rule.dst_port)) return "the destination port range ends before it begins";
  if (reversed(rule.frame_size)) return "the frame size range ends before it begins";
  if (rule.from >= rule.until) return "the time window ends before it begins";
  if (rule.start == 0) return "start is 0, but packets are counted from 1";
  if (rule.every == 0) return "every is 0: expected 1 or more";
  return nullptr;
}

}  // namespace

Result<RuleTable> RuleTable::Create(const std::vector<RuleMatch>& rules, TimeNs link_start) {
  if (rules.size() > kMaxRules) {
    return Fail(ErrorCode::kInvalid, "a direction has " + std::to_string(rules.size()) +
                                         " fault rules: at most " + std::to_string(kMaxRules));
  }
  RuleTable table;
  table.link_start_ = link_start;
  for (size_t i = 0; i < rules.size(); ++i) {
    if (const char* why = WhyInvalid(rules[i])) {
      return Fail(ErrorCode::kInvalid, why, "fault rule " + std::to_string(i));
    }
    table.rules_.push_back({rules[i]});
  }
  return table;
}

// Every rule looks at every frame, so that its count does not depend on the rules before it.
uint8_t RuleTable::match_all(const FrameView& view, TimeNs now) {
  const TimeNs since_start = now - link_start_;
  uint8_t first = 0;
  for (size_t i = 0; i < rules_.size(); ++i) {
    Rule& rule = rules_[i];
    if (!Holds(rule.match, view, since_start)) continue;
    ++rule.seen;
    if (first != 0 || !IsPicked(rule.match, rule.seen, rule.picked)) continue;
    ++rule.picked;
    first = static_cast<uint8_t>(i + 1);
  }
  return first;
}

}  // namespace farspan::roce
