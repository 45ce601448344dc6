// The one-line form of a rule's conditions, as tc and a display filter have them:
//
//   "qp=0x11 message=3 last"
//
// Words apart by blanks, all of which must hold: KEY=VALUE as the rule's own keys have it, or a
// word that stands for one ("last" is part=last, "udp" is protocol=udp).
//
// Internal to emulator/config.
#pragma once

#include <toml++/toml.h>

#include <optional>
#include <string>
#include <string_view>

#include "emulator/base/result.h"

namespace farspan::config {

// The line as a table of keys and values. `where` is what errors show. An error's message says
// which word is wrong.
Result<toml::table> ParseRuleLine(std::string_view line, const std::string& where);

// A key and its value as such a word.
std::string AsRuleWord(std::string_view key, const toml::node& value);

}  // namespace farspan::config
