// Configurations from arbitrary text: a configuration or one error, and what loads can be planned.
// After a line "#set" every line is an override.

#include <cstdint>
#include <string>
#include <string_view>

#include "emulator/base/check.h"
#include "emulator/config/loader.h"
#include "emulator/config/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace farspan::config;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  Overrides overrides;
  constexpr std::string_view kMark = "\n#set\n";
  if (const size_t mark = text.find(kMark); mark != std::string_view::npos) {
    std::string_view rest = text.substr(mark + kMark.size());
    while (!rest.empty() && overrides.size() < 16) {
      const size_t end = rest.find('\n');
      overrides.emplace_back(rest.substr(0, end));
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    text = text.substr(0, mark);
  }
  // A directory without files: nothing outside the input is read.
  const auto config = LoadText(text, "fuzz.toml", overrides, "/nonexistent");
  if (!config) {
    FARSPAN_CHECK(!config.error().message.empty());
    return 0;
  }
  const Plan plan = MakePlan(*config);
  FARSPAN_CHECK(plan.directions.size() == 2 * config->links.size());
  FARSPAN_CHECK(!PlanText(*config, plan, {}).empty());
  FARSPAN_CHECK(!PlanJson(*config, plan, {}).empty());
  return 0;
}
