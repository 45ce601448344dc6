// farspan gate BASELINE…: runs what a committed comparison ran, and says which rows got worse.
#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "emulator/base/units.h"
#include "transports/commands.h"
#include "transports/scenario_options.h"
#include "transports/testbed/gate.h"

namespace farspan {
namespace {

namespace po = boost::program_options;
using testbed::CompareRecord;

constexpr std::string_view kUsage =
    "Usage: farspan gate BASELINE… [options]\n\n"
    "BASELINE is what farspan compare --json wrote and was committed (traces/gates). Runs its\n"
    "scenario again with its seeds, samples, sizes and contenders, and exits with 1 if a row is\n"
    "slower or sends more than the tolerance allows, is missing, or beats physics.\n\n";

// Only what the committed run had.
Result<CompareRecord> RunAgain(const CompareRecord& committed, const po::variables_map& values) {
  if (committed.label != "virtual") {
    return Fail(ErrorCode::kInvalid,
                "is " + committed.label +
                    ", and only virtual time is run again here: give the JSON of farspan compare "
                    "--real with --run",
                committed.scenario);
  }
  auto scenario = OpenScenario(committed.scenario, values);
  if (!scenario) return tl::unexpected(scenario.error());
  scenario->samples = committed.samples;
  scenario->seed = committed.first_seed;
  std::set<uint64_t> sizes;
  std::set<std::string> contenders;
  for (const CompareRecord::Row& row : committed.rows) {
    sizes.insert(row.bytes);
    contenders.insert(row.contender);
  }
  scenario->sizes.assign(sizes.begin(), sizes.end());
  std::erase_if(scenario->contenders,
                [&](const auto& contender) { return !contenders.contains(contender.name); });
  const auto rows = testbed::RunCompare(*scenario, RunOptions(values));
  return testbed::ParseCompare(testbed::CompareJson(*scenario, rows).dump(), committed.scenario);
}

Result<double> Tolerance(const po::variables_map& values) {
  auto tolerance = ParseProbability(values["tolerance"].as<std::string>());
  if (!tolerance) return Fail(ErrorCode::kInvalid, tolerance.error().message, "--tolerance");
  return tolerance;
}

using Gates = std::vector<std::pair<std::string, std::vector<testbed::GateRow>>>;

Result<Gates> RunGates(const po::variables_map& values, double tolerance) {
  Gates gates;
  for (const std::string& file : values["baseline"].as<std::vector<std::string>>()) {
    const auto committed = testbed::LoadCompare(file);
    if (!committed) return tl::unexpected(committed.error());
    if (committed->rows.empty()) return Fail(ErrorCode::kInvalid, "has no rows to hold", file);
    const bool given = values.count("run") > 0;
    const auto run = given ? testbed::LoadCompare(values["run"].as<std::string>())
                           : RunAgain(*committed, values);
    if (!run) return tl::unexpected(run.error());
    if (run->label != committed->label) {
      return Fail(ErrorCode::kInvalid,
                  "is " + committed->label + ", the run is " + run->label +
                      ": one says nothing about the other",
                  file);
    }
    gates.emplace_back(file, testbed::Judge(*committed, *run, tolerance));
  }
  return gates;
}

}  // namespace

int CmdGate(const std::vector<std::string>& args) {
  cli::Options options;
  options.usage = kUsage;
  options.hidden.add_options()("baseline", po::value<std::vector<std::string>>());
  options.positional.add("baseline", -1);
  auto add = options.visible.add_options();
  add("tolerance", po::value<std::string>()->default_value("2 %"), "what a row may lose");
  add("run", po::value<std::string>(), "judge this run's JSON instead of running again");
  add("junit", po::value<std::string>(), "write the verdicts here, for a CI system");
  AddRunOptions(options);
  options.rules = {
      cli::Excludes("jobs", "run", "does nothing with --run: what ran is in its file")};
  bool help = false;
  const auto values = cli::Parse(options, args, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  if (values->count("baseline") == 0) {
    return cli::Report({ErrorCode::kInvalid, "which baseline? See farspan gate --help", {}});
  }
  const auto outputs = CheckOutputs(*values, {"junit"});
  if (!outputs) return cli::Report(outputs.error());
  const auto tolerance = Tolerance(*values);
  if (!tolerance) return cli::Report(tolerance.error());
  const auto gates = RunGates(*values, *tolerance);
  if (!gates) return cli::Report(gates.error());
  bool passed = true;
  for (const auto& [file, rows] : *gates) {
    fmt::print("{}", testbed::GateText(file, rows));
    passed = passed && testbed::AllPassed(rows);
  }
  if (values->count("junit") > 0) {
    const auto written =
        WriteText((*values)["junit"].as<std::string>(), testbed::GateJunit(*gates), "--junit");
    if (!written) return cli::Report(written.error());
  }
  return passed ? cli::kExitGood : cli::kExitFailed;
}

}  // namespace farspan
