// Files that users give: their text, and the JSON in it. Errors say which file, where and what was
// expected. (TOML: section.h.)
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "emulator/base/result.h"

namespace farspan::config {

// At most 64 MiB.
Result<std::string> ReadFile(const std::filesystem::path& file);

// `name` is what errors show; nlohmann's exceptions stay in here.
Result<nlohmann::json> ParseJson(std::string_view text, const std::string& name);

}  // namespace farspan::config
