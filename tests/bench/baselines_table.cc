// The models of verbs RC and of TCP against their closed forms, as Markdown:
//
//   baselines_table [MESSAGES]     default 1000 of 4 MiB for each row of RC
//
// RC: 12.5 Gb/s, 25 ms, 1,024 packets of 4 KiB (2.75 ms of injection, as 128 MiB at 400 Gb/s), loss
// independent in both directions, IB_TIMEOUT 13, adaptive retransmission off. The formula is
// theory.h's mean at the sender with the timeouts that happened, each 2.5 T long on average.
// TCP under CUBIC: the mean window in packets where the link never queues, loss every 1 / p packets
// (the formula's case) and random; the formula is RFC 9438's.
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include "emulator/base/check.h"
#include "tests/support/endpoint_pair.h"
#include "tests/support/link_support.h"
#include "tests/support/tcp_flow.h"
#include "transports/baselines/model_endpoint.h"
#include "transports/testbed/theory.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using baselines::ModelConfig;
using baselines::ModelEndpoint;

constexpr TimeNs kRtt = 25_ms;
constexpr Rate kRate = 12'500_mbps;
constexpr uint64_t kPackets = 1'024;
constexpr uint32_t kTimeout = 13;

void Print(const std::string& model, double loss, int messages) {
  ModelConfig config;
  config.model = model;
  config.controller.rate = kRate;
  config.lengths_only = true;
  config.rc.selective = model == "rc-sr";
  config.rc.adaptive = false;
  config.rc.timeout = kTimeout;
  WireOptions wire;
  wire.there = wire.back = Plain(kRate, TimeNs{kRtt.ns / 2});
  for (auto* direction : {&wire.there, &wire.back}) {
    direction->lanes[0].loss.kind = link::LossKind::kBernoulli;
    direction->lanes[0].loss.probability = loss;
  }
  wire.sim.granularity = 2_us;
  auto first = Must(ModelEndpoint::Create(config));
  const ModelEndpoint& sender = *first;
  config.seed = 2;
  EndpointPair pair(wire, std::move(first), Must(ModelEndpoint::Create(config)));
  FARSPAN_CHECK(pair.connect(10_s));
  double sum = 0;
  for (int i = 0; i < messages; ++i) {
    const TimeNs taken = pair.exchange(kPackets * 4096, kRtt, 1'000_s).sender;
    FARSPAN_CHECK(taken != kNever);
    sum += ToSeconds(taken);
  }
  const double mean = sum / messages;
  const double timeouts = static_cast<double>(sender.counters().timeouts) / messages;
  const double packet_bytes = 4096 + 66 + 16 + (config.rc.selective ? 16 : 0);
  const testbed::MessageOnLink message{
      kPackets, packet_bytes * 8 / static_cast<double>(kRate.bits_per_s), ToSeconds(kRtt), loss};
  const double formula =
      (config.rc.selective ? testbed::SelectiveRepeatMean(message) + ToSeconds(kRtt) / 2
                           : testbed::GoBackNMean(message)) +
      timeouts * 2.5 * 4.096e-6 * std::ldexp(1, kTimeout);
  fmt::print("| {} | {:g} | {} | {:.3f} | {:.2f} ms | {:.2f} ms | {:+.1f} % |\n", model, loss,
             messages, timeouts, formula * 1e3, mean * 1e3, 100 * (mean / formula - 1));
}

void PrintCubic(TimeNs rtt, double loss) {
  const double formula = testbed::CubicWindow(ToSeconds(rtt), loss);
  const auto cell = [&](bool random) {
    const double window = MeanWindow({.rtt = rtt, .loss = loss, .random = random, .losses = 300});
    return fmt::format("{:.1f} | {:+.1f} %", window, 100 * (window / formula - 1));
  };
  fmt::print("| {} | {:g} | {:.1f} | {} | {} |\n", ToText(rtt), loss, formula, cell(false),
             cell(true));
}

}  // namespace
}  // namespace farspan::test

int main(int argc, char** argv) {
  const int messages = argc > 1 ? std::atoi(argv[1]) : 1'000;
  fmt::print(
      "| model | loss | messages | timeouts each | formula | simulated | deviation |\n"
      "|---|---|---|---|---|---|---|\n");
  for (const char* model : {"rc-gbn", "rc-sr"}) {
    for (const double loss : {0.0, 1e-4, 1e-3, 1e-2}) farspan::test::Print(model, loss, messages);
  }
  fmt::print(
      "\n| RTT | loss | formula | periodic loss | deviation | random loss | deviation |\n"
      "|---|---|---|---|---|---|---|\n");
  for (const farspan::TimeNs rtt : {farspan::TimeNs{20'000'000}, {100'000'000}}) {
    for (const double loss : {1e-4, 1e-3, 1e-2}) farspan::test::PrintCubic(rtt, loss);
  }
}
