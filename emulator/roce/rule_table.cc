#include "emulator/roce/rule_table.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace farspan::roce {

namespace {

bool HoldsPort(const std::optional<PortRange>& range, const FrameView& view, uint16_t port) {
  return !range || (view.has_ports && port >= range->first && port <= range->last);
}

bool HoldsAddress(const std::optional<IpPrefix>& prefix, const FrameView& view,
                  const IpAddress& address) {
  return !prefix || prefix->contains(view.ip_version, address);
}

// Of a good packet.
PacketKind KindOf(const RoceView& roce) {
  switch (roce.opcode_class) {
    case OpcodeClass::kSend:
      return PacketKind::kSend;
    case OpcodeClass::kWrite:
      return PacketKind::kWrite;
    case OpcodeClass::kReadRequest:
      return PacketKind::kReadRequest;
    case OpcodeClass::kReadResponse:
      return PacketKind::kReadResponse;
    case OpcodeClass::kAtomic:
      return PacketKind::kAtomic;
    case OpcodeClass::kAtomicAck:
      return PacketKind::kAtomicAck;
    case OpcodeClass::kAck:
      if (IsNak(roce.ack)) return PacketKind::kNak;
      return roce.ack == AckKind::kRnrNak ? PacketKind::kRnrNak : PacketKind::kAck;
    case OpcodeClass::kFlush:
      return PacketKind::kFlush;
    case OpcodeClass::kDatagram:
      return PacketKind::kDatagram;
    case OpcodeClass::kCnp:
      return PacketKind::kCnp;
    case OpcodeClass::kNone:
    case OpcodeClass::kCount:
      break;
  }
  return PacketKind::kCount;
}

bool IsPart(MessagePart part, Position position) {
  switch (part) {
    case MessagePart::kFirst:
      return StartsMessage(position);
    case MessagePart::kMiddle:
      return position == Position::kMiddle;
    case MessagePart::kLast:
      return EndsMessage(position);
    case MessagePart::kOnly:
      return position == Position::kOnly;
  }
  return false;
}

bool IsIn(const QpRange& range, uint32_t qp) { return qp >= range.first && qp <= range.last; }

bool HoldsNote(const RoceMatch& rule, const QpNote& note) {
  return (!rule.src_qp || (note.src_qp != 0 && IsIn(*rule.src_qp, note.src_qp))) &&
         (!rule.message || (note.message != 0 && *rule.message == note.message)) &&
         (!rule.index || (note.message != 0 && *rule.index == note.index + 1)) &&
         (!rule.retransmission ||
          (note.entry != kNoQueuePair && *rule.retransmission == note.retransmission));
}

bool HoldsRoce(const RoceMatch& rule, const RoceView& roce, const QpNote& note) {
  if (!rule.any()) return true;
  return roce.fault == RoceFault::kNone && (!rule.dest_qp || IsIn(*rule.dest_qp, roce.dest_qp)) &&
         (!rule.psn || rule.psn->holds(roce.psn)) &&
         (rule.opcodes.empty() || rule.opcodes.has(KindOf(roce), roce.opcode)) &&
         (!rule.part || IsPart(*rule.part, roce.position)) &&
         (!rule.immediate || *rule.immediate == roce.has_immediate) &&
         (!rule.ack_request || *rule.ack_request == roce.ack_request) && HoldsNote(rule, note);
}

bool Holds(const RuleMatch& rule, const FrameView& view) {
  const auto& size = rule.frame_size;
  return (!rule.ethertype || *rule.ethertype == view.ethertype) &&
         (!rule.vlan || (view.tagged && *rule.vlan == view.vlan)) &&
         (!rule.protocol || (view.ip_version != 0 && *rule.protocol == view.protocol)) &&
         (!rule.dscp || (view.ip_version != 0 && *rule.dscp == view.dscp)) &&
         (!rule.ecn || (view.ip_version != 0 && (*rule.ecn >> view.ecn & 1) != 0)) &&
         (!size || (view.frame_bytes >= size->first && view.frame_bytes <= size->last)) &&
         HoldsPort(rule.src_port, view, view.src_port) &&
         HoldsPort(rule.dst_port, view, view.dst_port) && HoldsAddress(rule.src, view, view.src) &&
         HoldsAddress(rule.dst, view, view.dst);
}

bool IsOpen(const RuleMatch& rule, TimeNs origin, TimeNs now) {
  return origin != kNever && now - origin >= rule.from && now - origin < rule.until;
}

bool IsPrefixOutOfRange(const std::optional<IpPrefix>& prefix) {
  return prefix && prefix->length > (prefix->ip_version == 4 ? 32 : 128);
}

const char* WhyInvalid(const RuleMatch& rule) {
  const auto reversed = [](const auto& range) { return range && range->first > range->last; };
  if (rule.dscp && *rule.dscp > 63) return "dscp is above 63";
  if (rule.ecn && *rule.ecn > 15) return "ecn has 4 code points";
  if (reversed(rule.roce.dest_qp)) return "the queue pair range ends before it begins";
  if (reversed(rule.roce.src_qp)) return "the source queue pair range ends before it begins";
  if (rule.vlan && *rule.vlan > 4095) return "vlan is above 4095";
  if (IsPrefixOutOfRange(rule.src)) return "the source prefix is longer than an address";
  if (IsPrefixOutOfRange(rule.dst)) return "the destination prefix is longer than an address";
  if (reversed(rule.src_port)) return "the source port range ends before it begins";
  if (reversed(rule.dst_port)) return "the destination port range ends before it begins";
  if (reversed(rule.frame_size)) return "the frame size range ends before it begins";
  if (rule.from >= rule.until) return "the time window ends before it begins";
  if (rule.start == 0) return "start is 0, but packets are counted from 1";
  if (rule.every == 0) return "every is 0: expected 1 or more";
  if (!(rule.probability >= 0 && rule.probability <= 1)) return "probability is not in 0 to 1";
  return nullptr;
}

}  // namespace

Result<void> RuleTable::Validate(const RuleMatch& rule) {
  if (const char* why = WhyInvalid(rule)) return Fail(ErrorCode::kInvalid, why);
  return {};
}

Result<RuleTable> RuleTable::Create(const std::vector<RuleMatch>& rules, TimeNs link_start,
                                    StreamKey key) {
  if (rules.size() > kMaxRules) {
    return Fail(ErrorCode::kInvalid, "a direction has " + std::to_string(rules.size()) +
                                         " fault rules: at most " + std::to_string(kMaxRules));
  }
  std::vector<PlacedRule> placed;
  for (size_t i = 0; i < rules.size(); ++i) {
    if (const char* why = WhyInvalid(rules[i])) {
      return Fail(ErrorCode::kInvalid, why, "fault rule " + std::to_string(i));
    }
    placed.push_back({.match = rules[i], .number = static_cast<uint8_t>(i + 1)});
  }
  RuleTable table;
  table.key_ = key;
  table.exchange(placed, link_start);
  return table;
}

void RuleTable::exchange(std::vector<PlacedRule>& rules, TimeNs now) {
  std::swap(rules_, rules);
  looks_at_roce_ = std::any_of(rules_.begin(), rules_.end(),
                               [](const PlacedRule& rule) { return rule.match.roce.any(); });
  for (PlacedRule& rule : rules_) {
    if (!std::exchange(rule.fresh, false)) continue;
    Slot& slot = slots_->at(rule.number);
    slot.seen = slot.picked = 0;
    slot.origin = rule.match.after == 0 ? now : kNever;
    slot.total_matched.store(0, std::memory_order_relaxed);
    slot.total_picked.store(0, std::memory_order_relaxed);
  }
}

void RuleTable::start_epoch() {
  for (const PlacedRule& rule : rules_) {
    Slot& slot = slots_->at(rule.number);
    slot.seen = slot.picked = 0;
    if (rule.match.after != 0) slot.origin = kNever;
  }
}

RuleCounts RuleTable::counts(uint8_t number) const {
  const Slot& slot = slots_->at(number);
  return {slot.total_matched.load(std::memory_order_relaxed),
          slot.total_picked.load(std::memory_order_relaxed)};
}

bool RuleTable::picks(const RuleMatch& rule, uint8_t number) const {
  const Slot& slot = (*slots_)[number];
  return slot.seen >= rule.start && (slot.seen - rule.start) % rule.every == 0 &&
         (rule.count == 0 || slot.picked < rule.count) &&
         (rule.probability >= 1 ||
          ToUnit(Draw(key_, RandomPurpose::kFault, slot.seen, number).lo) < rule.probability);
}

// Every rule looks at every frame, so that its count does not depend on the rules before it.
uint8_t RuleTable::match_all(const FrameView& view, TimeNs now, std::span<const uint8_t> bytes,
                             const QpNote& note) {
  const RoceView roce = looks_at_roce_ ? ParseRoce(bytes, view) : RoceView{};
  uint8_t first = 0;
  for (const PlacedRule& rule : rules_) {
    Slot& slot = (*slots_)[rule.number];
    if (!IsOpen(rule.match, slot.origin, now) || !Holds(rule.match, view) ||
        !HoldsRoce(rule.match.roce, roce, note)) {
      continue;
    }
    ++slot.seen;
    Add(slot.total_matched, 1);
    if (first != 0 || !picks(rule.match, rule.number)) continue;
    ++slot.picked;
    Add(slot.total_picked, 1);
    first = rule.number;
  }
  if (first != 0) open_windows_after(first, now);
  return first;
}

void RuleTable::open_windows_after(uint8_t number, TimeNs now) {
  for (const PlacedRule& rule : rules_) {
    if (rule.match.after == number) (*slots_)[rule.number].origin = now;
  }
}

}  // namespace farspan::roce
