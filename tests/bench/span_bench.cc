// Span's costs: the codec, what touches every byte, the erasure code; then, in virtual time on one
// core and by lengths only, packets per second endpoint to endpoint (two endpoints, two links and
// the scheduler), and of that the endpoints' own nanoseconds per packet, stage by stage.
#include <benchmark/benchmark.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "tests/support/endpoint_pair.h"
#include "tests/support/link_support.h"
#include "tests/support/span_pair.h"
#include "transports/core/erasure_code.h"
#include "transports/core/wire.h"
#include "transports/core/wrapped_span.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using namespace transport;

void EncodeData(benchmark::State& state) {
  std::array<uint8_t, 64> out;
  Header header{.type = PacketType::kData, .connection = 5, .message_bytes = 1u << 27, .tag = 3};
  for (auto _ : state) {
    ++header.number;
    const uint32_t size = EncodeHeader(header, out);
    SealCrc(std::span(out).first(size), {});
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK(EncodeData);

void ParseData(benchmark::State& state) {
  std::array<uint8_t, 64> bytes;
  const uint32_t size = EncodeHeader({.type = PacketType::kData, .connection = 5}, bytes);
  SealCrc(std::span(bytes).first(size), {});
  for (auto _ : state) {
    Header header;
    uint32_t header_bytes = 0;
    benchmark::DoNotOptimize(ParseHeader(std::span(bytes).first(size), header, header_bytes));
    benchmark::DoNotOptimize(CrcHolds(std::span(bytes).first(size), {}));
  }
}
BENCHMARK(ParseData);

// Arguments: bytes of payload, in the cache.
void PayloadCrc(benchmark::State& state) {
  std::vector<uint8_t> header(32), payload(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    SealCrc(header, payload);
    benchmark::DoNotOptimize(header.data());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(PayloadCrc)->Arg(1408)->Arg(4096);

void PayloadMac(benchmark::State& state) {
  const std::vector<uint8_t> header(32), payload(static_cast<size_t>(state.range(0)));
  const MacKey key{{1, 2, 3}};
  for (auto _ : state) benchmark::DoNotOptimize(Mac(key, header, payload, 1));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(PayloadMac)->Arg(1408)->Arg(4096);

// Arguments: parity rows to encode, or data symbols to decode, of a block of 128 x 4096 bytes.
void Code(benchmark::State& state, bool decode) {
  constexpr uint32_t kBytes = 4096;
  const auto rows = static_cast<size_t>(state.range(0));
  const ErasureCode::Layout layout{128, kBytes, kBytes, kBytes};
  ErasureCode code(kBytes);
  std::vector<uint8_t> store((128 + rows) * kBytes);
  for (size_t i = 0; i < store.size(); ++i) store[i] = static_cast<uint8_t>(i * 31);
  uint8_t* parity = &store[128 * kBytes];
  std::vector<const uint8_t*> symbols;
  for (size_t i = 0; i < rows; ++i) symbols.push_back(parity + i * kBytes);
  std::vector<uint8_t> numbers(rows);
  std::iota(numbers.begin(), numbers.end(), uint8_t{0});
  for (auto _ : state) {
    if (decode) {
      code.decode(layout, store.data(), numbers, symbols, numbers);
    } else {
      code.encode(layout, store.data(), static_cast<uint32_t>(rows), parity, kBytes);
    }
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * int64_t{128 * kBytes});
}
BENCHMARK_CAPTURE(Code, encode, false)->Arg(1)->Arg(5)->Arg(10);
BENCHMARK_CAPTURE(Code, decode, true)->Arg(1)->Arg(5);

PairOptions LongWire(const char* recovery, int64_t loss_1e6) {
  PairOptions options;
  options.config.recovery = recovery;
  options.config.lengths_only = true;
  options.config.controller.rate = 400_gbps;
  options.config.max_connections = 1;
  options.there = options.back = Plain(400_gbps, 12'500'000_ns);
  for (auto* direction : {&options.there, &options.back}) {
    direction->lanes[0].loss.kind = link::LossKind::kBernoulli;
    direction->lanes[0].loss.probability = 1e-6 * static_cast<double>(loss_1e6);
  }
  options.capacity.packets = 700'000;
  options.sim.granularity = 2_us;
  return options;
}

uint64_t Sent(const SpanCounters& c) { return c.data_sent + c.data_resent + c.parity_sent; }

// Arguments: loss in 1e-6. Items are datagrams that left the sender.
void EndpointToEndpoint(benchmark::State& state, const char* recovery) {
  SpanPair pair(LongWire(recovery, state.range(0)));
  if (!pair.connect(10_s)) return state.SkipWithError("not connected");
  pair.exchange(1u << 30, 25_ms, 100_s);
  const uint64_t before = Sent(pair.span_a->counters());
  for (auto _ : state) pair.exchange(1u << 30, 25_ms, 100_s);
  state.SetItemsProcessed(static_cast<int64_t>(Sent(pair.span_a->counters()) - before));
}
BENCHMARK_CAPTURE(EndpointToEndpoint, auto, "auto") -> Arg(0) -> Arg(1'000)
    -> Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(EndpointToEndpoint, sr, "sr")->Arg(0)->Arg(1'000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(EndpointToEndpoint, ec, "ec")->Arg(1'000)->Unit(benchmark::kMillisecond);

// Adds up the time spent in it.
class TimedSpan final : public WrappedSpan {
 public:
  using WrappedSpan::WrappedSpan;
  void on_datagrams(TimeNs now, std::span<const RxView> received) override {
    const Stage stage(received_);
    span_->on_datagrams(now, received);
  }
  size_t poll_transmit(TimeNs now, TimeNs horizon, std::span<TxSlot> slots) override {
    const Stage stage(sent_);
    return span_->poll_transmit(now, horizon, slots);
  }
  void on_sent(TimeNs now, std::span<const transport::Sent> sent) override {
    const Stage stage(sent_);
    span_->on_sent(now, sent);
  }
  void on_timeout(TimeNs now) override {
    const Stage stage(timers_);
    span_->on_timeout(now);
  }

  // In ns.
  double received() const { return received_; }
  double sent() const { return sent_; }
  double timers() const { return timers_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Stage {
    explicit Stage(double& sum) : sum(sum) {}
    ~Stage() { sum += std::chrono::duration<double, std::nano>(Clock::now() - start).count(); }
    double& sum;
    Clock::time_point start = Clock::now();
  };

  double received_ = 0, sent_ = 0, timers_ = 0;
};

// Arguments: loss in 1e-6. Counters are ns per datagram that left the sender; each call's two looks
// at the clock, some 50 ns, are in them.
void Stages(benchmark::State& state, const char* recovery) {
  PairOptions options = LongWire(recovery, state.range(0));
  const auto make = [&](uint64_t seed) {
    options.config.seed = seed;
    return std::make_unique<TimedSpan>(Must(Span::Create(options.config)));
  };
  auto sender = make(1), receiver = make(2);
  const TimedSpan &a = *sender, &b = *receiver;
  EndpointPair pair(options, std::move(sender), std::move(receiver));
  if (!pair.connect(10_s)) return state.SkipWithError("not connected");
  pair.exchange(1u << 30, 25_ms, 100_s);
  const uint64_t before = Sent(a.span().counters());
  const std::array told{a.sent(), a.received(), a.timers(), b.received(), b.sent(), b.timers()};
  for (auto _ : state) pair.exchange(1u << 30, 25_ms, 100_s);
  const auto packets = static_cast<double>(Sent(a.span().counters()) - before);
  const std::array now{a.sent(), a.received(), a.timers(), b.received(), b.sent(), b.timers()};
  constexpr std::array kNames{"send_ns",    "hear_acks_ns", "sender_timers_ns",
                              "receive_ns", "make_acks_ns", "receiver_timers_ns"};
  for (size_t i = 0; i < now.size(); ++i) {
    state.counters[kNames[i]] = (now[i] - told[i]) / packets;
  }
}
BENCHMARK_CAPTURE(Stages, sr, "sr")->Arg(0)->Arg(1'000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Stages, auto, "auto") -> Arg(1'000) -> Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Stages, ec, "ec")->Arg(1'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace farspan::test
