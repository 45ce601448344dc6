#include <algorithm>

#include "emulator/base/nearest.h"
#include "emulator/config/overrides.h"
#include "emulator/config/ports.h"
#include "emulator/config/readers.h"
#include "emulator/config/rule_line.h"
#include "emulator/config/rules.h"

namespace farspan::config {
namespace {

using link::FaultKind;
using link::FaultSpec;
using roce::RuleMatch;

constexpr Word<FaultKind> kActions[] = {
    {"pass", FaultKind::kPass},       {"drop", FaultKind::kDrop},
    {"delay", FaultKind::kDelay},     {"duplicate", FaultKind::kDuplicate},
    {"corrupt", FaultKind::kCorrupt}, {"mark", FaultKind::kMark},
    {"trigger", FaultKind::kTrigger}};
constexpr Word<uint16_t> kEthertypes[] = {
    {"ipv4", 0x0800}, {"arp", 0x0806}, {"ipv6", 0x86dd}, {"lldp", 0x88cc}};

constexpr Word<roce::PacketKind> kKinds[] = {{"send", roce::PacketKind::kSend},
                                             {"write", roce::PacketKind::kWrite},
                                             {"read_request", roce::PacketKind::kReadRequest},
                                             {"read_response", roce::PacketKind::kReadResponse},
                                             {"atomic", roce::PacketKind::kAtomic},
                                             {"atomic_ack", roce::PacketKind::kAtomicAck},
                                             {"ack", roce::PacketKind::kAck},
                                             {"nak", roce::PacketKind::kNak},
                                             {"rnr_nak", roce::PacketKind::kRnrNak},
                                             {"flush", roce::PacketKind::kFlush},
                                             {"datagram", roce::PacketKind::kDatagram},
                                             {"cnp", roce::PacketKind::kCnp}};
constexpr Word<roce::MessagePart> kParts[] = {{"first", roce::MessagePart::kFirst},
                                              {"middle", roce::MessagePart::kMiddle},
                                              {"last", roce::MessagePart::kLast},
                                              {"only", roce::MessagePart::kOnly}};
constexpr Word<uint8_t> kEcn[] = {
    {"not-ect", 1 << 0}, {"ect1", 1 << 1}, {"ect0", 1 << 2}, {"ce", 1 << 3}, {"ect", 3 << 1}};

// Keys that are no conditions; of those, the ones that say how often and when.
constexpr std::string_view kOtherKeys[] = {"name", "match", "action", "delay", "event"};
constexpr std::string_view kLimitKeys[] = {"probability", "nth",   "every", "count",
                                           "from",        "until", "for",   "after"};

bool IsIn(std::span<const std::string_view> keys, std::string_view key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

template <typename T>
void ReadOptional(Section& section, std::string_view key, std::optional<T>& out,
                  Result<T> (*parse)(std::string_view)) {
  if (const toml::node* node = section.find(key)) out = section.quantity(*node, key, parse);
}

void ReadFields(Section& section, RuleMatch& match) {
  ReadOptional(section, "src", match.src, ParsePrefix);
  ReadOptional(section, "dst", match.dst, ParsePrefix);
  ReadOptional(section, "src_port", match.src_port, ParsePortRange);
  ReadOptional(section, "dst_port", match.dst_port, ParsePortRange);
  ReadOptional(section, "protocol", match.protocol, ParseProtocol);
  if (const toml::node* node = section.find("dscp")) match.dscp = ReadDscp(section, *node, "dscp");
  uint16_t vlan = 0;
  if (section.read_count("vlan", vlan, 0, 4095)) match.vlan = vlan;
  uint16_t ethertype = 0;
  const toml::node* type = section.find("ethertype");
  if (type &&
      (type->is_integer() ? section.read_count("ethertype", ethertype)
                          : section.read_word<uint16_t>("ethertype", ethertype, kEthertypes))) {
    match.ethertype = ethertype;
  }
  const std::vector<const toml::node*> sizes = section.elements("frame_size");
  if (sizes.empty()) return;
  if (sizes.size() != 2) return section.fail("frame_size", "expected [\"64 B\", \"1518 B\"]");
  const auto least = section.quantity(*sizes[0], "frame_size", ParseBytes);
  const auto most = section.quantity(*sizes[1], "frame_size", ParseBytes);
  if (!least || !most) return;
  if (*least > *most || *most > 1'000'000) {
    return section.fail("frame_size", "expected the smaller size first, both without FCS");
  }
  match.frame_size = {static_cast<uint32_t>(*least), static_cast<uint32_t>(*most)};
}

// One of an opcode's values: words apart by commas, or a number.
void ReadOpcode(Section& section, const toml::node& node, roce::OpcodeSet& opcodes) {
  if (node.is_integer()) {
    if (const auto code = section.count(node, "opcode", 0, 255)) {
      opcodes.add(static_cast<uint8_t>(*code));
    }
    return;
  }
  const auto text = section.text(node, "opcode");
  if (!text) return;
  for (size_t at = 0; at <= text->size();) {
    const size_t comma = std::min(text->find(',', at), text->size());
    const std::string word = text->substr(at, comma - at);
    at = comma + 1;
    const auto* found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                     [&](const auto& kind) { return kind.text == word; });
    if (found != std::end(kKinds)) {
      opcodes.add(found->value);
    } else if (const auto code = ParseOpcode(word)) {
      opcodes.add(*code);
    } else {
      std::vector<std::string_view> known;
      for (const auto& kind : kKinds) known.push_back(kind.text);
      const std::string hint = DidYouMean(word, known);
      return section.fail(node, "opcode", code.error().message + (hint.empty() ? "" : "; " + hint));
    }
  }
}

template <typename T>
void ReadOptional(Section& section, std::string_view key, std::optional<T>& out, T most) {
  T value = 0;
  if (section.read_count(key, value, 1, most)) out = value;
}

void ReadOptional(Section& section, std::string_view key, std::optional<bool>& out) {
  bool value = false;
  if (section.read(key, value)) out = value;
}

void ReadRoce(Section& section, RuleMatch& match) {
  roce::RoceMatch& roce = match.roce;
  ReadOptional(section, "qp", roce.dest_qp, ParseQpRange);
  ReadOptional(section, "src_qp", roce.src_qp, ParseQpRange);
  ReadOptional(section, "psn", roce.psn, ParsePsnRange);
  if (const toml::node* node = section.find("opcode")) {
    if (!node->is_array()) ReadOpcode(section, *node, roce.opcodes);
    if (node->is_array()) {
      for (const toml::node* one : section.elements("opcode")) {
        ReadOpcode(section, *one, roce.opcodes);
      }
      if (roce.opcodes.empty()) section.fail("opcode", "expected one or more");
    }
  }
  roce::MessagePart part{};
  if (section.read_word<roce::MessagePart>("part", part, kParts)) roce.part = part;
  ReadOptional(section, "immediate", roce.immediate);
  ReadOptional(section, "ack_request", roce.ack_request);
  ReadOptional<uint64_t>(section, "message", roce.message, INT64_MAX);
  ReadOptional<uint32_t>(section, "index", roce.index, UINT32_MAX);
  ReadOptional(section, "retransmission", roce.retransmission);
  uint8_t ecn = 0;
  if (section.read_word<uint8_t>("ecn", ecn, kEcn)) match.ecn = ecn;
}

void ReadLimits(Section& section, const RuleNames& names, RuleMatch& match) {
  const bool nth = section.read_count("nth", match.start, 1, INT64_MAX);
  const bool every = section.read_count("every", match.every, 1, INT64_MAX);
  if (every && !nth) match.start = match.every;
  if (nth && !every) match.count = 1;
  section.read_count("count", match.count, 1, INT64_MAX);
  section.read_probability("probability", match.probability);
  section.read("from", match.from);
  const std::string_view end = section.one_of({"until", "for"});
  if (!end.empty()) section.read(end, match.until);
  if (end == "for") match.until += match.from;
  if (match.until <= match.from) {
    section.fail(end, end == "for" ? "expected longer than nothing, as in \"5 ms\""
                                   : "expected a time after \"from\"");
  }
  std::string after;
  if (!section.read("after", after)) return;
  std::vector<std::string_view> known;
  for (const RuleNames::Numbered& rule : names.rules) {
    known.push_back(rule.name);
    if (rule.name == after) match.after = rule.number;
  }
  if (match.after != 0) return;
  const std::string hint = DidYouMean(after, known);
  section.fail("after", "no rule of this direction is called \"" + after + "\"; " +
                            (hint.empty() ? "expected the name of one" : hint));
}

void ReadTrigger(Section& section, const std::vector<NamedEvent>& events, FaultSpec& fault) {
  std::string name;
  if (!section.read("event", name)) {
    return section.fail("has no \"event\"; expected the name of a timeline event with \"after\"");
  }
  const auto found = std::find_if(events.begin(), events.end(),
                                  [&](const NamedEvent& event) { return event.name == name; });
  if (found != events.end()) {
    fault.event = found->index;
    return;
  }
  std::string known;
  for (const NamedEvent& event : events) known += (known.empty() ? "" : ", ") + event.name;
  section.fail("event", "no timeline event \"" + name + "\" waits for a trigger; expected " +
                            (known.empty() ? "an event with a name and \"after\"" : known));
}

FaultSpec ReadFault(Section& section, const std::vector<NamedEvent>& events) {
  FaultSpec fault;
  if (!section.read_word<FaultKind>("action", fault.kind, kActions)) {
    section.fail(
        "has no \"action\"; expected pass, drop, delay, duplicate, corrupt, mark or "
        "trigger");
  }
  const bool delay = section.read("delay", fault.delay);
  if (delay != (fault.kind == FaultKind::kDelay)) {
    section.fail("delay", "goes with action = \"delay\", and only with it");
  }
  if (fault.kind == FaultKind::kTrigger) ReadTrigger(section, events, fault);
  return fault;
}

// The line's keys, none of which the table has too.
toml::table ReadLine(Section& section, const toml::table& table) {
  const toml::node* node = section.find("match");
  if (!node) return {};
  const auto line = section.text(*node, "match");
  if (!line) return {};
  const std::string place = Where(node->source());
  auto parsed = ParseRuleLine(*line, place.starts_with("--") ? place : place + ':');
  if (!parsed) {
    section.fail("match", parsed.error().message);
    return {};
  }
  for (const auto& [key, value] : *parsed) {
    if (IsIn(kOtherKeys, key.str()) || IsIn(kLimitKeys, key.str())) {
      section.fail("match", '"' + std::string(key.str()) + "\" is no condition: give it by itself");
    } else if (table.contains(key.str())) {
      section.fail("match", "has \"" + std::string(key.str()) + "\", which is given by itself too");
    }
  }
  return std::move(*parsed);
}

void Append(std::string& line, const std::string& word) {
  line += (line.empty() ? "" : " ") + word;
}

std::string ActionText(const Section& section, const FaultSpec& fault) {
  std::string text;
  for (const Word<FaultKind>& word : kActions) {
    if (word.value == fault.kind) text = word.text;
  }
  if (fault.kind == FaultKind::kDelay) Append(text, ToText(fault.delay));
  if (const toml::node* event = section.layers().back().table->get("event")) {
    Append(text, event->value_or(std::string()));
  }
  return text;
}

Rule ReadRule(Diagnostics& diagnostics, const toml::table& table, const RuleNames& names) {
  Section own(diagnostics, "a rule", {{&table, true}});
  const toml::table line = ReadLine(own, table);
  Section section(diagnostics, "a rule", {{&line, true}, {&table, true}});
  Rule rule;
  section.know({"match"});
  if (section.read("name", rule.name) && !IsName(rule.name)) {
    section.fail("name", '"' + rule.name + "\": expected 1 to 64 letters, digits, '-' and '_'");
  }
  ReadFields(section, rule.conditions);
  ReadRoce(section, rule.conditions);
  ReadLimits(section, names, rule.conditions);
  rule.fault = ReadFault(section, names.events);
  section.finish();
  rule.match = table["match"].value_or(std::string());
  for (const auto& [key, value] : table) {
    if (IsIn(kOtherKeys, key.str())) continue;
    Append(IsIn(kLimitKeys, key.str()) ? rule.limits : rule.match, AsRuleWord(key.str(), value));
  }
  rule.action = ActionText(section, rule.fault);
  return rule;
}

}  // namespace

void ReadRules(Section& section, Direction& direction) {
  const std::vector<const toml::table*> tables = section.tables("rules");
  if (tables.size() > roce::kMaxRules) {
    return section.fail("rules", "expected at most " + std::to_string(roce::kMaxRules));
  }
  RuleNames names{.events = direction.events, .rules = {}};
  for (size_t i = 0; i < tables.size(); ++i) {
    std::string name = (*tables[i])["name"].value_or("r" + std::to_string(i + 1));
    const auto same = [&](const auto& rule) { return rule.name == name; };
    if (std::any_of(names.rules.begin(), names.rules.end(), same)) {
      section.fail("rules", "two rules are called \"" + name + "\"; expected a name for each");
    }
    names.rules.push_back({std::move(name), static_cast<uint8_t>(i + 1)});
  }
  for (size_t i = 0; i < tables.size(); ++i) {
    Rule rule = ReadRule(section.diagnostics(), *tables[i], names);
    rule.name = names.rules[i].name;
    direction.spec.faults.push_back(rule.fault);
    direction.rules.push_back(std::move(rule));
  }
}

Result<Rule> RuleFrom(const std::map<std::string, std::string>& settings, const RuleNames& names) {
  const Result<toml::table> table = ParseSettings(settings);
  if (!table) return AsKey(table.error());
  Diagnostics diagnostics;
  Rule rule = ReadRule(diagnostics, *table, names);
  if (diagnostics.failed()) return AsKey(diagnostics.error());
  return rule;
}

}  // namespace farspan::config
