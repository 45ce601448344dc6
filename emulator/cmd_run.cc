// farspan-emulator run: emulates links between ports until it is told to stop.
#include <fmt/core.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "emulator/base/units.h"
#include "emulator/cli/write_text.h"
#include "emulator/commands.h"
#include "emulator/config_source.h"
#include "emulator/control/server.h"
#include "emulator/dpdk/certificate.h"
#include "emulator/dpdk/control_thread.h"
#include "emulator/dpdk/engine.h"
#include "emulator/dpdk/engine_view.h"

namespace farspan {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage =
    "Usage: farspan-emulator run --config FILE [OPTIONS] [-- EAL ARGS]\n"
    "       farspan-emulator run --wire A,B (--distance D | --delay T | --rtt T | --route R)\n"
    "                            [OPTIONS] [-- EAL ARGS]\n\n"
    "Runs until SIGINT, SIGTERM or --duration; then sends what is in flight, prints the "
    "certificate\n"
    "and exits with 0 if the run is VALID, 1 if it is INVALID.\n\n";

cli::Options RunOptions() {
  cli::Options options;
  options.usage = kUsage;
  AddConfigOptions(options);
  const auto text = [] { return po::value<std::string>(); };
  options.visible.add_options()("duration", text(), "stop after so long, as in 10s")(
      "http", text(), "where control and metrics listen: 127.0.0.1:9464, unix:/path, off")(
      "token-file", text(), "what requests must carry, needed beyond loopback")(
      "certificate", text(), "write the certificate (JSON) here")(
      "capture", text(), "write packets and their fate (pcapng) here")(
      "reserve-hugepages", "reserve what hugepages are missing, for this run only");
  return options;
}

// Blocked in all threads, so that only wait() sees them.
sigset_t BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

void WaitForEnd(const sigset_t& signals, TimeNs duration) {
  if (duration == kNever) {
    int signal = 0;
    sigwait(&signals, &signal);
    return;
  }
  const timespec time{.tv_sec = duration.ns / 1'000'000'000,
                      .tv_nsec = duration.ns % 1'000'000'000};
  sigtimedwait(&signals, nullptr, &time);
}

Result<config::EmulatorConfig> ConfigOf(const po::variables_map& values) {
  auto config = ReadConfig(values);
  if (!config) return config;
  const auto given = [&](const char* name) { return values.count(name) != 0; };
  const auto text = [&](const char* name) { return values[name].as<std::string>(); };
  if (given("duration")) {
    const auto duration = ParseTime(text("duration"));
    if (!duration) return Fail(duration.error().code, duration.error().message, "--duration");
    config->engine.duration = *duration;
  }
  if (given("http")) config->engine.http = text("http");
  if (given("token-file")) config->engine.token_file = text("token-file");
  if (given("capture")) config->engine.capture.file = text("capture");
  return config;
}

Result<std::unique_ptr<control::ControlServer>> StartServer(dpdk::EngineView& view,
                                                            const config::EngineSpec& engine) {
  if (engine.http == "off") return nullptr;
  control::ServerOptions options;
  options.address = engine.http;
  options.token_file = engine.token_file;
  return control::ControlServer::Start(view, options);
}

int Run(const config::EmulatorConfig& config, const dpdk::EngineOptions& options,
        const std::string& certificate_file) {
  const sigset_t signals = BlockStopSignals();
  auto engine = dpdk::Engine::Create(config, options);
  if (!engine) return cli::Report(engine.error());
  dpdk::EngineView view(**engine);
  if (!(*engine)->memory_note().empty()) {
    fmt::print(stderr, "note: {}\n", (*engine)->memory_note());
  }
  if (auto started = (*engine)->start(); !started) return cli::Report(started.error());
  {
    auto server = StartServer(view, config.engine);
    if (!server) return cli::Report(server.error());
    fmt::print(stderr, "running{}{}; stop with Ctrl-C\n",
               *server == nullptr ? "" : ", control and metrics at ",
               *server == nullptr ? "" : (*server)->address().text());
    WaitForEnd(signals, config.engine.duration);
  }
  fmt::print(stderr, "draining\n");
  (*engine)->stop();
  const dpdk::Certificate certificate = dpdk::Certify((*engine)->record());
  fmt::print("{}", certificate.text);
  if (const auto capture = (*engine)->capture_counts()) {
    fmt::print("capture: {} records in {}, {} lost\n", capture->written, config.engine.capture.file,
               capture->lost);
  }
  if (!certificate_file.empty()) {
    if (auto written = WriteText(certificate_file, certificate.json + "\n", "--certificate");
        !written) {
      return cli::Report(written.error());
    }
  }
  return certificate.valid ? cli::kExitGood : cli::kExitFailed;
}

}  // namespace

int CmdRun(const std::vector<std::string>& args) {
  dpdk::CpusAtStart();  // before anything is pinned
  const auto dashes = std::find(args.begin(), args.end(), "--");
  bool help = false;
  const auto values = cli::Parse(RunOptions(), {args.begin(), dashes}, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  const auto config = ConfigOf(*values);
  if (!config) return cli::Report(config.error());
  dpdk::EngineOptions options;
  options.reserve_hugepages = values->count("reserve-hugepages") != 0;
  if (dashes != args.end()) options.eal_arguments.assign(dashes + 1, args.end());
  const std::string certificate =
      values->count("certificate") != 0 ? (*values)["certificate"].as<std::string>() : "";
  const auto writable = cli::CheckWritable(certificate, "--certificate");
  if (!writable) return cli::Report(writable.error());
  return Run(*config, options, certificate);
}

}  // namespace farspan
