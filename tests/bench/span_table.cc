// The table of Span's completion times in virtual time, as Markdown:
//
//   span_table [SAMPLES]     default 200 of 128 MiB, an eighth of that of 1 GiB, a 64th of 8 GiB
//
// 400 Gb/s, 25 ms RTT, 4096-byte datagrams with 98 bytes of headers and framing, loss independent
// in both directions; warm connection, receive posted. Each sample is a message on the same
// connection. Ratios are to the lossless bounds at the receiver and at the sender. What coding
// costs the CPU is not in the times; `cores` is what it would take at line rate, at the speed of
// ISA-L here and now.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "emulator/base/check.h"
#include "tests/support/link_support.h"
#include "tests/support/span_pair.h"
#include "transports/congestion/controllers.h"
#include "transports/core/erasure_code.h"
#include "transports/testbed/theory.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;

constexpr TimeNs kRtt = 25_ms;
constexpr Rate kRate{400'000'000'000};
constexpr double kDatagramS = (4096 + 98) * 8.0 / 400e9;

struct Row {
  std::string recovery;
  std::string congestion = "fixed";
  uint64_t bytes = 128u << 20;
  double loss = 0;
  uint64_t samples = 200;
  bool warm = true;
};

// Seconds of one core for one parity symbol over 128 data symbols, eight at a time.
double ParitySymbolSeconds() {
  constexpr uint32_t kBytes = 4096;
  constexpr int kRows = 8, kRuns = 200;
  const transport::ErasureCode::Layout layout{128, kBytes, kBytes, kBytes};
  transport::ErasureCode code(kBytes);
  std::vector<uint8_t> store((128 + kRows) * kBytes, 7);
  const std::clock_t start = std::clock();
  for (int i = 0; i < kRuns; ++i) {
    code.encode(layout, store.data(), kRows, &store[128 * kBytes], kBytes);
  }
  const auto ticks = static_cast<double>(std::clock() - start);
  return ticks / CLOCKS_PER_SEC / (kRuns * kRows);
}

PairOptions Options(const Row& row) {
  PairOptions options;
  options.config.recovery = row.recovery;
  options.config.congestion = row.congestion;
  options.config.lengths_only = true;
  options.config.controller.rate = kRate;
  options.config.max_connections = 1;
  options.there = options.back = Plain(kRate, TimeNs{kRtt.ns / 2});
  for (auto* direction : {&options.there, &options.back}) {
    direction->lanes[0].loss.kind = link::LossKind::kBernoulli;
    direction->lanes[0].loss.probability = row.loss;
  }
  options.link_seed = 20'261'122;
  options.capacity.packets = 700'000;
  options.sim.granularity = 2_us;
  return options;
}

double Quantile(std::vector<double>& values, double q) {
  std::sort(values.begin(), values.end());
  const auto index = static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5);
  return values[index];
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

void Print(const Row& row, double parity_symbol_s) {
  SpanPair pair(Options(row));
  FARSPAN_CHECK(pair.connect(10_s));
  if (row.warm) pair.exchange(128u << 20, kRtt, 100_s);
  const uint64_t parity_before = pair.span_a->counters().parity_sent;
  std::vector<double> receiver, sender;
  for (uint64_t i = 0; i < row.samples; ++i) {
    const MessageTimes times = pair.exchange(row.bytes, kRtt, 1'000_s);
    FARSPAN_CHECK(times.sender != kNever && times.receiver != kNever);
    receiver.push_back(ToSeconds(times.receiver));
    sender.push_back(ToSeconds(times.sender));
  }
  const testbed::MessageOnLink message{(row.bytes + 4095) / 4096, kDatagramS, ToSeconds(kRtt),
                                       row.loss};
  const double r = testbed::LosslessReceiver(message), s = testbed::LosslessSender(message);
  const auto parity = static_cast<double>(pair.span_a->counters().parity_sent - parity_before) /
                      static_cast<double>(row.samples);
  fmt::print(
      "| {} MiB | {:g} | {} | {}{} | {} | {:.3f} | {:.3f} | {:.3f} | {:.3f} | {:.1f} % | {:.1f} "
      "|\n",
      row.bytes >> 20, row.loss, row.recovery, row.congestion,
      row.congestion == "fixed" ? "" : (row.warm ? ", warm" : ", cold"), row.samples,
      Mean(receiver) / r, Quantile(receiver, 0.999) / r, Mean(sender) / s,
      Quantile(sender, 0.999) / s, 100 * parity / static_cast<double>(message.datagrams),
      parity * parity_symbol_s / message.injection_s());
}

void Table(uint64_t samples) {
  transport::RegisterControllers();
  const double parity_symbol_s = ParitySymbolSeconds();
  fmt::print(
      "| size | loss | recovery | congestion | samples | receiver mean | p99.9 | sender mean | "
      "p99.9 "
      "| parity | cores |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (const uint64_t mib : {128u, 1'024u, 8'192u}) {
    for (const double loss : {0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2}) {
      for (const char* recovery : {"auto", "sr"}) {
        Print({.recovery = recovery,
               .bytes = mib << 20,
               .loss = loss,
               .samples = std::max<uint64_t>(1, samples * 128 / mib)},
              parity_symbol_s);
      }
      if (loss <= 1e-4 && mib == 128) {
        Print({.recovery = "gbn", .loss = loss, .samples = samples}, parity_symbol_s);
      }
      if (mib == 128 && (loss == 0 || loss == 1e-4)) {
        for (const bool warm : {false, true}) {
          Print({.recovery = "auto",
                 .congestion = "bbr",
                 .loss = loss,
                 .samples = warm ? samples : 1,
                 .warm = warm},
                parity_symbol_s);
        }
      }
    }
  }
}

}  // namespace
}  // namespace farspan::test

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const long samples = argc > 1 ? std::atol(argv[1]) : 200;
  if (argc > 2 || samples < 1) {
    fmt::print(stderr, "usage: span_table [SAMPLES, at least 1]\n");
    return 2;
  }
  farspan::test::Table(static_cast<uint64_t>(samples));
}
