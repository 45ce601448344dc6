// farspan external: any command as a contender, a server on one host and a client on the other.
#include <fmt/core.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/units.h"
#include "emulator/cli/write_text.h"
#include "transports/bench_nets.h"
#include "transports/commands.h"
#include "transports/testbed/external.h"
#include "transports/testbed/launch.h"

namespace farspan {
namespace {

namespace po = boost::program_options;
using testbed::ExternalSpec;

constexpr std::string_view kUsage =
    "Usage: farspan external --server COMMAND --client COMMAND [options]\n\n"
    "Runs the server on rank 0's host and the client on rank 1's, for every size, and reads "
    "goodput\n"
    "from what they print. {host}, {port}, {size} and {role} are filled in. Without --rank both "
    "run\n"
    "on this machine; mpirun and srun are understood. For example:\n"
    "  farspan external --server 'iperf3 -s -1 --forceflush -p {port}' --ready listening\n"
    "    --client 'iperf3 -c {host} -p {port} -n {size} -J'\n"
    "    --goodput json:/end/sum_received/bits_per_second\n\n";

cli::Options MakeOptions() {
  cli::Options options;
  options.usage = kUsage;
  const auto text = [](const char* value) {
    return po::value<std::string>()->default_value(value);
  };
  const auto number = [](uint32_t value) { return po::value<uint32_t>()->default_value(value); };
  auto add = options.visible.add_options();
  add("server", text(""), "a shell command");
  add("client", text(""), "a shell command");
  add("goodput", text("wall"), "wall (of the client), json:POINTER or regex:EXPRESSION (RE2)");
  add("scale", po::value<double>()->default_value(1), "makes bits per second of what is read");
  add("from", text("client"), "client or server: whose output is read");
  add("ready", text(""), "the server is ready when its output matches this expression");
  add("settle", text("500 ms"), "or so long after its start");
  add("limit", text("60 s"), "for one run of the client");
  add("minbytes,b", text("1M"), "smallest size");
  add("maxbytes,e", text("32M"), "largest size");
  add("stepfactor,f", number(2), "from one size to the next");
  add("iters,n", number(5), "runs of each size");
  add("rank", po::value<uint32_t>(), "of this process: 0 serves, 1 is the client");
  add("root", text(""),
      "where rank 0 listens: 10.0.0.1:7000 (default, without --rank: the loopback)");
  add("port", po::value<uint16_t>(), "of the commands (default: one that is free)");
  add("json", text(""), "write all figures here");
  options.rules = {cli::Excludes("settle", "ready",
                                 "does nothing with --ready, which says when the server is ready; "
                                 "--limit bounds that wait")};
  for (const char* option : {"scale", "from"}) {
    options.rules.push_back({option, [](const po::variables_map& values) -> std::string {
                               if (values["goodput"].as<std::string>() != "wall") return {};
                               return "does nothing with the wall clock's goodput: say with "
                                      "--goodput json:POINTER or regex:EXPRESSION what to read";
                             }});
  }
  return options;
}

Result<ExternalSpec> ReadSpec(const po::variables_map& values) {
  const auto text = [&](const char* name) { return values[name].as<std::string>(); };
  ExternalSpec spec;
  spec.server = text("server");
  spec.client = text("client");
  spec.goodput = text("goodput");
  spec.scale = values["scale"].as<double>();
  spec.ready = text("ready");
  spec.factor = values["stepfactor"].as<uint32_t>();
  spec.iterations = values["iters"].as<uint32_t>();
  if (text("from") != "client" && text("from") != "server") {
    return Fail(ErrorCode::kInvalid, "expected client or server", "--from");
  }
  spec.from_server = text("from") == "server";
  for (const auto& [name, target] :
       {std::pair{"minbytes", &spec.min_bytes}, {"maxbytes", &spec.max_bytes}}) {
    const auto bytes = ParseSize(text(name));
    if (!bytes) return Fail(ErrorCode::kInvalid, bytes.error().message, fmt::format("--{}", name));
    *target = *bytes;
  }
  for (const auto& [name, target] : {std::pair{"settle", &spec.settle}, {"limit", &spec.limit}}) {
    const auto time = ParseTime(text(name));
    if (!time) return Fail(ErrorCode::kInvalid, time.error().message, fmt::format("--{}", name));
    *target = *time;
  }
  if (const auto usable = testbed::Check(spec); !usable) return tl::unexpected(usable.error());
  return spec;
}

Result<void> Run(const po::variables_map& values, const ExternalSpec& spec,
                 const testbed::Launched& launched) {
  const auto root = ParseReachable(launched.root);
  if (!root) return Fail(ErrorCode::kInvalid, root.error().message, "--root");
  // A turn lasts as long as a client may, and its server to be ready and to end.
  const TimeNs turn = spec.limit + spec.limit + TimeNs{10'000'000'000};
  auto bootstrap = testbed::Bootstrap::Join(
      {launched.rank, launched.world, *root, testbed::Describe(spec), turn});
  if (!bootstrap) return tl::unexpected(bootstrap.error());
  std::optional<uint16_t> port;
  if (values.count("port") > 0) port = values["port"].as<uint16_t>();
  const bool speaks = launched.rank == 0;
  if (speaks) fmt::print("{}", testbed::ExternalHeader());
  const auto rows = testbed::RunExternal(spec, **bootstrap, WithPort(*root, 0), port,
                                         [&](const testbed::ExternalRow& row) {
                                           if (speaks) fmt::print("{}", testbed::ToText(row));
                                           std::fflush(stdout);
                                         });
  if (!rows) return tl::unexpected(rows.error());
  const std::string file = values["json"].as<std::string>();
  if (!speaks || file.empty()) return {};
  return WriteText(file, testbed::ToJson(spec, *rows).dump(2) + "\n", "--json");
}

}  // namespace

int CmdExternal(const std::vector<std::string>& args) {
  bool help = false;
  const auto values = cli::Parse(MakeOptions(), args, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  const auto spec = ReadSpec(*values);
  if (!spec) return cli::Report(spec.error());
  testbed::LaunchOptions launch;
  if (values->count("rank") > 0) launch.rank = (*values)["rank"].as<uint32_t>();
  launch.world = 2;
  launch.root = (*values)["root"].as<std::string>();
  const auto launched =
      testbed::FindRank(launch, [](const char* name) { return std::getenv(name); });
  if (!launched) return cli::Report(launched.error());
  const auto writable = cli::CheckWritable((*values)["json"].as<std::string>(), "--json");
  if (!writable && launched->rank == 0) return cli::Report(writable.error());
  const auto done = Run(*values, *spec, *launched);
  return testbed::WaitForRanks(*launched, done ? cli::kExitGood : cli::Report(done.error()));
}

}  // namespace farspan
