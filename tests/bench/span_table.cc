// The table of Span's completion times in virtual time, as Markdown and JSON.
//
// 400 Gb/s, 25 ms RTT, 4096-byte datagrams with 98 bytes of headers and framing, loss independent
// in both directions; the receive is posted. A sample is one message: on a connection that has
// carried one of 128 MiB before, or, cold, the first of a new one. Ratios are to the lossless
// bounds at the receiver and at the sender (theory.h); `formula` is the mean at the sender that
// theory.h gives for `sr` and `gbn`. What coding costs the CPU is not in the times; `cores` is what
// it would take at line rate, at the speed of this machine's kernels just before.
//
// With --model the same messages by the Monte-Carlo of losses (span_model.h): all sizes and losses
// of `auto`, `sr` and `gbn`, each with as many samples. model_check sets the two side by side.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "emulator/base/check.h"
#include "emulator/cli/command_line.h"
#include "emulator/cli/write_text.h"
#include "tests/support/link_support.h"
#include "tests/support/span_pair.h"
#include "transports/congestion/controllers.h"
#include "transports/core/erasure_code.h"
#include "transports/testbed/span_model.h"
#include "transports/testbed/statistics.h"
#include "transports/testbed/theory.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using testbed::MessageOnLink;
namespace po = boost::program_options;
using Words = std::vector<std::string>;

constexpr TimeNs kRtt = 25_ms;
constexpr Rate kRate{400'000'000'000};
constexpr uint32_t kPayload = 4096;
constexpr double kDatagramS = (kPayload + 98) * 8.0 / 400e9;
constexpr uint64_t kHeadline = 128u << 20;
constexpr double kAsked = 1.05;  // of the bound, of `auto`
constexpr std::array kSizes{kHeadline, uint64_t{1} << 30, uint64_t{8} << 30};
constexpr std::array kLosses{0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2};

struct Row {
  std::string recovery;
  std::string congestion = "fixed";
  bool cold = false;
  uint64_t bytes = kHeadline;
  double loss = 0;
  uint64_t samples = 1;

  MessageOnLink message() const {
    return {(bytes + kPayload - 1) / kPayload, kDatagramS, ToSeconds(kRtt), loss};
  }
  std::string name() const {
    return recovery +
           (congestion == "fixed" ? "" : ", " + congestion + (cold ? ", cold" : ", warm"));
  }
};

struct Measured {
  Row row;
  std::vector<double> receiver_s, sender_s;
  double parity = 0;  // datagrams per sample
  double resent = 0;
};

// Seconds of one core for one parity symbol over 128 data symbols, eight at a time.
double ParitySymbolSeconds() {
  constexpr uint32_t kRows = 8, kRuns = 200;
  const transport::ErasureCode::Layout layout{128, kPayload, kPayload, kPayload};
  transport::ErasureCode code(kPayload);
  std::vector<uint8_t> store((128 + kRows) * kPayload, 7);
  const std::clock_t start = std::clock();
  for (uint32_t i = 0; i < kRuns; ++i) {
    code.encode(layout, store.data(), kRows, &store[128 * kPayload], kPayload);
  }
  const auto ticks = static_cast<double>(std::clock() - start);
  return ticks / CLOCKS_PER_SEC / (kRuns * kRows);
}

constexpr uint64_t kSeed = 20'261'122;

transport::SpanConfig Config(const Row& row) {
  transport::SpanConfig config;
  config.recovery = row.recovery;
  config.congestion = row.congestion;
  config.lengths_only = true;
  config.controller.rate = kRate;
  config.max_connections = 1;
  return config;
}

PairOptions Options(const Row& row, uint64_t seed) {
  PairOptions options;
  options.config = Config(row);
  options.there = options.back = Plain(kRate, TimeNs{kRtt.ns / 2});
  for (auto* direction : {&options.there, &options.back}) {
    direction->lanes[0].loss.kind = link::LossKind::kBernoulli;
    direction->lanes[0].loss.probability = row.loss;
  }
  options.link_seed = kSeed + seed;
  options.capacity.packets = 700'000;
  options.sim.granularity = 2_us;
  return options;
}

void ShowProgress(const Row& row, uint64_t done) {
  static const bool terminal = isatty(STDERR_FILENO) != 0;
  if (!terminal) return;
  fmt::print(stderr, "\r{} MiB, loss {:g}, {}: {}/{}\x1b[K", row.bytes >> 20, row.loss, row.name(),
             done, row.samples);
  if (done == row.samples) fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

Measured Measure(const Row& row) {
  Measured measured;
  measured.row = row;
  std::optional<SpanPair> pair;
  for (uint64_t i = 0; i < row.samples; ++i) {
    ShowProgress(row, i);
    if (row.cold || !pair) {
      pair.reset();
      pair.emplace(Options(row, i));
      FARSPAN_CHECK(pair->connect(10_s));
      if (!row.cold) pair->exchange(kHeadline, kRtt, 1'000_s);
    }
    const transport::SpanCounters before = pair->span_a->counters();
    const MessageTimes times = pair->exchange(row.bytes, kRtt, 10'000_s);
    FARSPAN_CHECK(times.sender != kNever && times.receiver != kNever);
    const transport::SpanCounters& after = pair->span_a->counters();
    measured.receiver_s.push_back(ToSeconds(times.receiver));
    measured.sender_s.push_back(ToSeconds(times.sender));
    measured.parity += static_cast<double>(after.parity_sent - before.parity_sent);
    measured.resent += static_cast<double>(after.data_resent - before.data_resent);
  }
  ShowProgress(row, row.samples);
  measured.parity /= static_cast<double>(row.samples);
  measured.resent /= static_cast<double>(row.samples);
  return measured;
}

Measured Model(const Row& row) {
  Measured measured;
  measured.row = row;
  auto model = Must(testbed::SpanModel::Create({.config = Config(row),
                                                .rtt = kRtt,
                                                .loss = row.loss,
                                                .loss_back = row.loss,
                                                .seed = kSeed}));
  model.exchange(kHeadline / kPayload);
  for (uint64_t i = 0; i < row.samples; ++i) {
    const testbed::ModelledMessage message = model.exchange(row.message().datagrams);
    measured.receiver_s.push_back(message.receiver_s);
    measured.sender_s.push_back(message.sender_s);
    measured.parity += static_cast<double>(message.parity);
    measured.resent += static_cast<double>(message.resent);
  }
  measured.parity /= static_cast<double>(row.samples);
  measured.resent /= static_cast<double>(row.samples);
  return measured;
}

// --- What is said of a row ----------------------------------------------------------------------

// Mean at the sender; none where theory.h has no formula.
std::optional<double> Formula(const Row& row) {
  if (row.congestion != "fixed") return std::nullopt;
  if (row.recovery == "gbn") return testbed::GoBackNMean(row.message());
  if (row.recovery != "sr") return std::nullopt;
  return testbed::SelectiveRepeatMean(row.message()) + ToSeconds(kRtt) / 2;
}

// p99.9 wants 1,000 samples to be given at all; from 3,688 on its interval's upper end is one. The
// others as everywhere: p50 wants 10, p99 1,000.
nlohmann::json Side(const std::vector<double>& times_s, double bound_s) {
  const testbed::Summary summary = testbed::Summarise(times_s);
  nlohmann::json side{{"bound_s", bound_s}, {"mean_s", summary.mean}};
  std::vector<double> sorted = times_s;
  std::sort(sorted.begin(), sorted.end());
  if (summary.mean_interval) {
    side["mean_interval_s"] = {summary.mean_interval->low, summary.mean_interval->high};
  }
  const auto quantile = [&](const std::string& name, const std::optional<testbed::Estimate>& q) {
    if (!q) return;
    side[name + "_s"] = q->value;
    side[name + "_interval_s"] = {q->low, q->high};
  };
  quantile("p50", summary.p50);
  quantile("p99", summary.p99);
  quantile("p999", testbed::Quantile(sorted, 0.999, 1'000));
  side["max_s"] = sorted.back();
  side["above_asked"] = std::count_if(sorted.begin(), sorted.end(),
                                      [&](double time) { return time > kAsked * bound_s; });
  return side;
}

nlohmann::json Record(const Measured& measured, double parity_symbol_s) {
  const Row& row = measured.row;
  const MessageOnLink message = row.message();
  const auto datagrams = static_cast<double>(message.datagrams);
  nlohmann::json record{
      {"bytes", row.bytes},
      {"loss", row.loss},
      {"recovery", row.recovery},
      {"congestion", row.congestion},
      {"cold", row.cold},
      {"samples", row.samples},
      {"receiver", Side(measured.receiver_s, testbed::LosslessReceiver(message))},
      {"sender", Side(measured.sender_s, testbed::LosslessSender(message))},
      {"parity", measured.parity / datagrams},
      {"resent", measured.resent / datagrams},
      {"coding_cores", measured.parity * parity_symbol_s / message.injection_s()}};
  if (const auto formula = Formula(row)) {
    record["formula_s"] = *formula;
    record["deviation"] = record["sender"]["mean_s"].get<double>() / *formula - 1;
  }
  return record;
}

constexpr const char* kHead =
    "| size | loss | recovery | samples | receiver: mean | p99.9 | sender: mean | p99.9 | above "
    "1.05 | formula | deviation | parity | resent | cores |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

std::string Ratios(const nlohmann::json& side) {
  const double bound = side["bound_s"];
  std::string text = fmt::format("{:.3f} | ", side["mean_s"].get<double>() / bound);
  if (!side.contains("p999_s")) return text + "–";
  return text + fmt::format("{:.3f} ({:.3f}–{:.3f})", side["p999_s"].get<double>() / bound,
                            side["p999_interval_s"][0].get<double>() / bound,
                            side["p999_interval_s"][1].get<double>() / bound);
}

std::string Theory(const nlohmann::json& record) {
  if (!record.contains("formula_s")) return "– | –";
  return fmt::format("{:.3f} | {:+.1f} %",
                     record["formula_s"].get<double>() / record["sender"]["bound_s"].get<double>(),
                     100 * record["deviation"].get<double>());
}

std::string Line(const Row& row, const nlohmann::json& record) {
  return fmt::format(
      "| {} MiB | {:g} | {} | {} | {} | {} | {} | {} | {:.1f} % | {:.1f} % | {:.1f} |\n",
      row.bytes >> 20, row.loss, row.name(), row.samples, Ratios(record["receiver"]),
      Ratios(record["sender"]),
      std::max(record["receiver"]["above_asked"].get<uint64_t>(),
               record["sender"]["above_asked"].get<uint64_t>()),
      Theory(record), 100 * record["parity"].get<double>(), 100 * record["resent"].get<double>(),
      record["coding_cores"].get<double>());
}

constexpr const char* kModelHead =
    "| size | loss | recovery | receiver: mean | p50 | p99 | p99.9 | sender: mean | p50 | p99 | "
    "p99.9 | formula | deviation | parity | resent |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

std::string ModelLine(const Row& row, const nlohmann::json& record) {
  const auto ratios = [&](const nlohmann::json& side) {
    const double bound = side["bound_s"];
    std::string text = fmt::format("{:.3f}", side["mean_s"].get<double>() / bound);
    for (const char* quantile : {"p50_s", "p99_s", "p999_s"}) {
      text += side.contains(quantile)
                  ? fmt::format(" | {:.3f}", side[quantile].get<double>() / bound)
                  : " | –";
    }
    return text;
  };
  return fmt::format("| {} MiB | {:g} | {} | {} | {} | {} | {:.2f} % | {:.2f} % |\n",
                     row.bytes >> 20, row.loss, row.name(), ratios(record["receiver"]),
                     ratios(record["sender"]), Theory(record), 100 * record["parity"].get<double>(),
                     100 * record["resent"].get<double>());
}

// --- Which rows ---------------------------------------------------------------------------------

// Datagrams that one message costs, about: what was under way goes again with each loss.
double Cost(const Row& row) {
  const MessageOnLink message = row.message();
  const auto datagrams = static_cast<double>(message.datagrams);
  if (row.recovery != "gbn") return datagrams;
  const double again = std::min(datagrams, ToSeconds(kRtt) / kDatagramS) / 2;
  return datagrams * (1 + row.loss * again);
}

// `auto` gets `samples` of 128 MiB, and `gbn`, whose times vary most, as many as that takes; other
// rows a quarter of it. Without loss all messages are alike.
std::vector<Row> Rows(uint64_t samples) {
  std::vector<Row> rows;
  for (const uint64_t bytes : kSizes) {
    for (const double loss : kLosses) {
      const auto add = [&](Row row) {
        row.bytes = bytes;
        row.loss = loss;
        const bool ample = bytes == kHeadline && row.recovery != "sr" && row.congestion == "fixed";
        const double budget =
            Cost({.recovery = "auto"}) * static_cast<double>(samples) / (ample ? 1 : 4);
        const double most = loss == 0 ? 4 : static_cast<double>(samples);
        row.samples = static_cast<uint64_t>(std::clamp(budget / Cost(row), 1.0, most));
        if (row.cold) row.samples = std::max<uint64_t>(1, row.samples / 32);
        rows.push_back(row);
      };
      add({.recovery = "auto"});
      add({.recovery = "sr"});
      if (const Row gbn{.recovery = "gbn", .bytes = bytes, .loss = loss};
          Cost(gbn) <= 200 * Cost({.recovery = "auto"})) {
        add(gbn);
      }
      if (bytes != kHeadline) continue;
      add({.recovery = "auto", .congestion = "bbr", .cold = true});
      add({.recovery = "auto", .congestion = "bbr"});
    }
  }
  return rows;
}

std::vector<Row> ModelRows(uint64_t samples) {
  std::vector<Row> rows;
  for (const uint64_t bytes : kSizes) {
    for (const double loss : kLosses) {
      for (const char* recovery : {"auto", "sr", "gbn"}) {
        rows.push_back({.recovery = recovery, .bytes = bytes, .loss = loss, .samples = samples});
      }
    }
  }
  return rows;
}

template <typename T>
bool Chosen(const std::vector<T>& wanted, const T& value) {
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), value) != wanted.end();
}

struct Choice {
  std::vector<uint64_t> sizes;
  std::vector<double> losses;
  Words recoveries;
};

Result<Choice> ChoiceOf(const po::variables_map& values) {
  Choice choice;
  const auto words = [&](const char* option) {
    return values.count(option) > 0 ? values[option].as<Words>() : Words{};
  };
  for (const std::string& text : words("size")) {
    const auto size = ParseBytes(text);
    if (!size) return Fail(ErrorCode::kInvalid, size.error().message, "--size");
    choice.sizes.push_back(*size);
  }
  if (values.count("loss") > 0) choice.losses = values["loss"].as<std::vector<double>>();
  choice.recoveries = words("recovery");
  return choice;
}

Result<void> Table(const po::variables_map& values) {
  const auto choice = ChoiceOf(values);
  if (!choice) return tl::unexpected(choice.error());
  const bool model = values.count("model") > 0;
  const uint64_t samples =
      values.count("samples") > 0 ? values["samples"].as<uint64_t>() : (model ? 10'000 : 4'000);
  std::vector<Row> rows = model ? ModelRows(samples) : Rows(samples);
  std::erase_if(rows, [&](const Row& row) {
    return !Chosen(choice->sizes, row.bytes) || !Chosen(choice->losses, row.loss) ||
           !Chosen(choice->recoveries, row.recovery);
  });
  if (rows.empty()) return Fail(ErrorCode::kInvalid, "no row of the table is left");
  transport::RegisterControllers();
  const double parity_symbol_s = ParitySymbolSeconds();
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  nlohmann::json out{{"schema", "farspan.span_table.v1"},
                     {"label", model ? "model" : "virtual"},
                     {"date", fmt::format("{:%Y-%m-%d}", *std::gmtime(&now))},
                     {"commit", values["commit"].as<std::string>()},
                     {"rate_bits_per_s", kRate.bits_per_s},
                     {"rtt_s", ToSeconds(kRtt)},
                     {"datagram_s", kDatagramS},
                     {"parity_symbol_cpu_s", parity_symbol_s},
                     {"rows", nlohmann::json::array()}};
  fmt::print("{}", model ? kModelHead : kHead);
  for (const Row& row : rows) {
    const nlohmann::json record = Record(model ? Model(row) : Measure(row), parity_symbol_s);
    fmt::print("{}", model ? ModelLine(row, record) : Line(row, record));
    out["rows"].push_back(record);
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
      "Usage: span_table [options]\n\n"
      "Span's completion times against the lossless bounds: 400 Gb/s, 25 ms, virtual time.\n\n";
  auto add = options.visible.add_options();
  add("samples,n", po::value<uint64_t>(),
      "of 128 MiB with auto, 4,000; what they take decides how many other rows get. Of the model: "
      "of each row, 10,000");
  add("model", "by the Monte-Carlo of losses instead of the packet simulator");
  add("size", po::value<std::vector<std::string>>()->multitoken(), "only these of \"128 MiB\" …");
  add("loss", po::value<std::vector<double>>()->multitoken(), "only these of 0, 1e-6 … 1e-2");
  add("recovery", po::value<std::vector<std::string>>()->multitoken(),
      "only these of auto, sr, gbn");
  add("json", po::value<std::string>(), "write all figures here");
  add("commit", po::value<std::string>()->default_value("unknown"), "is noted in the JSON");
  bool help = false;
  const auto values = cli::Parse(options, {argv + 1, argv + argc}, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  if (const auto done = test::Table(*values); !done) return cli::Report(done.error());
  return cli::kExitGood;
}
