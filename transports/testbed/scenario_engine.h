// A scenario's links as the emulator's configuration says them, for a run in real time, and a
// scenario made smaller so that a machine can carry it. For the scenario's reader: TOML in and out.
#pragma once

#include <toml++/toml.h>

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace farspan::testbed {

// One [[links]] of docs/configuration.md: what the tables say together, the nearest first.
struct EngineLink {
  std::string name, a, b;
  std::span<const toml::table* const> layers;
  std::filesystem::path directory;  // of files that they name
};
std::string EngineToml(const EngineLink& link);
// KEY=VALUE as --set takes it, after "link.NAME.".
std::string EngineSet(std::string_view key, const toml::node& value);

// Divides all rates, sizes and amounts of bytes of the file by `by`. Sizes are cut down to what all
// ranks can share in whole elements. Packets, times and losses stay as they are.
void ScaleDown(toml::table& file, uint64_t by);

}  // namespace farspan::testbed
