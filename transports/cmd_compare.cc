// farspan compare SCENARIO: contenders against each other on the same channel, in virtual time or
// by real hosts.
#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <string>

#include "transports/commands.h"
#include "transports/congestion/controllers.h"
#include "transports/real_lab.h"
#include "transports/scenario_options.h"
#include "transports/testbed/compare.h"
#include "transports/testbed/real_compare.h"
#include "transports/testbed/real_rank.h"

namespace farspan {
namespace {

namespace po = boost::program_options;

constexpr std::string_view kUsage =
    "Usage: farspan compare SCENARIO [options]\n\n"
    "SCENARIO is a file, or the name of one in traces/scenarios. Runs its contenders in virtual\n"
    "time over the emulator's link model, or with --real as processes on real hosts with a "
    "running\n"
    "emulator between them, and prints what each took: docs/compare.md.\n\n";

Result<void> Write(const po::variables_map& values, const char* option, const std::string& text) {
  if (values.count(option) == 0) return {};
  return WriteText(values[option].as<std::string>(), text, fmt::format("--{}", option));
}

// A rank says "ready", and is told on its standard input when to begin.
Result<TimeNs> AwaitStart(const std::function<void()>& meanwhile) {
  fmt::print("ready\n");
  std::fflush(stdout);
  pollfd input{STDIN_FILENO, POLLIN, 0};
  while (::poll(&input, 1, 0) == 0) meanwhile();
  TimeNs start{};
  if (!(std::cin >> start.ns)) return Fail(ErrorCode::kIo, "was not told when to begin");
  return start;
}

Result<void> RunAsRank(const po::variables_map& values, const testbed::Scenario& scenario) {
  transport::RegisterControllers();
  const auto root = ParseSocketAddress(values["root"].as<std::string>());
  if (!root) return tl::unexpected(root.error());
  const auto local = ParseSocketAddress(values["local"].as<std::string>());
  if (!local) return tl::unexpected(local.error());
  const auto rows = testbed::RowsOf(scenario);
  const auto row = values["row"].as<size_t>();
  const testbed::RankOrder order{values["rank"].as<uint32_t>(), values["sample"].as<uint64_t>(),
                                 *root, *local};
  if (row >= rows.size() || order.rank >= scenario.ranks()) {
    return Fail(ErrorCode::kInvalid, "the scenario has no such row or rank");
  }
  const auto result = RunRank(MakeCase(scenario, rows[row]), order, AwaitStart);
  if (!result) return tl::unexpected(result.error());
  fmt::print("{}\n", result->dump());
  return {};
}

Result<void> Output(const po::variables_map& values, const testbed::Scenario& scenario,
                    const std::vector<testbed::CompareRow>& rows, const nlohmann::json& more) {
  fmt::print("{}", testbed::CompareText(scenario, rows));
  auto json = testbed::CompareJson(scenario, rows);
  json.update(more);
  for (auto written : {Write(values, "json", json.dump(2) + "\n"),
                       Write(values, "markdown", testbed::CompareMarkdown(scenario, rows)),
                       Write(values, "csv", testbed::CompareCsv(scenario, rows))}) {
    if (!written) return written;
  }
  return {};
}

// Exit code 1 where nothing can be believed of a row: not one of its certificates is valid.
Result<int> RunReal(const po::variables_map& values, const testbed::Scenario& scenario,
                    const std::vector<std::string>& args) {
  std::vector<std::string> command{OwnProgram(), "compare"};
  command.insert(command.end(), args.begin(), args.end());
  const auto results = RunInLab(testbed::RealPlan(scenario, command));
  if (!results) return tl::unexpected(results.error());
  const auto rows = testbed::ReadReal(scenario, *results);
  if (!rows) return tl::unexpected(rows.error());
  const auto written =
      Output(values, scenario, *rows,
             {{"machine", results->at("machine")}, {"scale", values["scale"].as<uint64_t>()}});
  if (!written) return tl::unexpected(written.error());
  const bool believed = std::all_of(rows->begin(), rows->end(), [](const auto& row) {
    return row.measured && row.measured->valid() > 0;
  });
  return believed ? cli::kExitGood : cli::kExitFailed;
}

Result<int> Run(const po::variables_map& values, const std::vector<std::string>& args) {
  const auto outputs = CheckOutputs(values, {"json", "markdown", "csv"});
  if (!outputs) return tl::unexpected(outputs.error());
  auto scenario = OpenScenario(values["scenario"].as<std::string>(), values);
  if (!scenario) return tl::unexpected(scenario.error());
  if (values.count("real") > 0) {
    scenario = testbed::ForRealTime(std::move(*scenario));
    if (!scenario) return tl::unexpected(scenario.error());
    if (values.count("rank") == 0) return RunReal(values, *scenario, args);
    return RunAsRank(values, *scenario).map([] { return cli::kExitGood; });
  }
  for (const testbed::ContenderSpec& contender : scenario->contenders) {
    if (!contender.is_library()) continue;
    return Fail(ErrorCode::kInvalid,
                "\"" + contender.name +
                    "\" is a library, which runs in real time alone: --real, or "
                    "--only for the others",
                scenario->name);
  }
  return Output(values, *scenario, testbed::RunCompare(*scenario, RunOptions(values)),
                nlohmann::json::object())
      .map([] { return cli::kExitGood; });
}

void AddRules(cli::Options& options) {
  options.rules = {
      cli::Excludes("jobs", "real", "does nothing with --real: only one contender runs at a time"),
      cli::Excludes("over-time", "real", "is of virtual time alone: leave out --real")};
  constexpr const char* kOfOneRank[] = {"rank", "row", "sample", "root", "local"};
  for (const char* option : kOfOneRank) {
    const char* all =
        "is of one rank that --real starts, with --rank, --row, --sample, --root, --local";
    options.rules.push_back(cli::Needs(option, "real", all));
    for (const char* other : kOfOneRank) options.rules.push_back(cli::Needs(option, other, all));
  }
}

}  // namespace

int CmdCompare(const std::vector<std::string>& args) {
  cli::Options options;
  options.usage = kUsage;
  auto hidden = options.hidden.add_options();
  hidden("scenario", po::value<std::string>());
  // Of one rank that --real starts.
  hidden("rank", po::value<uint32_t>());
  hidden("row", po::value<size_t>());
  hidden("sample", po::value<uint64_t>());
  hidden("root", po::value<std::string>());
  hidden("local", po::value<std::string>());
  options.positional.add("scenario", 1);
  AddScenarioOptions(options);
  AddRunOptions(options);
  auto add = options.visible.add_options();
  add("real", "real time: hosts in network namespaces, the emulator between them (needs root)");
  add("scale", po::value<uint64_t>()->default_value(1),
      "divide rates and sizes, for what a machine cannot carry; packets stay as they are");
  add("over-time", po::value<std::string>(),
      "record each contender's first sample by intervals of this length, for the JSON; \"0 s\": "
      "none");
  add("json", po::value<std::string>(), "write all figures here");
  add("markdown", po::value<std::string>(), "write the tables here");
  add("csv", po::value<std::string>(), "write the rows here");
  AddRules(options);
  bool help = false;
  const auto values = cli::Parse(options, args, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  if (values->count("scenario") == 0) {
    return cli::Report({ErrorCode::kInvalid, "which scenario? See farspan compare --help", {}});
  }
  const auto code = Run(*values, args);
  return code ? *code : cli::Report(code.error());
}

}  // namespace farspan
