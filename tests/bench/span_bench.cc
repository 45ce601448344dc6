// Span's costs: the codec, the erasure code, and packets per second endpoint to endpoint in virtual
// time (two endpoints, two links and the scheduler, one core, lengths only).
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

#include "tests/support/link_support.h"
#include "tests/support/span_pair.h"
#include "transports/core/erasure_code.h"
#include "transports/core/wire.h"

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

// Arguments: loss in 1e-6. Items are datagrams that left the sender.
void EndpointToEndpoint(benchmark::State& state, const char* recovery) {
  PairOptions options;
  options.config.recovery = recovery;
  options.config.lengths_only = true;
  options.config.controller.rate = 400_gbps;
  options.config.max_connections = 1;
  options.there = options.back = Plain(400_gbps, 12'500'000_ns);
  for (auto* direction : {&options.there, &options.back}) {
    direction->lanes[0].loss.kind = link::LossKind::kBernoulli;
    direction->lanes[0].loss.probability = 1e-6 * static_cast<double>(state.range(0));
  }
  options.capacity.packets = 700'000;
  options.sim.granularity = 2_us;
  SpanPair pair(options);
  if (!pair.connect(10_s)) return state.SkipWithError("not connected");
  const auto sent = [&] {
    const SpanCounters& c = pair.span_a->counters();
    return c.data_sent + c.data_resent + c.parity_sent;
  };
  pair.exchange(1u << 30, 25_ms, 100_s);
  const uint64_t before = sent();
  for (auto _ : state) pair.exchange(1u << 30, 25_ms, 100_s);
  state.SetItemsProcessed(static_cast<int64_t>(sent() - before));
}
BENCHMARK_CAPTURE(EndpointToEndpoint, auto, "auto") -> Arg(0) -> Arg(1'000)
    -> Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(EndpointToEndpoint, sr, "sr")->Arg(0)->Arg(1'000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(EndpointToEndpoint, ec, "ec")->Arg(1'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace farspan::test
