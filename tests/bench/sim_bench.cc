// Simulated packets per second through one link: virtual time, one core, no ports.
//
// A source fills the port exactly (as a saturating sender does, each packet with its own arrival in
// whole nanoseconds), the link is full before the clock starts, and every packet of the bandwidth-
// delay product is really held: at 400 Gb/s and 25 ms, 305,176 of 4,096 octets or 14,880,953 of 84.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "emulator/link/link.h"
#include "emulator/sim/scheduler.h"

namespace farspan {
namespace {

using link::Link;
using link::PacketRef;

constexpr Rate kRate{400'000'000'000};
constexpr size_t kBatch = 64;

enum LossChoice : int64_t { kNone, kByPacket, kInWireTime };

class Source {
 public:
  explicit Source(uint32_t wire_bytes) : bit_ns_(uint64_t{wire_bytes} * 8'000'000'000u) {
    for (PacketRef& packet : batch_) packet.wire_bytes = wire_bytes;
  }

  // The next batch; its last arrival is the time.
  TimeNs next() {
    for (PacketRef& packet : batch_) {
      due_.ns += static_cast<int64_t>(bit_ns_ / kRate.bits_per_s);
      fraction_ += bit_ns_ % kRate.bits_per_s;
      if (fraction_ >= kRate.bits_per_s) {
        fraction_ -= kRate.bits_per_s;
        ++due_.ns;
      }
      packet.due = due_;
      packet.handle = sequence_;
      packet.flow = sequence_ & 0xff;
      packet.sequence = sequence_++;
    }
    return due_;
  }
  const std::array<PacketRef, kBatch>& batch() const { return batch_; }

 private:
  const uint64_t bit_ns_;
  std::array<PacketRef, kBatch> batch_{};
  TimeNs due_{};
  uint64_t fraction_ = 0;
  uint32_t sequence_ = 0;
};

// Arguments: octets on the wire, one-way delay in us, kind of loss.
void ThroughALink(benchmark::State& state) {
  const auto wire_bytes = static_cast<uint32_t>(state.range(0));
  const TimeNs delay{state.range(1) * 1'000};
  link::DirectionSpec spec;
  spec.lanes[0].rate = kRate;
  spec.lanes[0].path.delay = delay;
  if (state.range(2) != kNone) {
    spec.lanes[0].loss.kind = link::LossKind::kBernoulli;
    spec.lanes[0].loss.probability = 1e-4;
    spec.lanes[0].loss.keying =
        state.range(2) == kInWireTime ? link::Keying::kWireTime : link::Keying::kPacket;
  }
  const auto held = static_cast<uint64_t>(static_cast<double>(delay.ns) * 1e-9 *
                                          static_cast<double>(kRate.bits_per_s) / 8 / wire_bytes);
  auto link = Link::Create(spec, {}, {.packets = held + 4'096}, TimeNs{});
  if (!link) return state.SkipWithError(link.error().text().c_str());
  Source source(wire_bytes);
  std::array<PacketRef, kBatch> out;
  uint64_t released = 0;
  const auto step = [&] {
    const TimeNs now = source.next();
    (*link)->offer(now, source.batch());
    size_t n = 0;
    do {
      n = (*link)->release(now, out);
      released += n;
    } while (n == out.size());
    return now;
  };
  while (step() < delay) {
  }
  released = 0;
  for (auto _ : state) step();
  state.SetItemsProcessed(static_cast<int64_t>(released));
  state.counters["held"] = static_cast<double>((*link)->counters().held_packets);
  state.counters["own_drops"] = static_cast<double>(
      (*link)->counters().dropped_packets[static_cast<size_t>(link::Cause::kStoreFull)]);
}
BENCHMARK(ThroughALink)
    ->ArgNames({"bytes", "us", "loss"})
    ->ArgsProduct({{84, 4096}, {100, 25'000}, {kNone, kByPacket, kInWireTime}});

// Events per second of the scheduler with that many tasks, each at a time of its own.
void Scheduling(benchmark::State& state) {
  struct Ticker final : sim::Task {
    Ticker(sim::Scheduler& s, int64_t p) : scheduler(s), period(p) {}
    void run(TimeNs now) override { scheduler.set(*this, now + TimeNs{period}); }
    sim::Scheduler& scheduler;
    int64_t period;
  };
  sim::Scheduler scheduler(static_cast<size_t>(state.range(0)));
  std::vector<std::unique_ptr<Ticker>> tickers;
  for (int64_t i = 0; i < state.range(0); ++i) {
    tickers.push_back(std::make_unique<Ticker>(scheduler, 1'000 + 7 * i));
    scheduler.set(*tickers.back(), TimeNs{i});
  }
  for (auto _ : state) scheduler.step();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Scheduling)->Arg(2)->Arg(16)->Arg(256);

}  // namespace
}  // namespace farspan
