// farspan-emulator bench: packets per second that one core carries through a link.
#include <fmt/chrono.h>
#include <fmt/core.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "emulator/base/units.h"
#include "emulator/cli/write_text.h"
#include "emulator/commands.h"
#include "emulator/dpdk/bench.h"
#include "emulator/dpdk/certificate.h"
#include "emulator/dpdk/control_thread.h"

namespace farspan {
namespace {

namespace po = boost::program_options;
using nlohmann::ordered_json;

constexpr const char* kUsage =
    "Usage: farspan-emulator bench [--size BYTES]... [--delay T]... [OPTIONS] [-- EAL ARGS]\n\n"
    "One core: source with real headers, 400 Gb/s bottleneck, loss, delay, null port. Every size\n"
    "with every delay; by default 64, 1500 and 4096 bytes at 0.1, 10 and 50 ms.\n\n";

// Beyond what a core can do in the longest delay.
constexpr double kPacketsPerSecondMax = 32e6;

std::string CpuModel() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

ordered_json GapsJson(const dpdk::SpinGaps& gaps) {
  return {{"share_above_1us", gaps.share_in_long_gaps()},
          {"expected_lateness_p50_ns", gaps.expected_lateness(0.5).ns},
          {"expected_lateness_p99_ns", gaps.expected_lateness(0.99).ns},
          {"expected_lateness_p999_ns", gaps.expected_lateness(0.999).ns},
          {"max_ns", gaps.max().ns}};
}

ordered_json ToJson(const dpdk::BenchResult& r) {
  return {{"frame_bytes", r.asked.frame_bytes},
          {"delay_ns", r.asked.delay.ns},
          {"offered_packets_per_s", r.asked.packets_per_s},
          {"observer", r.asked.observed},
          {"measured_s", ToSeconds(r.asked.measured)},
          {"packets_per_s", r.packets_per_s},
          {"held_packets", r.held_packets},
          {"forwarded", r.forwarded},
          {"emulated_losses", r.emulated_losses},
          {"own_drops", r.own_drops},
          {"early", r.early},
          {"observed", r.observed},
          {"cycles_per_packet",
           {{"source", r.cycles.source}, {"accept", r.cycles.accept}, {"depart", r.cycles.depart}}},
          {"tick_hz", r.tick_hz},
          {"loop_p50_ns", r.loop_p50.ns},
          {"lateness_ns",
           {{"p50", r.late_p50.ns},
            {"p99", r.late_p99.ns},
            {"p999", r.late_p999.ns},
            {"max", r.late_max.ns}}},
          {"spin_gaps_before", GapsJson(r.gaps_before)},
          {"spin_gaps_after", GapsJson(r.gaps_after)}};
}

std::string Row(const dpdk::BenchResult& r) {
  return fmt::format(
      "{:>6} {:>9} {:>8.2f} {:>9} {:>6} {:>6} {:>7.1f} {:>7.1f} {:>7.1f} {:>9} {:>9} {:>9}\n",
      r.asked.frame_bytes, ToText(r.asked.delay), r.packets_per_s * 1e-6, r.held_packets,
      r.own_drops, r.early, r.cycles.source, r.cycles.accept, r.cycles.depart,
      dpdk::ShortText(r.late_p50), dpdk::ShortText(r.late_p99), dpdk::ShortText(r.late_max));
}

constexpr std::string_view kHeader =
    "  size     delay     Mpps      held    own  early  source  accept  depart  late p50  late p99 "
    " "
    "late max\n"
    "     B                      packets  drops         cycles per packet\n";

Result<std::vector<dpdk::BenchCase>> Cases(const po::variables_map& values) {
  std::vector<dpdk::BenchCase> cases;
  dpdk::BenchCase one;
  one.measured = TimeNs{static_cast<int64_t>(values["seconds"].as<double>() * 1e9)};
  one.packets_per_s = values["packet-rate"].as<uint64_t>();
  one.observed = values.count("observer") != 0;
  for (const uint32_t size : values["size"].as<std::vector<uint32_t>>()) {
    if (size < 64 || size > 9018) {
      return Fail(ErrorCode::kInvalid, fmt::format("{} is not a frame: 64 to 9018 bytes", size),
                  "--size");
    }
    for (const std::string& text : values["delay"].as<std::vector<std::string>>()) {
      const auto delay = ParseTime(text);
      if (!delay) return Fail(ErrorCode::kInvalid, delay.error().message, "--delay");
      one.frame_bytes = size;
      one.delay = *delay;
      cases.push_back(one);
    }
  }
  return cases;
}

Result<void> Run(const std::vector<dpdk::BenchCase>& cases, dpdk::Bench::Options options,
                 const std::string& json_file) {
  TimeNs longest{};
  for (const dpdk::BenchCase& c : cases) {
    options.largest_frame_bytes = std::max(options.largest_frame_bytes, c.frame_bytes);
    longest = std::max(longest, c.delay);
  }
  options.held_packets_max =
      static_cast<uint64_t>(ToSeconds(longest) * kPacketsPerSecondMax) + 65'536;
  auto bench = dpdk::Bench::Create(options);
  if (!bench) return tl::unexpected(bench.error());
  ordered_json results = ordered_json::array();
  fmt::print("{}", kHeader);
  for (const dpdk::BenchCase& c : cases) {
    const auto result = (*bench)->run(c);
    if (!result) return tl::unexpected(result.error());
    fmt::print("{}", Row(*result));
    std::fflush(stdout);
    results.push_back(ToJson(*result));
  }
  if (json_file.empty()) return {};
  const ordered_json document{{"schema", "farspan.bench.v1"},
                              {"label", "measured"},
                              {"date", fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr)))},
                              {"cpu", CpuModel()},
                              {"hugepages", (*bench)->hugepages()},
                              {"results", results}};
  return WriteText(json_file, document.dump(2) + "\n", "--json");
}

}  // namespace

int CmdBench(const std::vector<std::string>& args) {
  dpdk::CpusAtStart();
  cli::Options options;
  options.usage = kUsage;
  auto add = options.visible.add_options();
  add("size", po::value<std::vector<uint32_t>>()->composing()->default_value({64, 1500, 4096}, "…"),
      "frame size with FCS");
  add("delay",
      po::value<std::vector<std::string>>()->composing()->default_value({"0.1ms", "10ms", "50ms"},
                                                                        "…"),
      "one way");
  add("seconds", po::value<double>()->default_value(2), "measured, per case");
  add("packet-rate", po::value<uint64_t>()->default_value(0),
      "packets per second offered; 0: as many as the core can");
  add("observer", "follow the queue pairs (the traffic is RoCEv2 of 64 of them either way)");
  add("reserve-hugepages", "reserve what hugepages are missing, for this run only");
  add("json", po::value<std::string>()->default_value(""), "write results here");
  const auto dashes = std::find(args.begin(), args.end(), "--");
  bool help = false;
  const auto values = cli::Parse(options, {args.begin(), dashes}, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  const auto writable = cli::CheckWritable((*values)["json"].as<std::string>(), "--json");
  if (!writable) return cli::Report(writable.error());
  const auto cases = Cases(*values);
  if (!cases) return cli::Report(cases.error());
  dpdk::Bench::Options bench;
  bench.reserve_hugepages = values->count("reserve-hugepages") != 0;
  if (dashes != args.end()) bench.eal_arguments.assign(dashes + 1, args.end());
  const auto done = Run(*cases, bench, (*values)["json"].as<std::string>());
  return done ? cli::kExitGood : cli::Report(done.error());
}

}  // namespace farspan
