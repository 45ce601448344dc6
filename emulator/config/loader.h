// From TOML, --set overrides or the one-line form to an EmulatorConfig.
//
// Every failure is one Error: its context is "FILE:LINE:COLUMN" (or the --set or option as typed),
// its message says what is wrong, what was expected and, for words, the nearest valid one.
// toml++ throws; its exceptions stay inside. Files named inside a configuration (traces, jitter
// tables) are read relative to it.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/config/schema.h"

namespace farspan::config {

// Each as typed after --set: "link.NAME.KEY=VALUE", "site.NAME.KEY=VALUE", "engine.KEY=VALUE",
// "KEY=VALUE". VALUE is TOML where it parses as that, else a string. A later one wins; one of
// distance, delay, rtt, route replaces the others. A table is replaced as a whole.
using Overrides = std::vector<std::string>;

Result<EmulatorConfig> LoadFile(const std::filesystem::path& file, const Overrides& overrides = {});
Result<EmulatorConfig> LoadText(std::string_view toml, std::string_view name,
                                const Overrides& overrides = {},
                                const std::filesystem::path& directory = {});

// The one-line form: `--wire A,B` and options that have the names and syntax of a link's keys. The
// sites are "a" and "b", the link is "wire".
struct WireOptions {
  std::string ports;                            // "eth1,eth2"; commas inside [] do not split
  std::map<std::string, std::string> settings;  // "distance" -> "500 km"
};
Result<EmulatorConfig> FromWire(const WireOptions& options, const Overrides& overrides = {});

}  // namespace farspan::config
