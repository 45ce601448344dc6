// farspan-emulator simulate: what a configuration's links do, in virtual time: no root, no ports.
#include <fmt/core.h>

#include <algorithm>
#include <iterator>

#include "emulator/cli/write_text.h"
#include "emulator/commands.h"
#include "emulator/config_source.h"
#include "emulator/survey/rows.h"
#include "emulator/survey/survey.h"

namespace farspan {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage =
    "Usage: farspan-emulator simulate --config FILE [OPTIONS]\n"
    "       farspan-emulator simulate (--distance D | --delay T | --rtt T | --route R) "
    "[OPTIONS]\n\n"
    "Sends ping, a probe stream and a flood over every link in virtual time and prints what was\n"
    "asked for against what they measured. Exits with 0 if every row passes, 1 if one fails.\n\n";

constexpr double kMostSeconds = 3'600;

cli::Options SimulateOptions() {
  cli::Options options;
  options.usage = kUsage;
  AddConfigOptions(options);
  options.visible.add_options()("seconds", po::value<double>()->default_value(10),
                                "virtual time that the probe takes")(
      "json", po::value<std::string>(), "write the rows (JSON) here");
  return options;
}

// Ports mean nothing here, so the one-line form needs none.
std::vector<std::string> WithPorts(std::vector<std::string> args) {
  const bool given = std::any_of(args.begin(), args.end(), [](const std::string& arg) {
    return arg.starts_with("--config") || arg.starts_with("-c") || arg.starts_with("--wire");
  });
  if (!given) args.insert(args.end(), {"--wire", "a,b"});
  return args;
}

Result<std::vector<survey::Row>> SurveyLinks(const config::EmulatorConfig& config, double seconds) {
  std::vector<survey::Row> rows;
  for (const config::LinkSpec& link : config.links) {
    const survey::SurveySpec spec{
        .ab = link.ab, .ba = link.ba, .link = link.name, .seed = config.seed, .seconds = seconds};
    auto report = survey::RunSurvey(spec);
    if (!report) {
      Error error = report.error();
      if (error.context.empty()) error.context = "link " + link.name;
      return tl::unexpected(error);
    }
    for (survey::Row& row : survey::Judge(spec, *report)) {
      if (config.links.size() > 1) row.name = link.name + ": " + row.name;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace

int CmdSimulate(const std::vector<std::string>& args) {
  bool help = false;
  const auto values = cli::Parse(SimulateOptions(), WithPorts(args), help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  const double seconds = (*values)["seconds"].as<double>();
  if (!(seconds > 0 && seconds <= kMostSeconds)) {
    return cli::Report(
        {ErrorCode::kInvalid,
         fmt::format("{} s; expected more than 0 and at most {}", seconds, kMostSeconds),
         "--seconds"});
  }
  const std::string json = values->count("json") != 0 ? (*values)["json"].as<std::string>() : "";
  const auto writable = cli::CheckWritable(json, "--json");
  if (!writable) return cli::Report(writable.error());
  const auto config = ReadConfig(*values);
  if (!config) return cli::Report(config.error());
  const auto rows = SurveyLinks(*config, seconds);
  if (!rows) return cli::Report(rows.error());
  fmt::print("Virtual time: the emulator's link model, with hosts and ports that take none.\n\n{}",
             survey::TableText(*rows));
  if (!json.empty()) {
    const auto written = WriteText(json, survey::TableJson(*rows, config->seed), "--json");
    if (!written) return cli::Report(written.error());
  }
  return survey::AllPass(*rows) ? cli::kExitGood : cli::kExitFailed;
}

}  // namespace farspan
