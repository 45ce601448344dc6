#include "transports/link_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "emulator/base/units.h"
#include "emulator/control/metrics.h"

namespace farspan {
namespace {

using nlohmann::ordered_json;
using Rows = std::vector<std::vector<std::string>>;

// Columns two blanks apart; the first `left` of them to the left, the others to the right.
std::string Table(const Rows& rows, size_t left) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += i < left ? fmt::format("{:<{}}  ", row[i], widths[i])
                       : fmt::format("{:>{}}  ", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

uint64_t Sum(const ordered_json& counts) {
  uint64_t sum = 0;
  for (const auto& [name, count] : counts.items()) sum += count.get<uint64_t>();
  return sum;
}

std::string Text(const ordered_json& value) {
  if (value.is_null()) return "none";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// One line per value: nested objects become "emulated_drops loss", lists "lanes 0 rate".
void Flatten(const std::string& name, const ordered_json& value, Rows& rows) {
  if (!value.is_structured()) {
    rows.push_back({name, Text(value)});
    return;
  }
  for (const auto& [key, inner] : value.items()) {
    Flatten(name.empty() ? key : fmt::format("{} {}", name, key), inner, rows);
  }
}

std::string QpText(const ordered_json& qp) {
  const ordered_json& source = qp.at("source_qp");
  return fmt::format("{}->{:#x}",
                     source.is_null() ? "?" : fmt::format("{:#x}", source.get<uint32_t>()),
                     qp.at("destination_qp").get<uint32_t>());
}

std::string RecoveryText(const ordered_json& recovery) {
  if (recovery.at("count") == 0) return "none";
  const auto text = [&](const char* key) {
    return ToText(TimeNs{recovery.at(key).get<int64_t>()});
  };
  return fmt::format("{} to {}", text("min_ns"), text("max_ns"));
}

}  // namespace

std::string ListText(const ordered_json& state) {
  Rows rows{{"LINK", "DIR", "FROM", "TO", "DELAY", "RATE", "LOSS", "FORWARDED", "EMULATED DROPS",
             "OWN DROPS", "HELD"}};
  for (const ordered_json& link : state.at("links")) {
    for (const ordered_json& d : link.at("directions")) {
      const ordered_json& lane = d.at("lanes").at(0);
      rows.push_back({Text(link.at("name")), Text(d.at("direction")), Text(d.at("from")),
                      Text(d.at("to")), Text(d.at("delay")), Text(lane.at("rate")),
                      Text(lane.at("loss")), Text(d.at("forwarded_packets")),
                      std::to_string(Sum(d.at("emulated_drops"))),
                      std::to_string(Sum(d.at("own_drops"))), Text(d.at("held_packets"))});
    }
  }
  std::string text = Table(rows, 4);
  text += fmt::format("\n{}, up {:.0f} s, clock error {:.2f} ppm\n",
                      state.at("valid").get<bool>() ? "VALID" : "INVALID",
                      state.at("uptime_ns").get<double>() * 1e-9,
                      state.at("clock_error_ppm").get<double>());
  for (const ordered_json& reason : state.at("reasons"))
    text += fmt::format("  {}\n", Text(reason));
  return text;
}

std::string ShowText(const ordered_json& link) {
  std::string text;
  for (const ordered_json& direction : link.at("directions")) {
    Rows rows;
    Flatten("", direction, rows);
    text += fmt::format("{} {}: {} to {}\n", Text(link.at("name")), Text(direction.at("direction")),
                        Text(direction.at("from")), Text(direction.at("to")));
    text += Table(rows, 2) + "\n";
  }
  text.pop_back();
  return text;
}

std::string QueuePairsText(const ordered_json& answer) {
  Rows rows{{"LINK", "DIR", "SOURCE", "DESTINATION", "QP", "PACKETS", "GOODPUT", "MESSAGES",
             "RETRANSMITTED", "SPURIOUS", "LOST", "GAPS", "DUPLICATES", "NAKS", "CNPS", "CE",
             "RECOVERY"}};
  for (const ordered_json& link : answer.at("links")) {
    for (const ordered_json& qp : link.at("queue_pairs")) {
      const ordered_json& in = qp.at("ingress");
      const ordered_json& out = qp.at("egress");
      const ordered_json& acks = in.at("acknowledgements");
      const uint64_t lost =
          qp.at("dropped_packets").get<uint64_t>() + qp.at("corrupted_packets").get<uint64_t>();
      rows.push_back({Text(link.at("link")), Text(qp.at("direction")), Text(qp.at("source")),
                      Text(qp.at("destination")), QpText(qp), Text(in.at("packets")),
                      Text(out.at("goodput_bytes")), Text(out.at("messages")),
                      Text(in.at("repeated_packets")), Text(qp.at("spurious_retransmissions")),
                      std::to_string(lost), Text(out.at("gaps")), Text(out.at("repeated_packets")),
                      std::to_string(Sum(acks) - acks.at("ack").get<uint64_t>()),
                      Text(in.at("cnps")), Text(out.at("ce_packets")),
                      RecoveryText(qp.at("recovery"))});
    }
  }
  return Table(rows, 5);
}

std::string AppliedText(const ordered_json& answer) {
  std::string text = answer.contains("rule") ? "rule " + Text(answer["rule"]) + "\n" : "";
  for (const ordered_json& applied : answer.at("applied")) {
    text += fmt::format("{}took effect at {}\n",
                        applied.contains("direction") ? Text(applied["direction"]) + " " : "",
                        ToText(TimeNs{applied.at("at_ns").get<int64_t>()}));
  }
  return text;
}

std::string ClearedText(const ordered_json& answer) {
  return answer.at("applied").empty() ? "there are no rules\n" : AppliedText(answer);
}

std::string CatalogueText() {
  Rows rows{{"METRIC", "TYPE", "LABELS", "WHAT"}};
  for (const control::MetricInfo& m : control::MetricCatalogue()) {
    rows.push_back({std::string(m.name), std::string(control::ToText(m.kind)),
                    std::string(m.labels), std::string(m.help)});
  }
  return Table(rows, 4);
}

std::string RulesText(const ordered_json& answer) {
  Rows rows{{"RULE", "DIR", "MATCH", "LIMITS", "ACTION", "MATCHED", "HIT"}};
  for (const ordered_json& rule : answer.at("rules")) {
    const bool in_force = rule.at("in_force").get<bool>();
    const std::string match = Text(rule.at("match"));
    rows.push_back({Text(rule.at("name")) + (in_force ? "" : " (removed)"),
                    Text(rule.at("direction")), match.empty() ? "every packet" : match,
                    Text(rule.at("limits")), Text(rule.at("action")),
                    Text(rule.at("matched_packets")), Text(rule.at("hit_packets"))});
  }
  return rows.size() == 1 ? "no rules\n" : Table(rows, 5);
}

}  // namespace farspan
