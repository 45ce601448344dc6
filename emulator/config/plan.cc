#include "emulator/config/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "emulator/base/int128.h"
#include "emulator/link/fiber.h"
#include "emulator/link/link.h"
#include "emulator/link/loss.h"
#include "emulator/link/packet_ref.h"
#include "emulator/link/path.h"

namespace farspan::config {
namespace {

using link::DirectionSpec;
using link::LaneSpec;

constexpr uint64_t kNoBound = std::numeric_limits<uint64_t>::max();
constexpr uint32_t kFcsBytes = 4;
constexpr int64_t kJitterDeviations = 8;
constexpr uint64_t kSlackPackets = 1024;  // bursts in hand; drops on their way to the driver
constexpr Rate kAssumedSoftwareRate{10'000'000'000};
constexpr Rate kAssumedHardwareRate{100'000'000'000};
// With FCS: the smallest frame, IPv4's least maximum, Ethernet's, RoCEv2's at MTU 4096, a jumbo.
constexpr uint32_t kLossFrames[] = {64, 576 + 18, 1518, 4096 + 98, 9018};

// 64 PiB, far beyond any machine: products with a packet's memory still fit 64 bits.
uint64_t Saturated(Uint128 value) {
  constexpr uint64_t kMost = uint64_t{1} << 56;
  return value > kMost ? kMost : static_cast<uint64_t>(value);
}

uint64_t Plus(uint64_t a, uint64_t b) { return Saturated(Uint128{a} + b); }

// per_second x time / divisor, rounded up.
uint64_t Within(uint64_t per_second, TimeNs time, uint64_t divisor) {
  const Uint128 unit = Uint128{divisor} * 1'000'000'000;
  return Saturated((Uint128{per_second} * static_cast<uint64_t>(time.ns) + unit - 1) / unit);
}

uint64_t BytesIn(Rate rate, TimeNs time) { return Within(rate.bits_per_s, time, 8); }

TimeNs JitterAllowance(const link::JitterSpec& jitter) {
  if (jitter.distribution != link::JitterDistribution::kTable || jitter.table.empty()) {
    return {jitter.deviation.ns * kJitterDeviations};
  }
  const int16_t most = *std::max_element(jitter.table.begin(), jitter.table.end());
  return {static_cast<int64_t>(static_cast<double>(jitter.deviation.ns) *
                               std::max<double>(most, 0) / 8192)};
}

// What one lane's path, rate and the direction's jitter may become.
struct Extremes {
  TimeNs delay{};  // largest
  Rate rate{};     // highest
  Rate lowest{};
};

Extremes ExtremesOf(const DirectionSpec& spec, size_t lane, const EngineSpec& engine) {
  Extremes most{link::OneWayDelay(spec.lanes[lane].path), spec.lanes[lane].rate,
                spec.lanes[lane].rate};
  TimeNs jitter = JitterAllowance(spec.jitter);
  TimeNs fault{};
  const auto concerns = [lane](int named) {
    return named == link::kAllLanes || named == static_cast<int>(lane);
  };
  const auto consider_path = [&](const auto& change) {
    if (concerns(change.lane)) most.delay = std::max(most.delay, link::OneWayDelay(change.path));
  };
  for (const link::TimelineEvent& event : spec.timeline) {
    if (const auto* set = std::get_if<link::SetPath>(&event.change)) consider_path(*set);
    if (const auto* other = std::get_if<link::ProtectionSwitch>(&event.change)) {
      consider_path(*other);
    }
    if (const auto* rate = std::get_if<link::SetRate>(&event.change);
        rate && concerns(rate->lane)) {
      if (most.rate.bits_per_s != 0) most.rate = std::max(most.rate, rate->rate);
      most.lowest = std::min(most.lowest, rate->rate);
    }
    if (const auto* set = std::get_if<link::SetJitter>(&event.change)) {
      jitter = std::max(jitter, JitterAllowance(set->jitter));
    }
  }
  for (const link::FaultSpec& rule : spec.faults) fault = std::max(fault, rule.delay);
  most.delay = std::max(most.delay, engine.headroom_delay) + jitter + fault;
  if (most.rate.bits_per_s != 0) most.rate = std::max(most.rate, engine.headroom_rate);
  return most;
}

uint64_t QueueBytes(const link::BottleneckSpec& bottleneck, Rate rate) {
  uint64_t sum = 0;
  for (const link::ClassSpec& spec : bottleneck.classes) {
    const uint64_t by_time = spec.limit.time.ns == 0 ? kNoBound : BytesIn(rate, spec.limit.time);
    const uint64_t by_bytes = spec.limit.bytes == 0 ? kNoBound : spec.limit.bytes;
    sum = Plus(sum, std::min(by_time, by_bytes));
  }
  return sum;
}

Rate AssumedRate(PortKind kind) {
  return kind == PortKind::kPci ? kAssumedHardwareRate : kAssumedSoftwareRate;
}

// How long `bytes` wait at `rate`.
TimeNs WaitOf(uint64_t bytes, Rate rate) {
  const Uint128 ns = Uint128{bytes} * 8 * 1'000'000'000 / std::max<uint64_t>(rate.bits_per_s, 1);
  return ns > static_cast<uint64_t>(kNever.ns) ? kNever : TimeNs{static_cast<int64_t>(ns)};
}

// Duplicates are packets too: the most that may be made of one.
double CopiesOf(const DirectionSpec& spec, const std::vector<Rule>& rules) {
  double copies = spec.duplicate;
  for (const Rule& rule : rules) {
    if (rule.fault.kind != link::FaultKind::kDuplicate) continue;
    copies = std::max(copies, rule.conditions.probability);
  }
  return std::min(copies, 1.0);
}

uint64_t WithCopies(double copies, uint64_t bytes) {
  if (copies == 0) return bytes;
  return Plus(bytes, static_cast<uint64_t>(std::ceil(static_cast<double>(bytes) * copies)));
}

LanePlan PlanLane(const LaneSpec& lane) {
  LanePlan plan{.terms = link::DelayTerms(lane.path),
                .delay = link::OneWayDelay(lane.path),
                .rate = lane.rate,
                .loss = {}};
  for (const uint32_t frame : kLossFrames) {
    plan.loss.push_back(
        {frame, link::ExpectedLoss(lane.loss, link::WireBytes(frame - kFcsBytes), lane.rate)});
  }
  return plan;
}

// What can be held of traffic that keeps a packet rate. All that waits in a queue came while its
// head did; with several classes the wait has no bound, and the limit's bytes count.
uint64_t PacketsAtRate(const DirectionSpec& spec, double copies, uint64_t packets_per_s,
                       TimeNs wait, uint64_t wire_bytes, const DirectionPlan& plan) {
  uint64_t queued = plan.queue_bytes / wire_bytes;
  if (spec.bottleneck.classes.size() == 1) {
    if (spec.lanes.size() > 1) wait += spec.detection;
    queued = std::min(queued, Within(packets_per_s, wait, 1));
  }
  return Plus(WithCopies(copies, Within(packets_per_s, plan.largest_delay, 1)), queued);
}

// Bytes in flight and waiting, packets, and what the model needs for them. What is held came within
// the largest delay or was waiting before, so a port's rate bounds it beside the lanes' own.
void PlanHeld(const DirectionSpec& spec, double copies, const SiteSpec& from,
              const EngineSpec& engine, DirectionPlan& plan) {
  Rate bound = from.port_rate;
  TimeNs wait{};
  for (size_t i = 0; i < spec.lanes.size(); ++i) {
    const Extremes most = ExtremesOf(spec, i, engine);
    plan.largest_delay = std::max(plan.largest_delay, most.delay);
    if (most.rate.bits_per_s == 0) {
      plan.rate_assumed = from.port_rate.bits_per_s == 0;
      if (plan.rate_assumed) bound = std::max(AssumedRate(from.port.kind), engine.headroom_rate);
      plan.rate.bits_per_s = kNoBound;
      plan.fiber_bytes = kNoBound;
    } else {
      plan.rate.bits_per_s = Plus(plan.rate.bits_per_s, most.rate.bits_per_s);
      plan.fiber_bytes = Plus(plan.fiber_bytes, BytesIn(most.rate, most.delay));
      const uint64_t queue = QueueBytes(spec.bottleneck, most.rate);
      plan.queue_bytes = Plus(plan.queue_bytes, queue);
      wait = std::max(wait, WaitOf(queue, most.lowest));
    }
  }
  if (bound.bits_per_s != 0) {
    plan.rate = std::min(plan.rate, bound);
    plan.fiber_bytes = std::min(plan.fiber_bytes, BytesIn(bound, plan.largest_delay));
  }
  plan.fiber_bytes = WithCopies(copies, plan.fiber_bytes);
  const uint64_t wire = link::WireBytes(engine.plan_frame_bytes - kFcsBytes);
  const uint64_t bytes = Plus(plan.fiber_bytes, plan.queue_bytes);
  plan.packets_per_s = plan.rate.bits_per_s / 8 / wire;
  uint64_t packets = bytes / wire;
  if (engine.max_packet_rate != 0 && engine.max_packet_rate < plan.packets_per_s) {
    plan.packets_per_s = engine.max_packet_rate;
    packets =
        std::min(packets, PacketsAtRate(spec, copies, engine.max_packet_rate, wait, wire, plan));
  }
  plan.held_packets = Plus(packets, kSlackPackets);
  plan.model_bytes = link::Link::MemoryBytes(spec, {plan.held_packets});
}

DirectionPlan PlanDirection(const EmulatorConfig& config, const LinkSpec& link, bool reversed) {
  const DirectionSpec& spec = reversed ? link.ba : link.ab;
  const DirectionSpec& back = reversed ? link.ab : link.ba;
  DirectionPlan plan;
  plan.link = link.name;
  plan.direction = reversed ? "ba" : "ab";
  plan.from = reversed ? link.b : link.a;
  plan.to = reversed ? link.a : link.b;
  plan.source = reversed ? link.ba_source : link.ab_source;
  for (const LaneSpec& lane : spec.lanes) plan.lanes.push_back(PlanLane(lane));
  for (const link::ClassSpec& c : spec.bottleneck.classes) {
    if (!c.pfc) continue;
    plan.pfc.push_back({.name = c.name,
                        .spec = *c.pfc,
                        .terms = link::PfcHeadroomTerms(*c.pfc),
                        .headroom_bytes = link::PfcHeadroom(*c.pfc),
                        .limit_bytes = c.limit.bytes});
  }
  const auto site = [&](const std::string& name) {
    return std::find_if(config.sites.begin(), config.sites.end(),
                        [&](const SiteSpec& s) { return s.name == name; });
  };
  PlanHeld(spec, CopiesOf(spec, reversed ? link.ba_rules : link.ab_rules), *site(plan.from),
           config.engine, plan);
  plan.round_trip = plan.lanes[0].delay + link::OneWayDelay(back.lanes[0].path);
  plan.bdp_bytes = BytesIn(plan.rate, plan.round_trip);
  // An IP packet of the MTU: header and FCS, preamble and gap around it.
  plan.bdp_packets = plan.bdp_bytes / (config.engine.mtu + 14 + kFcsBytes + 20);
  if (config.mode == Mode::kMesh) {
    plan.lcore = static_cast<uint32_t>(site(plan.to) - config.sites.begin());
  }
  return plan;
}

// Half the shortest stay, as arrivals may be stamped earlier than they are read. Packets that leave
// as they come would wait behind those that wait for their time; and what the
// host's pauses do to an egress is not known ahead.
LeadPlan PlanLead(const EmulatorConfig& config, const SiteSpec& site) {
  const auto none = [](const std::string& why) { return LeadPlan{{}, why}; };
  if (site.port.kind != PortKind::kPci && site.port.kind != PortKind::kVdev) {
    return none("its driver sends at once");
  }
  if (site.send_ahead.ns == 0) return none("send_ahead is 0");
  if (site.pause == PausePolicy::kConsume) return none("its host may pause the egress");
  LeadPlan plan{site.send_ahead, ""};
  for (const LinkSpec& link : config.links) {
    if (link.a != site.name && link.b != site.name) continue;
    if (link.unmatched == Unmatched::kBypass) return none("packets bypass link " + link.name);
    const DirectionSpec& spec = link.b == site.name ? link.ab : link.ba;
    const TimeNs reach{link::Fiber::kJitterReach * spec.jitter.deviation.ns};
    for (const LaneSpec& lane : spec.lanes) {
      const TimeNs stay = link::OneWayDelay(lane.path) - reach;
      plan.lead = std::clamp(TimeNs{stay.ns / 2}, TimeNs{}, plan.lead);
    }
    if (plan.lead.ns == 0) return none("link " + link.name + " may deliver at once");
  }
  return plan;
}

}  // namespace

Plan MakePlan(const EmulatorConfig& config) {
  Plan plan;
  plan.lcores = config.mode == Mode::kWire ? 1 : static_cast<uint32_t>(config.sites.size());
  if (!config.engine.lcores.empty()) {
    plan.lcores = std::min(plan.lcores, static_cast<uint32_t>(config.engine.lcores.size()));
  }
  for (const LinkSpec& link : config.links) {
    for (const bool reversed : {false, true}) {
      plan.directions.push_back(PlanDirection(config, link, reversed));
      plan.directions.back().lcore %= plan.lcores;
    }
  }
  const uint64_t wire = link::WireBytes(config.engine.plan_frame_bytes - kFcsBytes);
  for (const SiteSpec& site : config.sites) {
    plan.leads.push_back(PlanLead(config, site));
    if (!site.egress) continue;
    const uint64_t bytes = QueueBytes(site.egress->queue, site.egress->rate);
    plan.egresses.push_back(
        {site.name, site.egress->rate, bytes, Plus(bytes / wire, kSlackPackets)});
  }
  return plan;
}

}  // namespace farspan::config
