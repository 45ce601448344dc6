#include "emulator/survey/survey.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "emulator/link/link.h"
#include "emulator/sim/link_run.h"
#include "emulator/sim/scheduler.h"
#include "emulator/sim/sim_link.h"
#include "emulator/sim/traffic.h"

namespace farspan::survey {
namespace {

using link::DirectionSpec;
using link::Link;
using link::PacketRef;

constexpr uint64_t kPings = 1'000;
constexpr Rate kRateWithoutBottleneck{1'000'000'000};
constexpr uint32_t kFewestPackets = 1'000;

// --- Ping ------------------------------------------------------------------------------------

// The far host: what arrives goes back at once.
class EchoHost final : public sim::Receiver {
 public:
  void connect(sim::SimLink& back) { back_ = &back; }
  void receive(TimeNs, std::span<const PacketRef> packets) override {
    for (const PacketRef& packet : packets) {
      if ((packet.flags & link::kDropped) != 0) continue;
      back_->send(
          {.handle = packet.handle, .wire_bytes = packet.wire_bytes, .sequence = next_sequence_++});
    }
  }

 private:
  sim::SimLink* back_ = nullptr;
  uint32_t next_sequence_ = 0;
};

// The near host: one request every interval, and what comes back of them.
class PingHost final : public sim::Receiver, private sim::Task {
 public:
  PingHost(sim::Scheduler& scheduler, TimeNs interval, PingReport& report)
      : scheduler_(scheduler), interval_(interval), report_(report), sent_at_(kPings) {}
  ~PingHost() override { scheduler_.cancel(*this); }

  void start(sim::SimLink& out) {
    out_ = &out;
    scheduler_.set(*this, scheduler_.now());
  }

  void receive(TimeNs now, std::span<const PacketRef> packets) override {
    for (const PacketRef& packet : packets) {
      if ((packet.flags & (link::kDropped | link::kDuplicate)) != 0) continue;
      report_.rtt_ns.push_back(static_cast<double>((now - sent_at_[packet.handle]).ns));
    }
  }

 private:
  void run(TimeNs now) override {
    sent_at_[report_.sent] = now;
    out_->send({.handle = report_.sent,
                .wire_bytes = link::WireBytes(kPingFrameBytes),
                .sequence = static_cast<uint32_t>(report_.sent)});
    if (++report_.sent < kPings) scheduler_.set(*this, now + interval_);
  }

  sim::Scheduler& scheduler_;
  const TimeNs interval_;
  PingReport& report_;
  std::vector<TimeNs> sent_at_;
  sim::SimLink* out_ = nullptr;
};

// Of the slowest and of the fastest lane; 0 if any lane has no bottleneck.
std::pair<Rate, Rate> Rates(const DirectionSpec& spec) {
  Rate slowest = spec.lanes[0].rate;
  Rate fastest = slowest;
  for (const link::LaneSpec& lane : spec.lanes) {
    if (lane.rate.bits_per_s == 0) return {};
    slowest = std::min(slowest, lane.rate);
    fastest = std::max(fastest, lane.rate);
  }
  return {slowest, fastest};
}

TimeNs PingInterval(const DirectionSpec& ab, const DirectionSpec& ba) {
  TimeNs interval{10'000'000};
  for (const DirectionSpec* spec : {&ab, &ba}) {
    const TimeNs correlation =
        std::max(spec->jitter.correlation, TimeNs{10 * spec->jitter.deviation.ns});
    const TimeNs service = ServiceTime(spec->bottleneck, Rates(*spec).first, kPingFrameBytes);
    interval = std::max({interval, TimeNs{2 * correlation.ns}, TimeNs{2 * service.ns}});
  }
  return interval;
}

Result<PingReport> RunPing(const SurveySpec& spec) {
  const link::LinkCapacity capacity{.packets = 4 * kPings};
  Result<std::unique_ptr<Link>> ab = Link::Create(spec.ab, {spec.seed, spec.link, 0}, capacity, {});
  if (!ab) return tl::unexpected(ab.error());
  Result<std::unique_ptr<Link>> ba = Link::Create(spec.ba, {spec.seed, spec.link, 1}, capacity, {});
  if (!ba) return tl::unexpected(ba.error());
  PingReport report;
  sim::Scheduler scheduler(3);
  EchoHost far;
  PingHost near(scheduler, PingInterval(spec.ab, spec.ba), report);
  sim::SimLink there(scheduler, **ab, far);
  sim::SimLink back(scheduler, **ba, near);
  far.connect(back);
  near.start(there);
  while (scheduler.step()) {
  }
  report.lasted = scheduler.now();
  return report;
}

// --- Streams ---------------------------------------------------------------------------------

// Equal full-size frames, `load` times `rate`, for `seconds` or as many as are allowed.
sim::LinkRun Stream(const SurveySpec& survey, uint32_t direction, Rate rate, double load,
                    double seconds) {
  const DirectionSpec& spec = direction == 0 ? survey.ab : survey.ba;
  const uint32_t wire_bytes = link::WireBytes(kFullFrameBytes);
  if (rate.bits_per_s == 0) rate = kRateWithoutBottleneck;
  const double bits = 8.0 * static_cast<double>(AccountedBytes(spec.bottleneck, wire_bytes));
  const double packets_per_s = load * static_cast<double>(rate.bits_per_s) / bits;
  const double packets = std::clamp(packets_per_s * seconds, double{kFewestPackets},
                                    static_cast<double>(survey.max_packets));
  // A rate in wire bits for the source that knows no overhead.
  const Rate source{static_cast<uint64_t>(packets_per_s * 8 * wire_bytes) + 1};
  sim::LinkRun run;
  run.spec = spec;
  run.identity = {survey.seed, survey.link, direction};
  run.traffic = sim::Collect(*sim::MakeCbr(
      {.packet = {.wire_bytes = wire_bytes}, .count = static_cast<uint64_t>(packets)}, source));
  run.capacity.packets = 2 * run.traffic.size() + 16;
  return run;
}

Result<ProbeReport> RunProbe(const SurveySpec& spec, uint32_t direction, Rate rate) {
  const sim::LinkRun run = Stream(spec, direction, rate, 0.5, spec.seconds);
  const Result<sim::LinkTrace> trace = sim::RunLink(run);
  if (!trace) return tl::unexpected(trace.error());
  ProbeReport report;
  report.lasted = trace->end;
  report.sent = run.traffic.size();
  report.lost.assign(report.sent, 1);
  std::vector<TimeNs> due(report.sent, kNever);
  uint64_t next_expected = 0;
  uint64_t received = 0;
  for (const PacketRef& packet : trace->released) {
    if ((packet.flags & link::kDropped) != 0) {
      report.own_drops += link::IsOwn(packet.cause) ? 1 : 0;
      continue;
    }
    ++received;
    if ((packet.flags & link::kDuplicate) != 0) {
      ++report.duplicated;
      continue;
    }
    report.corrupted += (packet.flags & link::kCorrupted) != 0 ? 1 : 0;
    report.reordered += packet.handle < next_expected ? 1 : 0;
    next_expected = std::max(next_expected, packet.handle + 1);
    report.lost[packet.handle] = 0;
    due[packet.handle] = packet.due;
  }
  for (size_t i = 0; i < due.size(); ++i) {
    if (due[i] == kNever) continue;
    report.delay_ns.push_back(static_cast<double>((due[i] - run.traffic[i].due).ns));
  }
  report.unaccounted =
      report.sent + trace->counters.duplicated_packets - received - trace->counters.dropped_total();
  return report;
}

Result<FloodReport> RunFlood(const SurveySpec& spec, uint32_t direction, Rate rate) {
  const sim::LinkRun run = Stream(spec, direction, rate, 1.2, spec.seconds / 2);
  const Result<sim::LinkTrace> trace = sim::RunLink(run);
  if (!trace) return tl::unexpected(trace.error());
  FloodReport report;
  report.lasted = trace->end;
  TimeNs first = kNever;
  TimeNs last{};
  for (const PacketRef& packet : trace->released) {
    if ((packet.flags & (link::kDropped | link::kDuplicate)) != 0) continue;
    ++report.received;
    first = std::min(first, packet.due);
    last = std::max(last, packet.due);
  }
  if (report.received < 2) return report;
  report.received_for = last - first;
  const uint64_t bytes = AccountedBytes(run.spec.bottleneck, run.traffic[0].wire_bytes);
  report.bits_per_s =
      static_cast<double>((report.received - 1) * bytes) * 8 / ToSeconds(report.received_for);
  return report;
}

Result<DirectionReport> RunDirection(const SurveySpec& spec, uint32_t direction) {
  DirectionReport report;
  const auto [slowest, fastest] = Rates(direction == 0 ? spec.ab : spec.ba);
  Result<ProbeReport> probe = RunProbe(spec, direction, slowest);
  if (!probe) return tl::unexpected(probe.error());
  report.probe = *std::move(probe);
  if (fastest.bits_per_s == 0) return report;
  const Result<FloodReport> flood = RunFlood(spec, direction, fastest);
  if (!flood) return tl::unexpected(flood.error());
  report.flood = *flood;
  return report;
}

}  // namespace

uint64_t AccountedBytes(const link::BottleneckSpec& spec, uint32_t wire_bytes) {
  const int64_t bytes = int64_t{wire_bytes} + spec.overhead_bytes;
  return static_cast<uint64_t>(std::max<int64_t>({bytes, int64_t{spec.mpu_bytes}, 1}));
}

TimeNs ServiceTime(const link::BottleneckSpec& spec, Rate rate, uint32_t frame_bytes) {
  if (rate.bits_per_s == 0) return {};
  const uint64_t bytes = AccountedBytes(spec, link::WireBytes(frame_bytes));
  return sim::SpacingOf(1, static_cast<uint32_t>(bytes), rate);
}

Result<SurveyReport> RunSurvey(const SurveySpec& spec) {
  SurveyReport report;
  Result<PingReport> ping = RunPing(spec);
  if (!ping) return tl::unexpected(ping.error());
  report.ping = *std::move(ping);
  for (const uint32_t direction : {0u, 1u}) {
    Result<DirectionReport> one = RunDirection(spec, direction);
    if (!one) return tl::unexpected(one.error());
    (direction == 0 ? report.ab : report.ba) = *std::move(one);
  }
  return report;
}

}  // namespace farspan::survey
