#include "transports/scenario_options.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>
#include <vector>

#include "emulator/base/units.h"

namespace farspan {
namespace {

namespace po = boost::program_options;

// traces/scenarios above the working directory, or beside the sources that this was built from.
std::filesystem::path Library() {
  std::error_code error;
  for (auto at = std::filesystem::current_path(error); !at.empty(); at = at.parent_path()) {
    const auto library = at / "traces" / "scenarios";
    if (std::filesystem::is_directory(library, error)) return library;
    if (at == at.root_path()) break;
  }
  return std::filesystem::path(FARSPAN_SOURCE_DIR) / "traces" / "scenarios";
}

void ShowProgress(uint64_t done, uint64_t of) {
  constexpr uint64_t kWidth = 40;
  const uint64_t filled = done * kWidth / of;
  fmt::print(stderr, "\r[{:=>{}}{:>{}}] {}/{} samples", "", filled, "", kWidth - filled, done, of);
  if (done == of) fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

}  // namespace

void AddRunOptions(cli::Options& options) {
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  options.visible.add_options()("jobs,j", po::value<unsigned>()->default_value(cores),
                                "threads; the figures do not depend on it");
}

void AddScenarioOptions(cli::Options& options) {
  auto add = options.visible.add_options();
  add("samples,n", po::value<uint64_t>(), "of each contender");
  add("seed", po::value<uint64_t>(), "of the first sample");
  add("sizes", po::value<std::vector<std::string>>()->multitoken(),
      "of the collective: \"1 MiB\" …");
  add("only", po::value<std::vector<std::string>>()->multitoken(),
      "contenders whose name has one of these words in it");
}

namespace {

Result<void> ChangeSizes(const std::vector<std::string>& texts, testbed::Scenario& scenario) {
  scenario.sizes.clear();
  for (const std::string& text : texts) {
    const auto size = ParseBytes(text);
    if (!size) return Fail(ErrorCode::kInvalid, size.error().message, "--sizes");
    scenario.sizes.push_back(*size);
  }
  if (const auto good = testbed::CheckPlans(scenario); !good) {
    return Fail(ErrorCode::kInvalid, good.error().message, "--sizes");
  }
  return {};
}

Result<void> ChangeOverTime(const std::string& text, testbed::Scenario& scenario) {
  const auto interval = ParseTime(text);
  if (!interval) return Fail(ErrorCode::kInvalid, interval.error().message, "--over-time");
  scenario.over_time = *interval;
  if (interval->ns == 0) return {};  // not what the file records either
  if (const auto good = testbed::CheckOverTime(scenario); !good) {
    return Fail(ErrorCode::kInvalid, good.error().message, "--over-time");
  }
  return {};
}

Result<void> ChooseContenders(const std::vector<std::string>& words, testbed::Scenario& scenario) {
  std::string names;
  std::erase_if(scenario.contenders, [&](const testbed::ContenderSpec& contender) {
    names += (names.empty() ? "" : "; ") + contender.name;
    return std::none_of(words.begin(), words.end(), [&](const std::string& word) {
      return contender.name.find(word) != std::string::npos;
    });
  });
  if (!scenario.contenders.empty()) return {};
  return Fail(ErrorCode::kInvalid, "leaves no contender; there are: " + names, "--only");
}

}  // namespace

Result<testbed::Scenario> OpenScenario(const std::string& name, const po::variables_map& values) {
  const auto file = testbed::FindScenario(name, Library());
  if (!file) return tl::unexpected(file.error());
  const uint64_t scale = values.count("scale") > 0 ? values["scale"].as<uint64_t>() : 1;
  if (scale == 0) return Fail(ErrorCode::kInvalid, "expected at least 1", "--scale");
  auto scenario = testbed::LoadScenario(*file, scale);
  if (!scenario) return scenario;
  if (values.count("samples") > 0) scenario->samples = values["samples"].as<uint64_t>();
  if (values.count("seed") > 0) scenario->seed = values["seed"].as<uint64_t>();
  if (scenario->samples == 0) {
    return Fail(ErrorCode::kInvalid, "expected at least 1", "--samples");
  }
  using Words = std::vector<std::string>;
  if (values.count("only") > 0) {
    const auto chosen = ChooseContenders(values["only"].as<Words>(), *scenario);
    if (!chosen) return tl::unexpected(chosen.error());
  }
  if (values.count("sizes") > 0) {
    const auto changed = ChangeSizes(values["sizes"].as<Words>(), *scenario);
    if (!changed) return tl::unexpected(changed.error());
  }
  if (values.count("over-time") > 0) {
    const auto changed = ChangeOverTime(values["over-time"].as<std::string>(), *scenario);
    if (!changed) return tl::unexpected(changed.error());
  }
  return scenario;
}

Result<void> CheckOutputs(const po::variables_map& values,
                          std::initializer_list<const char*> options) {
  for (const char* option : options) {
    if (values.count(option) == 0) continue;
    const auto good =
        cli::CheckWritable(values[option].as<std::string>(), fmt::format("--{}", option));
    if (!good) return good;
  }
  return {};
}

testbed::CompareOptions RunOptions(const po::variables_map& values) {
  testbed::CompareOptions options;
  options.jobs = std::clamp(values["jobs"].as<unsigned>(), 1u, 1'024u);
  if (isatty(STDERR_FILENO) != 0) options.progress = ShowProgress;
  return options;
}

}  // namespace farspan
