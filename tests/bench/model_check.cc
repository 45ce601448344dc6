// The model of losses (transports/testbed/span_model.h) against the packet simulator, as Markdown
// and JSON: the same messages of Span by both, 400 Gb/s and 25 ms, one message on each connection
// after one of 128 MiB (of 1 MiB with `gbn`, which has nothing to learn of it). Nothing is judged
// here; tests/scenario/span_model_test.cc judges smaller cases. Times of the simulator are late by
// up to 2 us at every turn, its granularity.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string_view>

#include "emulator/cli/command_line.h"
#include "emulator/cli/write_text.h"
#include "tests/support/span_cross_check.h"

namespace farspan::test {
namespace {

namespace po = boost::program_options;

constexpr uint64_t kMiB = 256;  // datagrams
constexpr double kSlack = 3e-4;
constexpr uint64_t kModelled = 20;  // samples of the model for one of the simulator

struct CheckCase {
  const char* recovery;
  uint64_t mebibytes;
  double loss;
};

constexpr CheckCase kCases[] = {{"sr", 16, 1e-4},    {"sr", 128, 1e-5},   {"sr", 128, 1e-4},
                                {"sr", 128, 1e-3},   {"sr", 128, 1e-2},   {"auto", 16, 1e-2},
                                {"auto", 128, 1e-4}, {"auto", 128, 1e-3}, {"auto", 128, 1e-2},
                                {"gbn", 16, 1e-3},   {"gbn", 128, 1e-5},  {"gbn", 128, 1e-4},
                                {"ec", 128, 1e-3},   {"ec", 128, 1e-2}};

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

nlohmann::json Of(const std::vector<double>& times_s) {
  const testbed::Summary summary = testbed::Summarise(times_s);
  std::vector<double> sorted = times_s;
  std::sort(sorted.begin(), sorted.end());
  const auto quantile = [&](double q) {
    const testbed::Estimate e = *testbed::Quantile(sorted, q, 1);
    return nlohmann::json{e.value, e.low, e.high};
  };
  return {{"mean_s", {summary.mean, summary.mean_interval->low, summary.mean_interval->high}},
          {"p50_s", quantile(0.5)},
          {"p90_s", quantile(0.9)},
          {"p99_s", quantile(0.99)}};
}

nlohmann::json Side(const std::vector<double>& virtual_s, const std::vector<double>& model_s) {
  return {{"virtual", Of(virtual_s)},
          {"model", Of(model_s)},
          {"deviation", Mean(model_s) / Mean(virtual_s) - 1},
          {"distance", Distance(virtual_s, model_s, kSlack)},
          {"distance_limit", DistanceLimit999(virtual_s.size(), model_s.size())}};
}

nlohmann::json Record(const CheckCase& which, uint64_t seeds) {
  CrossCase c{.recovery = which.recovery,
              .datagrams = which.mebibytes * kMiB,
              .loss = which.loss,
              .seeds = seeds,
              .warm_up = (std::string_view(which.recovery) == "gbn" ? 1 : 128) * kMiB};
  const CrossSamples simulated = Simulated(c);
  c.seeds *= kModelled;
  const CrossSamples modelled = Modelled(c);
  const auto both = [](const auto& a, const auto& b) {
    return nlohmann::json{{"virtual", Mean(a)}, {"model", Mean(b)}};
  };
  return {{"recovery", which.recovery},
          {"bytes", which.mebibytes << 20},
          {"loss", which.loss},
          {"seeds", seeds},
          {"model_samples", c.seeds},
          {"receiver", Side(simulated.receiver_s, modelled.receiver_s)},
          {"sender", Side(simulated.sender_s, modelled.sender_s)},
          {"resent", both(simulated.resent, modelled.resent)},
          {"parity", both(simulated.parity, modelled.parity)}};
}

constexpr const char* kHead =
    "| size | loss | recovery | seeds | virtual: mean | model: mean | deviation | virtual: p90 | "
    "model: p90 | distance | limit | resent: virtual | model |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

std::string Line(const nlohmann::json& record) {
  const nlohmann::json& sender = record["sender"];
  const auto estimate = [&](const char* label, const char* what) {
    const nlohmann::json& e = sender[label][what];
    return fmt::format("{:.2f} ({:.2f}–{:.2f}) ms", 1e3 * e[0].get<double>(),
                       1e3 * e[1].get<double>(), 1e3 * e[2].get<double>());
  };
  return fmt::format(
      "| {} MiB | {:g} | {} | {} | {} | {} | {:+.2f} % | {} | {} | {:.3f} | {:.3f} | {:.2f} | "
      "{:.2f} |\n",
      record["bytes"].get<uint64_t>() >> 20, record["loss"].get<double>(),
      record["recovery"].get<std::string>(), record["seeds"].get<uint64_t>(),
      estimate("virtual", "mean_s"), estimate("model", "mean_s"),
      100 * sender["deviation"].get<double>(), estimate("virtual", "p90_s"),
      estimate("model", "p90_s"),
      std::max(sender["distance"].get<double>(), record["receiver"]["distance"].get<double>()),
      sender["distance_limit"].get<double>(), record["resent"]["virtual"].get<double>(),
      record["resent"]["model"].get<double>());
}

Result<void> Check(const po::variables_map& values) {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  nlohmann::json out{{"schema", "farspan.model_check.v1"},
                     {"date", fmt::format("{:%Y-%m-%d}", *std::gmtime(&now))},
                     {"commit", values["commit"].as<std::string>()},
                     {"slack", kSlack},
                     {"rows", nlohmann::json::array()}};
  fmt::print("{}", kHead);
  for (const CheckCase& which : kCases) {
    out["rows"].push_back(Record(which, values["seeds"].as<uint64_t>()));
    fmt::print("{}", Line(out["rows"].back()));
    if (values.count("json") == 0) continue;  // after every row: it takes long
    const auto file = values["json"].as<std::string>();
    if (auto done = WriteText(file, out.dump(1) + "\n", "--json"); !done) return done;
  }
  return {};
}

}  // namespace
}  // namespace farspan::test

int main(int argc, char** argv) {
  using namespace farspan;
  namespace po = boost::program_options;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  cli::Options options;
  options.usage =
      "Usage: model_check [options]\n\n"
      "Span's times by the packet simulator and by the model of losses, side by side.\n\n";
  auto add = options.visible.add_options();
  add("seeds,n", po::value<uint64_t>()->default_value(200), "of the simulator, for each case");
  add("json", po::value<std::string>(), "write all figures here");
  add("commit", po::value<std::string>()->default_value("unknown"), "is noted in the JSON");
  bool help = false;
  const auto values = cli::Parse(options, {argv + 1, argv + argc}, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  if (const auto done = test::Check(*values); !done) return cli::Report(done.error());
  return cli::kExitGood;
}
