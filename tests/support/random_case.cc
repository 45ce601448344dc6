#include "tests/support/random_case.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "emulator/link/path.h"

namespace farspan::test {
namespace {

using link::LossKind;
using link::PacketRef;

class Generator {
 public:
  Generator(uint64_t seed, bool plain) : dice_(seed), plain_(plain) {}

  sim::LinkRun generate();

 private:
  TimeNs some_time(double mean_ns) { return {static_cast<int64_t>(2 * mean_ns * dice_.unit())}; }
  uint32_t frame() { return 84 + static_cast<uint32_t>(dice_.below(9038 - 84 + 1)); }
  Rate rate();
  link::PathSpec path();
  link::LossSpec loss(bool wire_time_possible);
  link::JitterSpec jitter();
  link::ClassSpec traffic_class();
  link::AqmSpec aqm();
  link::FaultSpec fault();
  link::Change change();
  void add_lanes();
  void add_events();
  void add_traffic();

  Dice dice_;
  const bool plain_;
  sim::LinkRun run_;
  uint64_t packets_ = 0;
  double service_ns_ = 0;  // of a mean frame
  double span_ns_ = 0;     // of the whole traffic
  double delay_ns_ = 0;
  double glass_mm_ = 0;  // every path has between 0.5 and 1.5 times that
  double group_index_ = 1.4682;
  bool wire_time_ = true;
};

Rate Generator::rate() {
  const uint64_t round[] = {1'000,           10'000'000,      1'000'000'000,
                            100'000'000'000, 400'000'000'000, 800'000'000'000};
  if (dice_.chance(0.4)) return {round[dice_.below(std::size(round))]};
  return {static_cast<uint64_t>(dice_.log_between(1e3, 8e11))};
}

link::PathSpec Generator::path() {
  link::PathSpec path;
  path.group_index = group_index_;
  const double factor = dice_.between(0.5, 1.5);
  if (glass_mm_ > 0) {
    path.length = {static_cast<int64_t>(factor * glass_mm_)};
  } else {
    path.delay = {static_cast<int64_t>(factor * delay_ns_)};
  }
  return path;
}

link::LossSpec Generator::loss(bool wire_time_possible) {
  link::LossSpec loss;
  loss.kind = static_cast<LossKind>(dice_.below(8));
  const bool wire_time = wire_time_possible && loss.kind != LossKind::kMask && dice_.chance(0.5);
  loss.keying = wire_time ? link::Keying::kWireTime : link::Keying::kPacket;
  loss.reference_wire_bytes = frame();
  loss.probability = dice_.log_between(1e-3, 0.3);
  loss.ge_p = dice_.log_between(1e-2, 0.3);
  loss.ge_r = dice_.log_between(5e-2, 0.9);
  loss.ge_loss_bad = dice_.chance(0.5) ? 1 : 0.6;
  loss.ge_loss_good = dice_.chance(0.5) ? 0 : 0.01;
  loss.burst_rate = dice_.log_between(1e-3, 0.1);
  loss.burst_frames = 1 + static_cast<uint32_t>(dice_.below(10));
  loss.bit_error_rate = dice_.log_between(1e-7, 1e-5);
  for (uint64_t i = 0; i < 1 + dice_.below(90); ++i) loss.mask.push_back(dice_.chance(0.2));
  if (loss.kind == LossKind::kMask) loss.mask.push_back(false);
  const double step = wire_time ? service_ns_ : 1;
  uint64_t at = 0;
  for (int i = 0; i < 20; ++i) {
    const uint64_t begin = at + static_cast<uint64_t>(20 * step * dice_.unit());
    at = begin + 1 + static_cast<uint64_t>(3 * step * dice_.unit());
    loss.trace.push_back({begin, at});
    ++at;
  }
  loss.period = 2 + static_cast<uint64_t>(20 * step * dice_.unit());
  loss.period_offset = dice_.below(loss.period);
  return loss;
}

link::JitterSpec Generator::jitter() {
  link::JitterSpec jitter;
  jitter.deviation = {static_cast<int64_t>(dice_.chance(0.5) ? service_ns_ * dice_.between(0, 5)
                                                             : delay_ns_ * dice_.between(0, 0.2))};
  jitter.deviation = std::min(jitter.deviation, TimeNs{1'000'000'000});
  jitter.distribution = static_cast<link::JitterDistribution>(dice_.below(4));
  if (dice_.chance(0.3)) jitter.correlation = {20 * jitter.deviation.ns};
  jitter.reorder = dice_.chance(0.5);
  return jitter;
}

link::AqmSpec Generator::aqm() {
  link::AqmSpec aqm;
  aqm.kind = static_cast<link::AqmKind>(dice_.below(4));
  aqm.k_min_bytes = dice_.below(50'000);
  aqm.k_max_bytes = aqm.k_min_bytes + 1 + dice_.below(200'000);
  aqm.p_max = dice_.unit();
  aqm.step_bytes = dice_.below(100'000);
  aqm.codel_target = some_time(5 * service_ns_);
  aqm.codel_interval = TimeNs{1} + some_time(20 * service_ns_);
  aqm.ecn = dice_.chance(0.8);
  aqm.drop_not_ect = dice_.chance(0.8);
  return aqm;
}

link::ClassSpec Generator::traffic_class() {
  link::ClassSpec c;
  c.priority = static_cast<uint32_t>(dice_.below(3));
  c.weight = 1 + static_cast<uint32_t>(dice_.below(4));
  c.limit.bytes = dice_.chance(0.5) ? 0 : dice_.below(300'000);
  if (dice_.chance(0.3)) c.limit.time = some_time(20 * service_ns_);
  if (!plain_ && dice_.chance(0.5)) c.aqm = aqm();
  return c;
}

link::FaultSpec Generator::fault() {
  link::FaultSpec fault;
  fault.kind = static_cast<link::FaultKind>(dice_.below(6));
  fault.delay = some_time(dice_.chance(0.5) ? 5 * service_ns_ : delay_ns_);
  return fault;
}

link::Change Generator::change() {
  const auto lane = static_cast<int>(dice_.below(run_.spec.lanes.size() + 1)) - 1;
  const Length position{static_cast<int64_t>(0.5 * glass_mm_ * dice_.unit())};
  switch (dice_.below(8)) {
    case 0: {
      const TimeNs duration = TimeNs{1} + some_time(span_ns_ / 10);
      return link::Cut{lane, position, dice_.chance(0.3) ? kNever : duration};
    }
    case 1:
      return link::Restore{lane};
    case 2:
      return link::SetPath{lane, path()};
    case 3:
      return link::ProtectionSwitch{lane, position, some_time(span_ns_ / 20), path()};
    case 4: {
      const double base = static_cast<double>(run_.spec.lanes[0].rate.bits_per_s);
      if (base == 0 || dice_.chance(0.1)) return link::SetRate{lane, {}};
      return link::SetRate{lane, {static_cast<uint64_t>(base * dice_.log_between(0.2, 5)) + 1}};
    }
    case 5:
      return link::SetLoss{lane, loss(wire_time_)};
    case 6:
      return link::SetJitter{jitter()};
    default:
      return link::StartEpoch{};
  }
}

void Generator::add_lanes() {
  link::DirectionSpec& spec = run_.spec;
  const Rate first = dice_.chance(0.15) ? Rate{} : rate();
  const uint64_t lanes = plain_ || dice_.chance(0.6) ? 1 : 2 + dice_.below(3);
  const double share = first.bits_per_s == 0 ? 0 : 1;
  service_ns_ = first.bits_per_s == 0 ? dice_.log_between(1, 1e6)
                                      : 4500.0 * 8e9 / static_cast<double>(first.bits_per_s);
  delay_ns_ = dice_.chance(0.2) ? 0 : service_ns_ * dice_.log_between(0.1, 1e3);
  if (delay_ns_ > 0 && dice_.chance(0.5)) {
    group_index_ = dice_.chance(0.5) ? 1.4682 : 1.003;
    glass_mm_ = delay_ns_ * 299.792458 / group_index_;
  }
  spec.lanes.clear();
  for (uint64_t i = 0; i < lanes; ++i) {
    link::LaneSpec lane;
    lane.rate = first;
    if (i > 0 && dice_.chance(0.3)) {
      lane.rate.bits_per_s = static_cast<uint64_t>(share * static_cast<double>(first.bits_per_s) *
                                                   dice_.between(0.3, 1.5));
    }
    if (i > 0 && dice_.chance(0.1)) lane.rate = {};
    wire_time_ = wire_time_ && lane.rate.bits_per_s != 0;
    lane.weight = 1 + static_cast<uint32_t>(dice_.below(3));
    spec.lanes.push_back(lane);
  }
  for (link::LaneSpec& lane : spec.lanes) {
    lane.path = path();
    if (!plain_ && dice_.chance(0.5)) lane.loss = loss(wire_time_);
  }
}

void Generator::add_events() {
  std::vector<link::TimelineEvent>& timeline = run_.spec.timeline;
  const uint64_t events = dice_.chance(0.5) ? 0 : 1 + dice_.below(8);
  for (uint64_t i = 0; i < events; ++i) {
    const TimeNs at = some_time(0.6 * span_ns_);
    const link::Change what = change();
    if (dice_.chance(0.3)) {
      run_.changes.push_back({run_.start + at, what});
    } else if (dice_.chance(0.2)) {
      timeline.push_back({some_time(10 * service_ns_), true, what});
      run_.spec.faults.push_back(
          {.kind = link::FaultKind::kTrigger, .event = static_cast<uint32_t>(timeline.size() - 1)});
    } else {
      timeline.push_back({at, false, what});
    }
  }
  std::stable_sort(run_.changes.begin(), run_.changes.end(),
                   [](auto& a, auto& b) { return a.at < b.at; });
}

void Generator::add_traffic() {
  const uint32_t one_size = frame();
  const bool mixed = dice_.chance(0.5);
  const double mean_burst = dice_.chance(0.5) ? 1 : 20;
  const double gap = span_ns_ / static_cast<double>(packets_) * mean_burst;
  const double ruled = run_.spec.faults.empty() ? 0 : 0.2;
  double now = 0;
  for (uint64_t i = 0; i < packets_; ++i) {
    if (dice_.chance(1 / mean_burst)) now -= gap * std::log(dice_.unit());
    PacketRef packet{.handle = i, .due = run_.start + TimeNs{static_cast<int64_t>(now)}};
    packet.wire_bytes = mixed ? frame() : one_size;
    packet.flow = static_cast<uint32_t>(dice_.below(50));
    packet.sequence = static_cast<uint32_t>(i);
    packet.traffic_class = static_cast<uint8_t>(dice_.below(run_.spec.bottleneck.classes.size()));
    packet.flags = dice_.chance(0.5) ? uint8_t{link::kEcnCapable} : uint8_t{0};
    if (dice_.chance(ruled)) {
      packet.rule = static_cast<uint8_t>(1 + dice_.below(run_.spec.faults.size()));
    }
    run_.traffic.push_back(packet);
  }
}

sim::LinkRun Generator::generate() {
  const int64_t starts[] = {0, 1, int64_t{1} << 62};
  run_.start = {starts[dice_.below(3)]};
  run_.identity.seed = dice_.below(1'000'000);
  packets_ = 20 + dice_.below(dice_.chance(0.2) ? 1'000 : 200);
  add_lanes();
  const double loads[] = {0.3, 0.95, 1.5, 6};
  const auto lanes = static_cast<double>(run_.spec.lanes.size());
  span_ns_ = static_cast<double>(packets_) * service_ns_ / lanes / loads[dice_.below(4)];
  link::DirectionSpec& spec = run_.spec;
  if (dice_.chance(0.2))
    spec.bottleneck.overhead_bytes = static_cast<int32_t>(dice_.below(80)) - 40;
  if (dice_.chance(0.2)) spec.bottleneck.mpu_bytes = static_cast<uint32_t>(dice_.below(2'000));
  spec.bottleneck.classes.clear();
  const uint64_t classes = plain_ || dice_.chance(0.4) ? 1 : 2 + dice_.below(3);
  for (uint64_t i = 0; i < classes; ++i) spec.bottleneck.classes.push_back(traffic_class());
  if (!plain_) {
    if (dice_.chance(0.4)) spec.jitter = jitter();
    if (dice_.chance(0.3)) spec.duplicate = 0.1;
    if (dice_.chance(0.3)) spec.corrupt = 0.1;
    if (dice_.chance(0.3)) spec.order = link::OrderPolicy::kKeep;
    if (dice_.chance(0.5)) spec.rehash = link::RehashPolicy::kModulo;
    spec.detection = some_time(span_ns_ / 20);
    for (uint64_t i = 0; i < dice_.below(5); ++i) spec.faults.push_back(fault());
    add_events();
  }
  add_traffic();
  run_.capacity.packets = 3 * packets_ + 16;
  return run_;
}

}  // namespace

double Dice::log_between(double low, double high) {
  return low * std::exp(std::log(high / low) * unit());
}

sim::LinkRun RandomCase(uint64_t seed) { return Generator(seed, false).generate(); }
sim::LinkRun RandomPlainCase(uint64_t seed) { return Generator(seed, true).generate(); }

std::string Describe(const sim::LinkRun& run) {
  const link::DirectionSpec& spec = run.spec;
  std::ostringstream text;
  text << run.traffic.size() << " packets from " << run.start.ns << ", " << spec.lanes.size()
       << " lanes";
  for (const link::LaneSpec& lane : spec.lanes) {
    text << " (" << lane.rate.bits_per_s << " b/s, " << link::OneWayDelay(lane.path).ns
         << " ns, loss kind " << static_cast<int>(lane.loss.kind) << " keying "
         << static_cast<int>(lane.loss.keying) << ")";
  }
  text << ", " << spec.bottleneck.classes.size() << " classes (aqm";
  for (const link::ClassSpec& c : spec.bottleneck.classes) {
    text << " " << static_cast<int>(c.aqm.kind);
  }
  text << "), jitter " << spec.jitter.deviation.ns << (spec.jitter.reorder ? " reordering" : "")
       << ", duplicate " << spec.duplicate << ", corrupt " << spec.corrupt << ", order "
       << static_cast<int>(spec.order) << ", " << spec.faults.size() << " faults, events";
  for (const link::TimelineEvent& event : spec.timeline) {
    text << " " << event.change.index() << (event.triggered ? "t" : "@")
         << (run.start + event.at).ns;
  }
  for (const sim::LiveChange& live : run.changes) {
    text << " " << live.change.index() << "live@" << live.at.ns;
  }
  return text.str();
}

}  // namespace farspan::test
