// farspan conform LIB: does a transport in a shared library keep the rules that collectives need?
#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/units.h"
#include "emulator/cli/write_text.h"
#include "transports/commands.h"
#include "transports/testbed/conform_library.h"

namespace farspan {
namespace {

namespace po = boost::program_options;
using Verdict = testbed::LibraryCase::Verdict;

constexpr std::string_view kUsage =
    "Usage: farspan conform LIB [options]\n\n"
    "LIB is a shared library with the door of transports/abi/farspan_transport.h, or an NCCL net\n"
    "plugin (ncclNetPlugin_v8 to v12). Exit code 0: it conforms; 1: it does not; 2: it is no such\n"
    "library.\n\n";

cli::Options MakeOptions() {
  cli::Options options;
  options.usage = kUsage;
  options.hidden.add_options()("library", po::value<std::string>());
  options.positional.add("library", 1);
  const auto text = [](const char* value) {
    return po::value<std::string>()->default_value(value);
  };
  auto add = options.visible.add_options();
  add("transport-options", text(""),
      "what the library is told; of an NCCL plugin device=N,version=V");
  add("local", text("127.0.0.1"), "address that both ends use (an NCCL plugin has its own)");
  add("timeout", text("10 s"), "for each case");
  add("only", text(""), "the cases with this in their name");
  add("json", text(""), "write the result here");
  return options;
}

std::string_view Word(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPassed:
      return "passed";
    case Verdict::kFailed:
      return "FAILED";
    case Verdict::kNotAsked:
      break;
  }
  return "not asked";
}

nlohmann::json ToJson(const testbed::LibraryReport& report) {
  nlohmann::json cases = nlohmann::json::array();
  for (const testbed::LibraryCase& one : report.cases) {
    cases.push_back({{"name", one.name}, {"verdict", Word(one.verdict)}, {"detail", one.detail}});
  }
  return {{"schema", "farspan.conform.v1"}, {"library", report.file},
          {"transport", report.name},       {"door", report.door},
          {"conforms", report.conforms()},  {"cases", cases}};
}

Result<int> Run(const po::variables_map& values) {
  if (values.count("library") == 0) {
    return Fail(ErrorCode::kInvalid, "which library? See farspan conform --help");
  }
  const auto timeout = ParseTime(values["timeout"].as<std::string>());
  if (!timeout) return Fail(ErrorCode::kInvalid, timeout.error().message, "--timeout");
  const auto text = [&](const char* name) { return values[name].as<std::string>(); };
  const auto json = cli::CheckWritable(text("json"), "--json");
  if (!json) return tl::unexpected(json.error());
  const testbed::LibraryConformance options{
      text("library"),
      {text("local"), text("transport-options"), *timeout, cli::Given(values, "local")},
      *timeout,
      text("only")};
  const auto print = [](const testbed::LibraryCase& one) {
    const bool asked = one.verdict != Verdict::kNotAsked;
    fmt::print("{:<34} {}{}{}\n", one.name, Word(one.verdict),
               asked && one.detail.empty() ? "" : ": ",
               asked ? one.detail : "NCCL's net API does not promise it");
    std::fflush(stdout);
  };
  const auto report = testbed::RunLibraryConformance(options, print);
  if (!report) return tl::unexpected(report.error());
  fmt::print("{}: {} by {} {}\n", options.path, report->name, report->door,
             report->conforms() ? "conforms" : "does not conform");
  if (const std::string file = text("json"); !file.empty()) {
    const auto written = WriteText(file, ToJson(*report).dump(2) + "\n", "--json");
    if (!written) return tl::unexpected(written.error());
  }
  return report->conforms() ? cli::kExitGood : cli::kExitFailed;
}

}  // namespace

int CmdConform(const std::vector<std::string>& args) {
  bool help = false;
  const auto values = cli::Parse(MakeOptions(), args, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  const auto code = Run(*values);
  return code ? *code : cli::Report(code.error());
}

}  // namespace farspan
