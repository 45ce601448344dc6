// farspan bench COLLECTIVE: nccl-tests' sizes, options and columns over Farspan's transports.
#include <fmt/core.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/units.h"
#include "emulator/cli/write_text.h"
#include "transports/bench_nets.h"
#include "transports/commands.h"
#include "transports/nccl_tests_options.h"
#include "transports/net_options.h"
#include "transports/testbed/bench.h"
#include "transports/testbed/launch.h"
#include "transports/testbed/net_group.h"

namespace farspan {
namespace {

namespace po = boost::program_options;
using testbed::BenchOptions;

constexpr uint64_t kOperationsMax = 10'000'000;  // their times are kept

constexpr std::string_view kUsage =
    "Usage: farspan bench COLLECTIVE [options]\n\n"
    "COLLECTIVE is all_reduce, all_gather, reduce_scatter, alltoall or sendrecv. Without --rank "
    "all\n"
    "ranks run on this machine; mpirun and srun are understood (give --root then).\n\n";

struct Work {
  collectives::Collective collective;
  testbed::Compression compression;
  collectives::Schedule schedule;
};

// A ring cannot be compressed, so it is not the default of what is.
collectives::Schedule DefaultSchedule(const po::variables_map& values, const Work& work) {
  if (work.compression == testbed::Compression::kNone) {
    return collectives::DefaultSchedule(work.collective);
  }
  return values["ranks-per-site"].as<uint32_t>() > 1 ? collectives::Schedule::kHierarchical
                                                     : collectives::Schedule::kDirect;
}

Result<Work> ReadWork(const po::variables_map& values) {
  const auto text = [&](const char* option) { return values[option].as<std::string>(); };
  const auto collective = ParseWord(collectives::kCollectives, text("collective"), "collective");
  if (!collective) return tl::unexpected(collective.error());
  const auto compression = ParseWord(testbed::kCompressions, text("compress"), "compression");
  if (!compression) return tl::unexpected(compression.error());
  Work work{*collective, *compression, {}};
  work.schedule = DefaultSchedule(values, work);
  if (values.count("schedule") == 0) return work;
  const auto schedule = ParseWord(collectives::kSchedules, text("schedule"), "schedule");
  if (!schedule) return tl::unexpected(schedule.error());
  work.schedule = *schedule;
  return work;
}

// What cannot be read is said later.
std::string WrongWithChannels(const po::variables_map& values) {
  if (values.count("collective") == 0) return {};
  const auto work = ReadWork(values);
  if (!work || work->schedule == collectives::Schedule::kRing) return {};
  return fmt::format("does nothing with the {} schedule: only rings are in parallel",
                     collectives::ToText(work->schedule));
}

void AddRules(cli::Options& options) {
  for (const char* option : {"rank", "root", "local", "timeout"}) {
    options.rules.push_back({option, [](const po::variables_map& values) -> std::string {
                               if (!IsSim(values)) return {};
                               return "does nothing with --net sim, whose ranks are all in this "
                                      "process and in virtual time; --world says how many";
                             }});
  }
  options.rules.push_back({"channels", WrongWithChannels});
  options.rules.push_back(
      cli::Excludes("stepbytes", "stepfactor", "sizes grow by a factor or by a step"));
  options.rules.push_back({"op", [](const po::variables_map& values) -> std::string {
                             if (values["op"].as<std::string>() == "sum") return {};
                             return "sum is the only reduction there is";
                           }});
}

cli::Options MakeOptions() {
  cli::Options options;
  options.usage = kUsage;
  options.hidden.add_options()("collective", po::value<std::string>());
  options.positional.add("collective", 1);
  const auto text = [](const char* value) {
    return po::value<std::string>()->default_value(value);
  };
  const auto number = [](uint32_t value) { return po::value<uint32_t>()->default_value(value); };
  auto add = options.visible.add_options();
  add("minbytes,b", text("1M"), "smallest size");
  add("maxbytes,e", text("32M"), "largest size");
  add("stepfactor,f", number(2), "from one size to the next");
  add("stepbytes,i", po::value<std::string>(), "in place of a factor: between sizes");
  add("iters,n", number(20), "iterations measured");
  add("agg_iters,m", number(1), "operations in an iteration");
  add("warmup_iters,w", number(5), "operations before them");
  add("op,o", text("sum"), "sum is the only one");
  add("datatype,d", text("float"), "float, bfloat16 or half");
  add("check,c", number(1),
      "operations verified, each on new values; 0: none (sim: move lengths only)");
  add("average,a", number(1),
      "times of 0: rank 0, 1: the mean of ranks, 2: the least, 3: the most");
  add("per_iter_timing,I", number(0), "1: columns of the iterations' own times (of rank 0)");
  add("schedule", po::value<std::string>(),
      "ring, direct or hierarchical (default: ring where there is one)");
  add("ranks-per-site", number(1), "ranks of a site are neighbours");
  add("compress", text("none"),
      "all_reduce, direct or hierarchical: fp8 or int8 between sites, none elsewhere");
  add("rank", po::value<uint32_t>(), "of this process");
  add("world", po::value<uint32_t>(), "number of ranks (default 2)");
  add("root", text(""),
      "where rank 0 listens: 10.0.0.1:7000 (default, without --rank: the loopback)");
  add("local", text(""), "address to use, port 0 as a rule");
  add("timeout,T", text("30 s"), "without progress");
  add("json,J", text(""), "write all figures here");
  AddNetOptions(options);
  AddNcclTestsOptions(options);
  AddRules(options);
  return options;
}

Result<void> ReadSizes(const po::variables_map& values, BenchOptions& options) {
  for (const auto& [name, target] : {std::pair{"minbytes", &options.min_bytes},
                                     {"maxbytes", &options.max_bytes},
                                     {"stepbytes", &options.step}}) {
    if (values.count(name) == 0) continue;
    const auto bytes = ParseSize(values[name].as<std::string>());
    if (!bytes) return Fail(ErrorCode::kInvalid, bytes.error().message, fmt::format("--{}", name));
    *target = *bytes;
  }
  options.factor = values["stepfactor"].as<uint32_t>();
  const bool grow = values.count("stepbytes") > 0 ? options.step > 0 : options.factor >= 2;
  if (grow && options.min_bytes > 0 && options.min_bytes <= options.max_bytes) return {};
  return Fail(ErrorCode::kInvalid,
              "sizes must grow: --stepfactor of 2 or more or --stepbytes of 1 or more, --minbytes "
              "between 1 and --maxbytes");
}

Result<void> ReadCounts(const po::variables_map& values, BenchOptions& options) {
  const auto number = [&](const char* option) { return values[option].as<uint32_t>(); };
  options.iterations = number("iters");
  options.aggregate = number("agg_iters");
  options.warm_up = number("warmup_iters");
  options.checks = number("check");
  options.per_iteration = number("per_iter_timing") != 0;
  const uint64_t operations = uint64_t{options.iterations} * options.aggregate;
  if (operations == 0 || operations > kOperationsMax) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{} iterations of {} operations: 1 to {} are measured",
                            options.iterations, options.aggregate, kOperationsMax),
                "--iters");
  }
  if (number("average") > 3) {
    return Fail(ErrorCode::kInvalid, "0 (rank 0), 1 (mean), 2 (least) or 3 (most)", "--average");
  }
  options.average = static_cast<testbed::Average>(number("average"));
  return {};
}

Result<BenchOptions> ReadBench(const po::variables_map& values, uint32_t world) {
  BenchOptions options;
  if (world < 2) return Fail(ErrorCode::kInvalid, "a collective needs at least 2 ranks", "--world");
  const auto work = ReadWork(values);
  if (!work) return tl::unexpected(work.error());
  const auto element =
      ParseWord(testbed::kElements, values["datatype"].as<std::string>(), "data type");
  if (!element) return tl::unexpected(element.error());
  const auto nccl = ReadNccl(values);
  if (!nccl) return tl::unexpected(nccl.error());
  if (auto read = ReadSizes(values, options); !read) return tl::unexpected(read.error());
  if (auto read = ReadCounts(values, options); !read) return tl::unexpected(read.error());
  options.shape.slot_bytes = nccl->buffsize / options.slots;
  options.shape.collective = work->collective;
  options.shape.schedule = work->schedule;
  options.shape.ranks = world;
  options.shape.ranks_per_site = values["ranks-per-site"].as<uint32_t>();
  options.shape.channels = nccl->channels;
  options.element = *element;
  if (auto able = options.compress(work->compression); !able) return tl::unexpected(able.error());
  options.lengths_only = IsSim(values) && options.checks == 0;
  if (const auto usable = testbed::Check(options); !usable) return tl::unexpected(usable.error());
  return options;
}

// Of an option.
Result<SocketAddress> Address(const std::string& text, const char* option) {
  auto address = ParseReachable(text);
  if (!address) return Fail(ErrorCode::kInvalid, address.error().message, option);
  return address;
}

// The address that this rank uses: as told, or the one that reaches the root.
Result<SocketAddress> LocalFor(const std::string& told, const SocketAddress& root) {
  if (!told.empty()) return Address(told, "--local");
  const int fd = ::socket(root.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  SocketAddress local = root;
  if (::connect(fd, root.get(), root.length) == 0) local = LocalAddress(fd);
  ::close(fd);
  return WithPort(local, 0);
}

// As nccl-tests has it, a number alone is seconds.
Result<TimeNs> ParseTimeout(const std::string& text) {
  const bool bare = text.find_first_not_of("0123456789") == std::string::npos;
  return ParseTime(bare ? text + " s" : text);
}

// Runs all sizes on one group; `speaks`: this process prints and writes.
Result<int> RunOn(testbed::Group& group, const BenchOptions& options, bool speaks,
                  const std::string& file) {
  if (speaks) fmt::print("{}", testbed::BenchHeader(options));
  bool right = true;
  const auto rows = testbed::RunBench(group, options, [&](const testbed::BenchRow& row) {
    right = right && row.out_of_place.wrong <= 0 && row.in_place.wrong <= 0;
    if (speaks) fmt::print("{}", testbed::ToText(options, row));
    std::fflush(stdout);
  });
  if (!rows) return tl::unexpected(rows.error());
  if (speaks && !file.empty()) {
    const auto written =
        WriteText(file, testbed::ToJson(options, *rows, group.label()).dump(2) + "\n", "--json");
    if (!written) return tl::unexpected(written.error());
  }
  return right ? cli::kExitGood : cli::kExitFailed;
}

Result<int> RunSim(const po::variables_map& values, const BenchOptions& options) {
  auto group = MakeSim(values, options);
  if (!group) return tl::unexpected(group.error());
  return RunOn(**group, options, true, values["json"].as<std::string>());
}

Result<int> RunNet(const po::variables_map& values, const BenchOptions& options,
                   const testbed::Launched& launched) {
  const auto timeout = ParseTimeout(values["timeout"].as<std::string>());
  if (!timeout) return Fail(ErrorCode::kInvalid, timeout.error().message, "--timeout");
  const auto root = Address(launched.root, "--root");
  if (!root) return tl::unexpected(root.error());
  const auto local = LocalFor(values["local"].as<std::string>(), *root);
  if (!local) return tl::unexpected(local.error());
  auto transport = OpenNet(values, *local, *timeout);
  if (!transport) return tl::unexpected(transport.error());
  auto bootstrap = testbed::Bootstrap::Join(
      {launched.rank, launched.world, *root, testbed::Describe(options), *timeout});
  if (!bootstrap) return tl::unexpected(bootstrap.error());
  testbed::NetGroup group(std::move(*bootstrap), std::move(*transport), *timeout);
  return RunOn(group, options, launched.rank == 0, values["json"].as<std::string>());
}

int CodeOf(const Result<int>& result) { return result ? *result : cli::Report(result.error()); }

}  // namespace

int CmdBench(const std::vector<std::string>& args) {
  bool help = false;
  const auto values = cli::Parse(MakeOptions(), args, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  if (values->count("collective") == 0) {
    return cli::Report({ErrorCode::kInvalid, "which collective? See farspan bench --help", {}});
  }
  testbed::LaunchOptions launch;
  if (values->count("rank") > 0) launch.rank = (*values)["rank"].as<uint32_t>();
  if (values->count("world") > 0) launch.world = (*values)["world"].as<uint32_t>();
  launch.root = (*values)["root"].as<std::string>();
  const auto environment = [](const char* name) { return std::getenv(name); };
  const bool sim = IsSim(*values);
  // What is wrong with the options is said once, before there are other ranks.
  const auto options =
      ReadBench(*values, sim ? launch.world.value_or(2) : testbed::WorldOf(launch, environment));
  if (!options) return cli::Report(options.error());
  const auto writable = cli::CheckWritable((*values)["json"].as<std::string>(), "--json");
  if (sim) return writable ? CodeOf(RunSim(*values, *options)) : cli::Report(writable.error());
  const auto launched = testbed::FindRank(launch, environment);
  if (!launched) return cli::Report(launched.error());
  // Rank 0 writes; those that were started for it end with it.
  if (!writable && launched->rank == 0) return cli::Report(writable.error());
  return testbed::WaitForRanks(*launched, CodeOf(RunNet(*values, *options, *launched)));
}

}  // namespace farspan
