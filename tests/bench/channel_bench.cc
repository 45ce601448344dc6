// ns per packet of the channel's random processes, back to back packets at 100 Gb/s; "Idle" is the
// loop without a model.
#include <benchmark/benchmark.h>

#include "emulator/link/jitter.h"
#include "emulator/link/loss.h"
#include "tests/support/loss_cases.h"

namespace farspan::link {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr Rate kRate{100'000'000'000};
constexpr uint32_t kWireBytes = 1538;
constexpr int64_t kPacketNs = 123;
constexpr Keying kPacket = Keying::kPacket;
constexpr Keying kWire = Keying::kWireTime;

void Loss(benchmark::State& state, const LossSpec& spec) {
  LossModel model(spec, {1}, 0, kRate);
  TimeNs now{0};
  uint64_t lost = 0;
  for (auto _ : state) {
    const TimeNs end{now.ns + kPacketNs};
    lost += model.lost(now, end, kWireBytes);
    now = end;
  }
  benchmark::DoNotOptimize(lost);
  state.counters["lost"] =
      benchmark::Counter(static_cast<double>(lost), benchmark::Counter::kAvgIterations);
}

void Idle(benchmark::State& state) {
  TimeNs now{0};
  for (auto _ : state) {
    now += TimeNs{kPacketNs};
    benchmark::DoNotOptimize(now);
  }
}
BENCHMARK(Idle);

BENCHMARK_CAPTURE(Loss, none, LossSpec{});
BENCHMARK_CAPTURE(Loss, bernoulli_1e4_packet, Bernoulli(kPacket, 1e-4));
BENCHMARK_CAPTURE(Loss, bernoulli_1e4_wire, Bernoulli(kWire, 1e-4));
BENCHMARK_CAPTURE(Loss, bernoulli_1e1_packet, Bernoulli(kPacket, 0.1));
BENCHMARK_CAPTURE(Loss, bernoulli_1e1_wire, Bernoulli(kWire, 0.1));
BENCHMARK_CAPTURE(Loss, gilbert_elliott_packet, GilbertElliott(kPacket, 1e-3, 0.1));
BENCHMARK_CAPTURE(Loss, gilbert_elliott_wire, GilbertElliott(kWire, 1e-3, 0.1));
BENCHMARK_CAPTURE(Loss, gilbert_elliott_4_packet, GilbertElliott(kPacket, 0.01, 0.3, 0.7, 1e-3));
BENCHMARK_CAPTURE(Loss, gilbert_elliott_4_wire, GilbertElliott(kWire, 0.01, 0.3, 0.7, 1e-3));
BENCHMARK_CAPTURE(Loss, burst_packet, Burst(kPacket, 1e-3, 10));
BENCHMARK_CAPTURE(Loss, burst_wire, Burst(kWire, 1e-3, 10));
BENCHMARK_CAPTURE(Loss, bit_error_packet, BitError(kPacket, 1e-7));
BENCHMARK_CAPTURE(Loss, bit_error_wire, BitError(kWire, 1e-7));
BENCHMARK_CAPTURE(Loss, mask, Mask({true, false, false, false, true, false, false}));
BENCHMARK_CAPTURE(Loss, trace_wire, Trace(kWire, {{1000, 2000}, {5000, 6000}}));
BENCHMARK_CAPTURE(Loss, periodic_wire, Periodic(kWire, 100'000, 0));

JitterSpec Jitter(JitterDistribution distribution, int64_t deviation_ns) {
  JitterSpec spec;
  spec.deviation = {deviation_ns};
  spec.distribution = distribution;
  return spec;
}

void Ordered(benchmark::State& state, const JitterSpec& spec) {
  JitterModel model(spec, {1});
  TimeNs now{0};
  for (auto _ : state) {
    now += TimeNs{kPacketNs};
    benchmark::DoNotOptimize(model.ordered(now));
  }
}
BENCHMARK_CAPTURE(Ordered, none, JitterSpec{});
BENCHMARK_CAPTURE(Ordered, normal_20us, Jitter(JitterDistribution::kNormal, 20'000));
BENCHMARK_CAPTURE(Ordered, pareto_20us, Jitter(JitterDistribution::kPareto, 20'000));
BENCHMARK_CAPTURE(Ordered, normal_200ns, Jitter(JitterDistribution::kNormal, 200));

void Drawn(benchmark::State& state, const JitterSpec& spec) {
  const JitterModel model(spec, {1});
  uint64_t packet = 0;
  for (auto _ : state) benchmark::DoNotOptimize(model.drawn(packet++));
}
BENCHMARK_CAPTURE(Drawn, normal_20us, Jitter(JitterDistribution::kNormal, 20'000));
BENCHMARK_CAPTURE(Drawn, pareto_20us, Jitter(JitterDistribution::kPareto, 20'000));

}  // namespace
}  // namespace farspan::link
