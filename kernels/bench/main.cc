// farspan-kernels: checks and times every operation of kernels.h on one device.
//
// Timing: an operation and a copy that moves as many bytes (read and written) take turns, and the
// medians are compared, so that a machine's bad moments meet both.
#include <getopt.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "kernels/bench/case.h"

namespace farspan::kernels::bench {
namespace {

constexpr double kBytesPerSecond400G = 50e9;

struct Options {
  std::string device = "auto";
  bool check = true;
  bool time = true;
  bool small = false;
  std::vector<uint64_t> bytes;
  std::vector<uint32_t> sms;
  double seconds = 0.25;
  std::string filter;
  std::string json;
  std::string commit = "unknown";
};

struct Row {
  std::string name;
  uint64_t payload = 0;
  uint64_t moved = 0;
  uint32_t sms = 0;
  double seconds = 0;
  double copy_seconds = 0;
  double relative_error = -1;

  double payload_rate() const { return static_cast<double>(payload) / seconds; }
  double moved_rate() const { return static_cast<double>(moved) / seconds; }
  double of_copy() const { return copy_seconds / seconds; }
};

struct CheckRow {
  std::string name;
  uint32_t shapes = 0;
  uint32_t failed = 0;
  double relative_error = -1;
};

constexpr const char* kUsage =
    "Usage: farspan-kernels [OPTION…]   checks and times the operations of kernels/kernels.h\n"
    "  --device cpu|cuda|auto  auto: cuda where there is a GPU (default)\n"
    "  --check, --time         only that (default: both)\n"
    "  --small                 check small shapes only, for slow tools such as compute-sanitizer\n"
    "  --bytes N,…             payload of a timed call, with K, M or G (default 16M,256M; CPU "
    "1M,256M)\n"
    "  --sms N,…               caps on multiprocessors, 0 for none (default 4,8,0; CPU: none)\n"
    "  --seconds S             for one timing (default 0.25)\n"
    "  --filter TEXT           operations whose name has TEXT in it\n"
    "  --json FILE             write the results there too\n"
    "  --commit ID             is noted in the results\n";

[[noreturn]] void Refuse(const std::string& what) {
  std::fprintf(stderr, "farspan-kernels: %s\n%s", what.c_str(), kUsage);
  std::exit(2);
}

uint64_t ParseSize(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const std::string unit = end;
  const double factor = unit == "K" ? 1 << 10 : unit == "M" ? 1 << 20 : unit == "G" ? 1 << 30 : 1;
  if (number < 0 || number * factor > 1e12 || (factor == 1 && !unit.empty()) ||
      end == text.c_str()) {
    Refuse("'" + text + "' is not a size such as 64M");
  }
  return static_cast<uint64_t>(number * factor);
}

double ParseSeconds(const std::string& text) {
  char* end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  if (!(seconds > 0) || *end != '\0') Refuse("--seconds is a number above 0");
  return seconds;
}

std::vector<uint64_t> ParseList(const std::string& text) {
  std::vector<uint64_t> values;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    values.push_back(ParseSize(text.substr(at, comma - at)));
    at = comma + 1;
  }
  return values;
}

// An option that would do nothing beside the others; `given` holds the letters of all.
void CheckOptions(const std::string& given, const Options& options) {
  const bool checks = options.check, times = options.time;
  if (!checks && !times) Refuse("--check and --time: leave both out for both");
  struct Rule {
    char option;
    bool acts;
    const char* otherwise;
  };
  for (const auto& [option, acts, otherwise] :
       {Rule{'s', checks, "--small is of the checks: leave out --time"},
        {'b', times, "--bytes is of the timing: leave out --check"},
        {'m', times, "--sms is of the timing: leave out --check"},
        {'r', times, "--seconds is of the timing: leave out --check"},
        {'i', !options.json.empty(), "--commit needs --json FILE to be noted in"}}) {
    if (given.find(option) != std::string::npos && !acts) Refuse(otherwise);
  }
}

Options Parse(int argc, char** argv) {
  constexpr option kOptions[] = {
      {"device", required_argument, nullptr, 'd'},  {"check", no_argument, nullptr, 'c'},
      {"time", no_argument, nullptr, 't'},          {"small", no_argument, nullptr, 's'},
      {"bytes", required_argument, nullptr, 'b'},   {"sms", required_argument, nullptr, 'm'},
      {"seconds", required_argument, nullptr, 'r'}, {"filter", required_argument, nullptr, 'f'},
      {"json", required_argument, nullptr, 'j'},    {"commit", required_argument, nullptr, 'i'},
      {"help", no_argument, nullptr, 'h'},          {nullptr, 0, nullptr, 0}};
  Options options;
  std::string given;
  for (int choice; (choice = getopt_long(argc, argv, "h", kOptions, nullptr)) != -1;) {
    given += static_cast<char>(choice);
    switch (choice) {
      case 'd':
        options.device = optarg;
        break;
      case 'c':
        options.time = false;
        break;
      case 't':
        options.check = false;
        break;
      case 's':
        options.small = true;
        break;
      case 'b':
        options.bytes = ParseList(optarg);
        if (std::count(options.bytes.begin(), options.bytes.end(), 0)) {
          Refuse("--bytes of 0 cannot be timed");
        }
        break;
      case 'm':
        for (const uint64_t n : ParseList(optarg)) options.sms.push_back(static_cast<uint32_t>(n));
        break;
      case 'r':
        options.seconds = ParseSeconds(optarg);
        break;
      case 'f':
        options.filter = optarg;
        break;
      case 'j':
        options.json = optarg;
        break;
      case 'i':
        options.commit = optarg;
        break;
      case 'h':
        std::fputs(kUsage, stdout);
        std::exit(0);
      default:
        std::fputs(kUsage, stderr);
        std::exit(2);
    }
  }
  if (optind < argc) Refuse(std::string("unexpected '") + argv[optind] + "'");
  CheckOptions(given, options);
  return options;
}

std::unique_ptr<Device> MakeDevice(const std::string& name) {
  const bool has_gpu = fsk_has_device(FSK_CUDA) != 0;
  if (name == "cpu" || (name == "auto" && !has_gpu)) return MakeCpuDevice();
  if (name != "auto" && name != "cuda") Refuse("--device is cpu, cuda or auto");
  if (!has_gpu) {
    std::fprintf(stderr,
                 "farspan-kernels: no usable GPU, or built without CUDA (FARSPAN_CUDA=ON)\n");
    std::exit(3);
  }
#ifdef FARSPAN_HAS_CUDA
  return MakeCudaDevice();
#else
  return nullptr;
#endif
}

fsk_exec ExecOn(const Device& device, uint32_t sms) {
  return {FSK_ABI_VERSION, device.kind(), nullptr, sms, nullptr, 0};
}

void Run(Case& operation, const fsk_exec& exec) {
  if (const fsk_status status = operation.run(exec)) {
    std::fprintf(stderr, "farspan-kernels: %s: %s: %s\n", operation.name().c_str(),
                 fsk_strerror(status), fsk_last_error());
    std::exit(1);
  }
}

CheckRow Check(Case& operation, Device& device, bool small) {
  constexpr Shape kShapes[] = {{1, 1, 0},       {60'000, 1, 0},      {60'000, 1, 1},
                               {90'000, 40, 1}, {1'000'000, 700, 3}, {3'000'000, 37, 16},
                               {32 << 20, 1, 0}};
  CheckRow row{operation.name()};
  for (const Shape& shape : kShapes) {
    if (small && shape.bytes > 100'000) continue;
    for (const uint32_t sms : {0u, 3u}) {
      if (sms > device.multiprocessors()) continue;
      operation.prepare(device, shape);
      Run(operation, ExecOn(device, sms));
      device.synchronise();
      const Outcome outcome = operation.verify(device);
      ++row.shapes;
      row.failed += !outcome.exact;
      if (outcome.relative_error >= 0) row.relative_error = outcome.relative_error;
    }
  }
  std::printf("%-32s %s", row.name.c_str(), row.failed ? "DIFFERS" : "bit-exact");
  if (row.relative_error >= 0) std::printf(", relative error %.4f", row.relative_error);
  std::printf("\n");
  std::fflush(stdout);
  return row;
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

Row Time(Case& operation, Device& device, uint32_t sms, double seconds) {
  constexpr int kRounds = 9;
  const uint64_t half = operation.moved() / 2;
  const Buffer from(device, half);
  const Buffer to(device, half);
  const fsk_exec exec = ExecOn(device, sms);
  const auto work = [&] { Run(operation, exec); };
  const auto copy = [&] { device.copy(to.at(), from.at(), half); };
  const auto repeats = [&](const std::function<void()>& what) {
    device.seconds(what, 1);  // warm-up
    const double once = device.seconds(what, 1);
    return std::clamp(static_cast<int>(seconds / (2 * kRounds) / once), 1, 1000);
  };
  const int work_repeats = repeats(work);
  const int copy_repeats = repeats(copy);
  std::vector<double> work_times;
  std::vector<double> copy_times;
  for (int round = 0; round < kRounds; ++round) {
    work_times.push_back(device.seconds(work, work_repeats));
    copy_times.push_back(device.seconds(copy, copy_repeats));
  }
  return {operation.name(),
          operation.payload(),
          operation.moved(),
          sms,
          Median(work_times),
          Median(copy_times),
          -1};
}

void Print(const Row& row, bool cpu) {
  std::printf("%-32s %8.1f MiB %5u %9.2f %9.2f %6.2f", row.name.c_str(),
              static_cast<double>(row.payload) / (1 << 20), row.sms, row.payload_rate() / 1e9,
              row.moved_rate() / 1e9, row.of_copy());
  if (cpu) std::printf(" %7.2f", kBytesPerSecond400G / row.payload_rate());
  std::printf("\n");
  std::fflush(stdout);
}

void WriteJson(const Options& options, const Device& device, const std::vector<CheckRow>& checks,
               const std::vector<Row>& rows) {
  FILE* file = std::fopen(options.json.c_str(), "w");
  if (!file) Refuse("cannot write '" + options.json + "'");
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%FT%TZ", std::gmtime(&now));
  std::fprintf(file,
               "{\n \"schema\": \"farspan.kernels.v1\",\n \"label\": \"measured\",\n"
               " \"date\": \"%s\",\n \"commit\": \"%s\",\n \"device\": \"%s\",\n"
               " \"checks\": [",
               date, options.commit.c_str(), fsk_device_name(device.kind()));
  for (size_t i = 0; i < checks.size(); ++i) {
    const CheckRow& c = checks[i];
    std::fprintf(file, "%s\n  {\"operation\": \"%s\", \"shapes\": %u, \"differ\": %u", i ? "," : "",
                 c.name.c_str(), c.shapes, c.failed);
    if (c.relative_error >= 0) std::fprintf(file, ", \"relative_error\": %.6g", c.relative_error);
    std::fprintf(file, "}");
  }
  std::fprintf(file, "\n ],\n \"timings\": [");
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& r = rows[i];
    std::fprintf(file,
                 "%s\n  {\"operation\": \"%s\", \"payload_bytes\": %llu, \"moved_bytes\": %llu, "
                 "\"max_sms\": %u, \"seconds\": %.6g, \"copy_seconds\": %.6g, "
                 "\"payload_gb_per_s\": %.5g, \"moved_gb_per_s\": %.5g, \"of_copy\": %.4g",
                 i ? "," : "", r.name.c_str(), static_cast<unsigned long long>(r.payload),
                 static_cast<unsigned long long>(r.moved), r.sms, r.seconds, r.copy_seconds,
                 r.payload_rate() / 1e9, r.moved_rate() / 1e9, r.of_copy());
    if (device.kind() == FSK_CPU) {
      std::fprintf(file, ", \"cores_for_400g\": %.4g", kBytesPerSecond400G / r.payload_rate());
    }
    std::fprintf(file, "}");
  }
  std::fprintf(file, "\n ]\n}\n");
  std::fclose(file);
}

std::vector<Row> TimeAll(const Options& options, Device& device,
                         const std::vector<std::unique_ptr<Case>>& cases) {
  const bool cpu = device.kind() == FSK_CPU;
  std::vector<uint64_t> sizes = options.bytes;
  if (sizes.empty())
    sizes = cpu ? std::vector<uint64_t>{1 << 20, 256 << 20}
                : std::vector<uint64_t>{16 << 20, 256 << 20};
  std::vector<uint32_t> caps = options.sms;
  if (caps.empty()) caps = cpu ? std::vector<uint32_t>{0} : std::vector<uint32_t>{4, 8, 0};
  std::printf("%-32s %12s %5s %9s %9s %6s%s\n", "operation", "payload", "SMs", "GB/s", "moved",
              "copy", cpu ? "  cores for 400G" : "");
  std::vector<Row> rows;
  for (const auto& operation : cases) {
    for (const uint64_t bytes : sizes) {
      operation->prepare(device, {bytes});
      for (const uint32_t cap : caps) {
        rows.push_back(Time(*operation, device, cap, options.seconds));
        Print(rows.back(), cpu);
      }
    }
    operation->prepare(device, {1});  // gives the memory back
  }
  return rows;
}

// Those whose name has `filter` in it.
std::vector<std::unique_ptr<Case>> CasesOf(const std::string& filter) {
  std::vector<std::unique_ptr<Case>> cases = ElementCases();
  for (auto& operation : PacketCases()) cases.push_back(std::move(operation));
  std::string names;
  for (const auto& operation : cases) names += "\n  " + operation->name();
  std::erase_if(cases, [&](const auto& operation) {
    return operation->name().find(filter) == std::string::npos;
  });
  if (!cases.empty()) return cases;
  std::fprintf(stderr, "farspan-kernels: --filter '%s' matches no operation; there are:%s\n",
               filter.c_str(), names.c_str());
  std::exit(2);
}

int Main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  const std::unique_ptr<Device> device = MakeDevice(options.device);  // outlives the cases
  const std::vector<std::unique_ptr<Case>> cases = CasesOf(options.filter);
  if (device->kind() == FSK_CPU && !options.sms.empty()) {
    Refuse("--sms caps a GPU's multiprocessors, and this device is the CPU");
  }
  std::printf("device: %s\n", fsk_device_name(device->kind()));
  std::vector<CheckRow> checks;
  for (const auto& operation : cases) {
    if (options.check) checks.push_back(Check(*operation, *device, options.small));
  }
  std::vector<Row> rows;
  if (options.time) rows = TimeAll(options, *device, cases);
  if (!options.json.empty()) WriteJson(options, *device, checks, rows);
  const bool failed =
      std::any_of(checks.begin(), checks.end(), [](const CheckRow& c) { return c.failed > 0; });
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace farspan::kernels::bench

int main(int argc, char** argv) { return farspan::kernels::bench::Main(argc, argv); }
