// farspan report FILE…: comparisons as one HTML page, and their plots as SVG, CSV and PDF.
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "emulator/base/units.h"
#include "transports/commands.h"
#include "transports/scenario_options.h"
#include "transports/testbed/report.h"

namespace farspan {
namespace {

namespace po = boost::program_options;

constexpr std::string_view kUsage =
    "Usage: farspan report FILE… [options]\n\n"
    "FILE is what farspan compare --json wrote, or a directory of such.\n\n";

std::vector<std::string> FilesOf(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
      if (entry.path().extension() == ".json") inside.push_back(entry.path().string());
    }
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

// librsvg's own program; fonts and all are its.
Result<void> WritePdf(const std::string& base) {
  const std::string svg = base + ".svg", pdf = base + ".pdf";
  const pid_t child = fork();
  if (child == 0) {
    execlp("rsvg-convert", "rsvg-convert", "--format=pdf", "--output", pdf.c_str(), svg.c_str(),
           nullptr);
    std::_Exit(127);
  }
  int status = 0;
  if (child > 0 && waitpid(child, &status, 0) == child && status == 0) return {};
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
    return Fail(ErrorCode::kMachine, "rsvg-convert is missing: apt install librsvg2-bin", "--pdf");
  }
  return Fail(ErrorCode::kIo, "rsvg-convert could not write '" + pdf + "'", "--pdf");
}

Result<void> WritePlots(const std::string& directory, bool as_pdf,
                        const std::vector<testbed::ReportPlot>& plots) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  for (const testbed::ReportPlot& plot : plots) {
    const std::string base = directory + "/" + plot.name;
    if (auto written = WriteText(base + ".svg", plot.svg, "--plots"); !written) return written;
    if (auto written = WriteText(base + ".csv", plot.csv, "--plots"); !written) return written;
    if (!as_pdf) continue;
    if (auto written = WritePdf(base); !written) return written;
  }
  return {};
}

Result<testbed::TrainingStep> ReadStep(const po::variables_map& values) {
  testbed::TrainingStep step;
  if (values.count("step-compute") > 0) {
    const auto time = ParseTime(values["step-compute"].as<std::string>());
    if (!time) return Fail(ErrorCode::kInvalid, time.error().message, "--step-compute");
    step.compute = *time;
  }
  if (values.count("step-bytes") > 0) {
    const auto bytes = ParseBytes(values["step-bytes"].as<std::string>());
    if (!bytes) return Fail(ErrorCode::kInvalid, bytes.error().message, "--step-bytes");
    step.gradient_bytes = *bytes;
  }
  if (step.compute.ns > 0 && step.gradient_bytes > 0) return step;
  return Fail(ErrorCode::kInvalid, "--step-compute and --step-bytes are more than 0");
}

// Options of a plot that is not drawn do nothing.
Result<void> CheckSteps(const po::variables_map& values,
                        const std::vector<testbed::CompareRecord>& records,
                        const testbed::TrainingStep& step) {
  for (const char* option : {"step-compute", "step-bytes"}) {
    if (values.count(option) == 0 ||
        std::any_of(records.begin(), records.end(),
                    [&](const auto& record) { return testbed::HasSteps(record, step); })) {
      continue;
    }
    return Fail(ErrorCode::kInvalid,
                fmt::format("nothing to draw: of all-reduces of {} or less, over round trips that "
                            "differ, there is no comparison",
                            BytesToText(step.gradient_bytes)),
                fmt::format("--{}", option));
  }
  return {};
}

Result<void> Run(const po::variables_map& values) {
  const auto step = ReadStep(values);
  if (!step) return tl::unexpected(step.error());
  std::vector<testbed::CompareRecord> records;
  for (const std::string& file : FilesOf(values["file"].as<std::vector<std::string>>())) {
    auto record = testbed::LoadCompare(file);
    if (!record) return tl::unexpected(record.error());
    records.push_back(std::move(*record));
  }
  if (records.empty()) {
    return Fail(ErrorCode::kNotFound, "no .json of farspan compare is in what was given", "report");
  }
  if (auto good = CheckSteps(values, records, *step); !good) return good;
  for (const testbed::CompareRecord& record : records) {
    if (values.count("plots") == 0) break;
    const auto written = WritePlots(values["plots"].as<std::string>(), values.count("pdf") > 0,
                                    testbed::PlotsOf(record, *step));
    if (!written) return written;
  }
  return WriteText(values["output"].as<std::string>(), testbed::ReportHtml(records, *step),
                   "--output");
}

}  // namespace

int CmdReport(const std::vector<std::string>& args) {
  cli::Options options;
  options.usage = kUsage;
  options.hidden.add_options()("file", po::value<std::vector<std::string>>());
  options.positional.add("file", -1);
  auto add = options.visible.add_options();
  add("output,o", po::value<std::string>()->default_value("report.html"), "the page");
  add("plots", po::value<std::string>(), "a directory for each plot's SVG and CSV");
  add("pdf", "each plot as PDF too (rsvg-convert)");
  add("step-compute", po::value<std::string>(),
      "a training step's computation, for the plot of step times (default: 22.8 s)");
  add("step-bytes", po::value<std::string>(), "and its gradients (default: 20 GB)");
  options.rules = {cli::Needs("pdf", "plots", "needs --plots DIR to write to")};
  bool help = false;
  const auto values = cli::Parse(options, args, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  if (values->count("file") == 0) {
    return cli::Report({ErrorCode::kInvalid, "which files? See farspan report --help", {}});
  }
  const auto done = Run(*values);
  return done ? cli::kExitGood : cli::Report(done.error());
}

}  // namespace farspan
