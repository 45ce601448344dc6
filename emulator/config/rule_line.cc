#include "emulator/config/rule_line.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "emulator/base/nearest.h"
#include "emulator/config/overrides.h"

namespace farspan::config {
namespace {

// Words that stand for a key and its value.
struct Short {
  std::string_view word;
  std::string_view key;
  std::string_view value;
};
constexpr Short kShorts[] = {
    {"arp", "ethertype", "arp"},
    {"lldp", "ethertype", "lldp"},
    {"ipv4", "ethertype", "ipv4"},
    {"ipv6", "ethertype", "ipv6"},
    {"tcp", "protocol", "tcp"},
    {"udp", "protocol", "udp"},
    {"icmp", "protocol", "icmp"},
    {"icmpv6", "protocol", "icmpv6"},
    {"send", "opcode", "send"},
    {"write", "opcode", "write"},
    {"ack", "opcode", "ack"},
    {"nak", "opcode", "nak"},
    {"cnp", "opcode", "cnp"},
    {"atomic", "opcode", "atomic"},
    {"flush", "opcode", "flush"},
    {"datagram", "opcode", "datagram"},
    {"first", "part", "first"},
    {"middle", "part", "middle"},
    {"last", "part", "last"},
    {"only", "part", "only"},
    {"ce", "ecn", "ce"},
    {"ect", "ecn", "ect"},
    {"ect0", "ecn", "ect0"},
    {"ect1", "ecn", "ect1"},
    {"not-ect", "ecn", "not-ect"},
    {"immediate", "immediate", "true"},
    {"rnr_nak", "opcode", "rnr_nak"},
    {"read_request", "opcode", "read_request"},
    {"read_response", "opcode", "read_response"},
    {"atomic_ack", "opcode", "atomic_ack"},
    {"ack_request", "ack_request", "true"},
    {"retransmission", "retransmission", "true"},
    {"first_transmission", "retransmission", "false"},
};

std::string UnknownWord(std::string_view word) {
  std::vector<std::string_view> known;
  for (const Short& s : kShorts) known.push_back(s.word);
  const std::string hint = DidYouMean(word, known);
  return '"' + std::string(word) + "\" is no KEY=VALUE and no word that stands for one; " +
         (hint.empty() ? "expected such as qp=0x11 or last" : hint);
}

std::string NodeText(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer();
      number &&
      (number->flags() & toml::value_flags::format_as_hexadecimal) == toml::value_flags::none) {
    return std::to_string(number->get());
  }
  if (const toml::array* array = node.as_array()) {
    std::string all;
    for (const toml::node& element : *array) {
      all.append(all.empty() ? "" : ",").append(NodeText(element));
    }
    return all;
  }
  std::ostringstream text;
  node.visit([&](const auto& value) { text << value; });
  return text.str();
}

}  // namespace

Result<toml::table> ParseRuleLine(std::string_view line, const std::string& where) {
  constexpr std::string_view kBlanks = " \t";
  toml::table table;
  for (size_t at = line.find_first_not_of(kBlanks); at != std::string_view::npos;
       at = line.find_first_not_of(kBlanks, at)) {
    const std::string_view word = line.substr(at, line.find_first_of(kBlanks, at) - at);
    at += word.size();
    const size_t equals = word.find('=');
    std::string_view key = word.substr(0, equals);
    std::string_view value = equals == std::string_view::npos ? "" : word.substr(equals + 1);
    const bool is_short = equals == std::string_view::npos;
    if (is_short) {
      const auto* found = std::find_if(std::begin(kShorts), std::end(kShorts),
                                       [&](const Short& s) { return s.word == word; });
      if (found == std::end(kShorts)) return Fail(ErrorCode::kInvalid, UnknownWord(word), where);
      key = found->key;
      value = found->value;
    }
    std::string all(value);
    if (const auto* opcodes = table[key].as_string(); opcodes && is_short && key == "opcode") {
      all = opcodes->get() + ',' + all;  // of these words one is enough
    } else if (table.contains(key)) {
      return Fail(ErrorCode::kInvalid, "gives \"" + std::string(key) + "\" twice", where);
    }
    Result<toml::table> setting = ParseSetting(key, all, where);
    if (!setting)
      return Fail(ErrorCode::kInvalid, '"' + std::string(word) + "\" is no KEY=VALUE", where);
    for (auto&& [inner, node] : *setting) table.insert_or_assign(inner, std::move(node));
  }
  return table;
}

std::string AsRuleWord(std::string_view key, const toml::node& value) {
  const std::string text = NodeText(value);
  const bool blanks = text.find_first_of(" \t") != std::string::npos;
  return std::string(key) + '=' + (blanks ? '"' + text + '"' : text);
}

}  // namespace farspan::config
