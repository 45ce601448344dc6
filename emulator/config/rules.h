// Live rules as people write them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/config/schema.h"

namespace farspan::config {

// What a rule of one direction may name.
struct RuleNames {
  struct Numbered {
    std::string name;
    uint8_t number = 0;  // PacketRef::rule
  };
  std::vector<NamedEvent> events;
  std::vector<Numbered> rules;
};

// Keys and syntax of [[links.rules]]. Times count from when the rule takes effect. The name is
// empty where none was given. An error's context is the key.
Result<Rule> RuleFrom(const std::map<std::string, std::string>& settings, const RuleNames& names);

}  // namespace farspan::config
