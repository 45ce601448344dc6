// farspan compare SCENARIO: contenders against each other on the same channel, in virtual time.
#include <fmt/core.h>

#include <string>

#include "transports/commands.h"
#include "transports/scenario_options.h"
#include "transports/testbed/compare.h"

namespace farspan {
namespace {

namespace po = boost::program_options;

constexpr std::string_view kUsage =
    "Usage: farspan compare SCENARIO [options]\n\n"
    "SCENARIO is a file, or the name of one in traces/scenarios. Runs its contenders in virtual\n"
    "time over the emulator's link model and prints what each took: docs/compare.md.\n\n";

Result<void> Write(const po::variables_map& values, const char* option, const std::string& text) {
  if (values.count(option) == 0) return {};
  return WriteText(values[option].as<std::string>(), text, fmt::format("--{}", option));
}

}  // namespace

int CmdCompare(const std::vector<std::string>& args) {
  cli::Options options;
  options.usage = kUsage;
  options.hidden.add_options()("scenario", po::value<std::string>());
  options.positional.add("scenario", 1);
  AddScenarioOptions(options);
  AddRunOptions(options);
  auto add = options.visible.add_options();
  add("json", po::value<std::string>(), "write all figures here");
  add("markdown", po::value<std::string>(), "write the tables here");
  add("csv", po::value<std::string>(), "write the rows here");
  bool help = false;
  const auto values = cli::Parse(options, args, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  if (values->count("scenario") == 0) {
    return cli::Report({ErrorCode::kInvalid, "which scenario? See farspan compare --help", {}});
  }
  const auto scenario = OpenScenario((*values)["scenario"].as<std::string>(), *values);
  if (!scenario) return cli::Report(scenario.error());
  const auto rows = testbed::RunCompare(*scenario, RunOptions(*values));
  fmt::print("{}", testbed::CompareText(*scenario, rows));
  for (const auto& written :
       {Write(*values, "json", testbed::CompareJson(*scenario, rows).dump(2) + "\n"),
        Write(*values, "markdown", testbed::CompareMarkdown(*scenario, rows)),
        Write(*values, "csv", testbed::CompareCsv(*scenario, rows))}) {
    if (!written) return cli::Report(written.error());
  }
  return cli::kExitGood;
}

}  // namespace farspan
