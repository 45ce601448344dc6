#include <algorithm>

#include "emulator/config/ports.h"
#include "emulator/config/readers.h"

namespace farspan::config {
namespace {

using link::FaultKind;
using link::FaultSpec;
using roce::RuleMatch;

constexpr size_t kMostRules = 255;  // PacketRef::rule counts from 1 in a byte

constexpr Word<FaultKind> kActions[] = {
    {"drop", FaultKind::kDrop},           {"delay", FaultKind::kDelay},
    {"duplicate", FaultKind::kDuplicate}, {"corrupt", FaultKind::kCorrupt},
    {"mark", FaultKind::kMark},           {"trigger", FaultKind::kTrigger}};
constexpr Word<uint16_t> kEthertypes[] = {
    {"ipv4", 0x0800}, {"arp", 0x0806}, {"ipv6", 0x86dd}, {"lldp", 0x88cc}};

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

void ReadCounts(Section& section, RuleMatch& match) {
  const bool nth = section.read_count("nth", match.start, 1, INT64_MAX);
  const bool every = section.read_count("every", match.every, 1, INT64_MAX);
  if (every && !nth) match.start = match.every;
  if (nth && !every) match.count = 1;
  section.read_count("first", match.count, 1, INT64_MAX);
  section.read("from", match.from);
  section.read("until", match.until);
  if (match.until <= match.from) section.fail("until", "expected a time after \"from\"");
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
    section.fail("has no \"action\"; expected drop, delay, duplicate, corrupt, mark or trigger");
  }
  section.read_probability("probability", fault.probability);
  const bool delay = section.read("delay", fault.delay);
  if (delay != (fault.kind == FaultKind::kDelay)) {
    section.fail("delay", "goes with action = \"delay\", and only with it");
  }
  if (fault.kind == FaultKind::kTrigger) ReadTrigger(section, events, fault);
  return fault;
}

}  // namespace

void ReadRules(Section& section, const std::vector<NamedEvent>& events, Direction& direction) {
  for (const toml::table* table : section.tables("rules")) {
    Section rule(section.diagnostics(), "a rule", {{table, true}});
    RuleMatch match;
    ReadFields(rule, match);
    ReadCounts(rule, match);
    direction.spec.faults.push_back(ReadFault(rule, events));
    direction.rules.push_back(match);
    rule.finish();
  }
  if (direction.rules.size() > kMostRules) section.fail("rules", "expected at most 255");
}

}  // namespace farspan::config
