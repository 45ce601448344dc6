#include "transports/testbed/compare.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "emulator/base/check.h"
#include "emulator/link/loss.h"
#include "emulator/link/path.h"
#include "transports/testbed/sim_group.h"

namespace farspan::testbed {
namespace {

using collectives::Collective;
using collectives::Plan;
using link::DirectionSpec;

constexpr uint32_t kSlots = 8;         // NCCL_STEPS
constexpr double kOverheadBytes = 98;  // of a datagram: framing, IP, UDP, Span
constexpr uint64_t kLeastWindow = 4096, kMostWindow = 1u << 22;  // packets, as Span takes them
constexpr TimeNs kPatience{10'000'000'000};  // of an endpoint whose peer is silent, at least
constexpr TimeNs kInSite{5'000};
constexpr TimeNs kNotYet{int64_t{1} << 60};  // the origin of wire time while warming up

// Of what a direction is at first, and what its timeline makes of it.
template <typename Visitor>
void ForEachPath(const DirectionSpec& spec, Visitor visit) {
  for (const link::LaneSpec& lane : spec.lanes) visit(lane.path);
  for (const link::TimelineEvent& event : spec.timeline) {
    if (const auto* set = std::get_if<link::SetPath>(&event.change)) visit(set->path);
    if (const auto* to = std::get_if<link::ProtectionSwitch>(&event.change)) visit(to->path);
  }
}

TimeNs LeastDelay(const DirectionSpec& spec) {
  TimeNs least = kNever;
  ForEachPath(spec, [&](const auto& path) { least = std::min(least, link::OneWayDelay(path)); });
  return least;
}

TimeNs MostDelay(const DirectionSpec& spec) {
  TimeNs most{};
  ForEachPath(spec, [&](const auto& path) { most = std::max(most, link::OneWayDelay(path)); });
  return most;
}

double RateOf(const DirectionSpec& spec) {
  double sum = 0, changed = 0;
  for (const link::LaneSpec& lane : spec.lanes) sum += static_cast<double>(lane.rate.bits_per_s);
  for (const link::TimelineEvent& event : spec.timeline) {
    const auto* set = std::get_if<link::SetRate>(&event.change);
    if (set == nullptr) continue;
    const double lanes = set->lane == link::kAllLanes ? static_cast<double>(spec.lanes.size()) : 1;
    changed = std::max(changed, static_cast<double>(set->rate.bits_per_s) * lanes);
  }
  return std::max(sum, changed);
}

// Packets that a direction can hold: in the fiber, and waiting in front of it.
link::LinkCapacity CapacityOf(const DirectionSpec& spec, uint32_t payload) {
  const double rate = RateOf(spec) / 8;
  double bytes = rate * ToSeconds(MostDelay(spec));
  for (const link::ClassSpec& c : spec.bottleneck.classes) {
    bytes +=
        c.limit.bytes != 0 ? static_cast<double>(c.limit.bytes) : rate * ToSeconds(c.limit.time);
  }
  return {static_cast<uint64_t>(bytes / payload * 1.2) + 50'000};
}

struct Path {
  TimeNs rtt{};     // the longest
  double rate = 0;  // the slowest, in bits/s
};

Path WorstPath(const ScenarioPoint& point) {
  Path worst{.rtt = {}, .rate = 1e18};
  for (const auto& [pair, spec] : point.links) {
    const DirectionSpec& back = point.links.at({pair.second, pair.first});
    worst.rtt = std::max(worst.rtt, MostDelay(spec) + MostDelay(back));
    double rate = 0;
    for (const link::LaneSpec& lane : spec.lanes) rate += static_cast<double>(lane.rate.bits_per_s);
    worst.rate = std::min(worst.rate, rate);
  }
  return worst;
}

// One contender at one point: what all its samples share.
struct Case {
  const Scenario* scenario = nullptr;
  const ScenarioPoint* point = nullptr;
  const ContenderSpec* contender = nullptr;
  uint64_t bytes = 0;
  TimeNs rtt{};
  Rate rate{};
  NcclPreset preset;
  uint64_t slot_bytes = 0;
  uint64_t ample_bytes = 0;  // four times what the longest path holds
  uint32_t window_packets = 0;
  std::vector<Plan> plans;  // of each rank
};

// How many of a site's peers share the bottleneck that the busiest rank's data leaves by.
uint64_t Sharers(const Scenario& scenario, const std::vector<Plan>& plans) {
  std::map<SitePair, std::set<std::pair<uint32_t, uint32_t>>> lanes;
  for (uint32_t rank = 0; rank < plans.size(); ++rank) {
    const uint32_t from = rank / scenario.ranks_per_site;
    for (const collectives::Lane& lane : plans[rank].sends) {
      const uint32_t to = lane.peer / scenario.ranks_per_site;
      if (from == to) continue;
      lanes[{from, scenario.shared_uplinks ? from : to}].emplace(rank, lane.peer);
    }
  }
  uint64_t most = 1;
  for (const auto& [pair, sharers] : lanes) most = std::max<uint64_t>(most, sharers.size());
  return most;
}

Case MakeCase(const Scenario& scenario, const CompareRow& row) {
  Case made{.scenario = &scenario,
            .point = &scenario.points[row.point],
            .contender = &scenario.contenders[row.contender],
            .bytes = row.bytes,
            .rtt = {},
            .rate = {},
            .preset = {},
            .plans = {}};
  const Path path = WorstPath(*made.point);
  made.rtt = path.rtt;
  const ContenderSpec& contender = *made.contender;
  const uint64_t element = BytesOf(scenario.element);
  made.ample_bytes = static_cast<uint64_t>(4 * path.rate / 8 * ToSeconds(path.rtt));
  const Rate port{static_cast<uint64_t>(path.rate)};
  const auto preset = FindPreset(contender.tuned ? "tuned" : "default", port, path.rtt);
  FARSPAN_CHECK(preset);
  made.preset = *preset;
  uint64_t buffsize = contender.buffsize;
  if (buffsize == 0) {
    const bool enough = contender.baseline || !contender.tuned;
    buffsize = std::max(preset->buffsize, enough ? 0 : made.ample_bytes / contender.channels);
  }
  // Twice the message is never reached.
  const uint64_t window = contender.window_bytes != 0 ? contender.window_bytes
                                                      : std::min(made.ample_bytes, 2 * row.bytes);
  made.window_packets = static_cast<uint32_t>(
      std::bit_ceil(std::clamp(window / scenario.payload_bytes, kLeastWindow, kMostWindow)));
  made.slot_bytes = std::max(buffsize / kSlots / element * element, element);
  for (uint32_t rank = 0; rank < scenario.ranks(); ++rank) {
    collectives::Task task;
    task.collective = scenario.collective;
    task.schedule = contender.schedule;
    task.rank = rank;
    task.ranks = scenario.ranks();
    task.ranks_per_site = scenario.ranks_per_site;
    task.bytes = row.bytes;
    task.element_bytes = element;
    task.slot_bytes = made.slot_bytes;
    task.channels = contender.channels;
    auto plan = collectives::MakePlan(task);
    FARSPAN_CHECK(plan);  // the scenario's reader has tried it
    made.plans.push_back(std::move(*plan));
  }
  const bool fixed = contender.congestion == "fixed";
  made.rate = {port.bits_per_s / (fixed ? Sharers(scenario, made.plans) : 1)};
  return made;
}

SimTopology TopologyOf(const Case& of, uint64_t seed) {
  SimTopology topology;
  topology.ranks = of.scenario->ranks();
  topology.ranks_per_site = of.scenario->ranks_per_site;
  topology.seed = seed;
  topology.limit = of.scenario->limit;
  topology.shared_uplinks = of.scenario->shared_uplinks;
  topology.wire_start = kNotYet;
  topology.cross_message_bytes = std::max<uint64_t>(of.ample_bytes / 16, 64 * 1024);
  topology.site.lanes[0].path.delay = kInSite;
  for (const CrossSpec& cross : of.scenario->cross) topology.cross.push_back(cross.sites);
  for (const auto& [pair, spec] : of.point->links) {
    topology.pairs[pair] = {spec, CapacityOf(spec, of.scenario->payload_bytes)};
  }
  // A two-hundredth of the round trip is seen by nobody; inside a site that is not much.
  const TimeNs shortest = of.scenario->ranks_per_site > 1 ? kInSite + kInSite : of.rtt;
  topology.granularity = TimeNs{std::min<int64_t>(2'000, shortest.ns / 200)};
  return topology;
}

struct Sample {
  double seconds = 0;
  double wan_bytes = 0;
  double cross_bits_per_s = 0;
  TrafficBytes traffic;
  std::string failure;
};

// A group of ranks on links with one seed.
class SampleRun {
 public:
  SampleRun(const Case& of, uint64_t seed) : case_(of), seed_(seed) {}

  Result<Sample> run() {
    if (auto built = build(); !built) return tl::unexpected(built.error());
    for (uint32_t i = 0; i < case_.scenario->warm_up; ++i) {
      if (const auto done = iterate(); !done) return tl::unexpected(done.error());
    }
    if (auto settled = group_->settle(case_.rtt); !settled) {
      return tl::unexpected(settled.error());
    }
    const Traffic before = traffic();
    const uint64_t wan_before = group_->wan_counters().offered_bytes;
    if (auto started = group_->start_epoch(); !started) return tl::unexpected(started.error());
    const auto seconds = iterate();
    const uint64_t cross = traffic().others.received - before.others.received;
    if (!seconds) return tl::unexpected(seconds.error());
    if (auto settled = group_->settle({}); !settled) return tl::unexpected(settled.error());
    const link::DirectionCounters wan = group_->wan_counters();
    if (wan.dropped_packets[static_cast<size_t>(link::Cause::kStoreFull)] != 0) {
      return Fail(ErrorCode::kIo, "invalid: the links' own store was too small");
    }
    const TrafficBytes after = traffic().own;
    return Sample{*seconds,
                  static_cast<double>(wan.offered_bytes - wan_before),
                  static_cast<double>(cross) * 8 / *seconds,
                  {after.received, after.resent - before.own.resent,
                   after.duplicate - before.own.duplicate, after.parity - before.own.parity},
                  {}};
  }

 private:
  Result<void> build() {
    const Scenario& scenario = *case_.scenario;
    const auto make = [&](uint32_t rank) -> Result<std::unique_ptr<transport::Endpoint>> {
      EndpointOrder order{.spec = case_.contender,
                          .rate = case_.rate,
                          .preset = case_.preset,
                          .payload_bytes = scenario.payload_bytes,
                          .window_packets = case_.window_packets,
                          .timeout = std::max(scenario.limit, kPatience),
                          .seed = seed_ * 1'000 + rank};
      ContenderSpec other;
      if (rank >= scenario.ranks()) {
        const CrossSpec& cross = scenario.cross[(rank - scenario.ranks()) / 2];
        other.recovery = "sr";
        other.congestion = cross.congestion;
        order.spec = &other;
        order.rate = cross.rate;
      }
      auto made = MakeContender(order);
      if (!made) return tl::unexpected(made.error());
      traffic_.push_back(std::move(made->traffic));
      return std::move(made->endpoint);
    };
    constexpr uint32_t kRequests = 32;
    auto group = SimGroup::Create(TopologyOf(case_, seed_), make,
                                  {case_.contender->name, uint64_t{1} << 40, kRequests, 0, {}});
    if (!group) return tl::unexpected(group.error());
    group_ = std::move(*group);
    if (!scenario.cross.empty()) group_->idle(scenario.cross_warm_up);
    return group_->connect(case_.plans, {kSlots, case_.slot_bytes, true}, nullptr);
  }

  // Seconds from the common start until the last rank has its result.
  Result<double> iterate() {
    std::vector<RankRun> runs;
    for (uint32_t rank = 0; rank < case_.plans.size(); ++rank) {
      runs.emplace_back(group_->executor(rank), group_->transport(rank), case_.plans[rank],
                        collectives::Buffers{}, 1);
    }
    if (auto done = group_->run(runs); !done) return tl::unexpected(done.error());
    TimeNs last{};
    for (const RankRun& run : runs) last = std::max(last, run.ends().back() - run.start());
    return ToSeconds(last);
  }

  struct Traffic {
    TrafficBytes own;     // of all ranks
    TrafficBytes others;  // of the cross flows
  };
  Traffic traffic() const {
    Traffic sum;
    for (size_t i = 0; i < traffic_.size(); ++i) {
      TrafficBytes& to = i < case_.plans.size() ? sum.own : sum.others;
      const TrafficBytes one = traffic_[i]();
      to.received += one.received;
      to.resent += one.resent;
      to.duplicate += one.duplicate;
      to.parity += one.parity;
    }
    return sum;
  }

  const Case& case_;
  const uint64_t seed_;
  std::vector<std::function<TrafficBytes()>> traffic_;  // of ranks, then of cross flows' ends
  std::unique_ptr<SimGroup> group_;
};

// All samples of all rows, by as many threads as asked for.
void RunAll(const std::vector<Case>& cases, uint64_t per_case, std::vector<Sample>& samples,
            const CompareOptions& options) {
  std::atomic<uint64_t> next{0};
  uint64_t done = 0;
  unsigned working = std::max(1u, options.jobs);
  std::mutex mutex;
  std::condition_variable changed;
  const auto work = [&] {
    for (uint64_t i = next++; i < samples.size(); i = next++) {
      const Case& of = cases[i / per_case];
      auto sample = SampleRun(of, of.scenario->seed + i % per_case).run();
      if (!sample) sample = Sample{.traffic = {}, .failure = sample.error().text()};
      samples[i] = std::move(*sample);
      const std::lock_guard lock(mutex);
      ++done;
    }
    const std::lock_guard lock(mutex);
    --working;
    changed.notify_one();
  };
  std::vector<std::jthread> threads;
  for (unsigned i = working; i > 0; --i) threads.emplace_back(work);
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, std::chrono::milliseconds(200), [&] { return working == 0; })) {
    if (options.progress) options.progress(done, samples.size());
  }
  if (options.progress) options.progress(done, samples.size());
}

void Condense(std::span<const Sample> samples, CompareRow& row) {
  std::vector<double> seconds;
  for (const Sample& sample : samples) {
    if (!sample.failure.empty()) {
      row.failure = sample.failure;
      return;
    }
    seconds.push_back(sample.seconds);
    row.wan_bytes += sample.wan_bytes;
    row.resent_bytes += static_cast<double>(sample.traffic.resent);
    row.duplicate_bytes += static_cast<double>(sample.traffic.duplicate);
    row.parity_bytes += static_cast<double>(sample.traffic.parity);
    row.cross_bits_per_s += sample.cross_bits_per_s;
  }
  const auto n = static_cast<double>(samples.size());
  for (double* sum : {&row.wan_bytes, &row.resent_bytes, &row.duplicate_bytes, &row.parity_bytes,
                      &row.cross_bits_per_s}) {
    *sum /= n;
  }
  row.seconds = Summarise(std::move(seconds));
}

void AddFactors(const Scenario& scenario, std::vector<CompareRow>& rows) {
  for (CompareRow& row : rows) {
    const RateClass rate_class = scenario.contenders[row.contender].rate_class;
    double best = 0;
    for (const CompareRow& other : rows) {
      const ContenderSpec& rival = scenario.contenders[other.contender];
      if (other.point != row.point || other.bytes != row.bytes || !other.failure.empty()) continue;
      if (!rival.baseline || !rival.tuned || rival.rate_class != rate_class) continue;
      best = best == 0 ? other.seconds.mean : std::min(best, other.seconds.mean);
    }
    if (best != 0 && row.failure.empty()) row.factor = best / row.seconds.mean;
  }
}

}  // namespace

double LowerBound(const Scenario& scenario, const ScenarioPoint& point, uint64_t bytes) {
  const auto sites = static_cast<double>(scenario.sites.size());
  const double overhead = 1 + kOverheadBytes / scenario.payload_bytes;
  const double size = static_cast<double>(bytes) * 8 * overhead;
  double all_links = 0;
  std::map<uint32_t, double> out_of;
  TimeNs nearest = kNever, farthest{};
  for (const auto& [pair, spec] : point.links) {
    const double rate = RateOf(spec);
    all_links += rate;
    out_of[pair.first] += rate;
    nearest = std::min(nearest, LeastDelay(spec));
    farthest = std::max(farthest, LeastDelay(spec));
  }
  double crossing = 0;  // over all links together
  double leaving = 0;   // every site
  switch (scenario.collective) {
    case Collective::kAllReduce:
      crossing = 2 * (sites - 1) * size;
      leaving = size;
      break;
    case Collective::kAllGather:
    case Collective::kReduceScatter:
      crossing = (sites - 1) * size;
      leaving = size / sites;
      break;
    case Collective::kAllToAll:
      crossing = (sites - 1) * size * scenario.ranks_per_site;
      leaving = crossing / sites;
      break;
    case Collective::kSendRecv:
      crossing = sites * size;
      leaving = size;
      break;
  }
  double injection = crossing / all_links;
  for (const auto& [site, rate] : out_of) injection = std::max(injection, leaving / rate);
  return std::max(ToSeconds(farthest), ToSeconds(nearest) + injection);
}

PointView ViewOf(const Scenario& scenario, const ScenarioPoint& point) {
  const auto& [pair, spec] = *point.links.begin();
  const link::LaneSpec& lane = spec.lanes[0];
  const auto wire_bytes = static_cast<uint32_t>(scenario.payload_bytes + kOverheadBytes);
  const TimeNs back = link::OneWayDelay(point.links.at({pair.second, pair.first}).lanes[0].path);
  return {link::ExpectedLoss(lane.loss, wire_bytes, lane.rate),
          ToSeconds(link::OneWayDelay(lane.path) + back),
          static_cast<double>(lane.rate.bits_per_s)};
}

std::vector<CompareRow> RunCompare(const Scenario& scenario, const CompareOptions& options) {
  std::vector<CompareRow> rows;
  std::vector<Case> cases;
  for (size_t point = 0; point < scenario.points.size(); ++point) {
    for (const uint64_t bytes : scenario.sizes) {
      for (size_t contender = 0; contender < scenario.contenders.size(); ++contender) {
        CompareRow row;
        row.point = point;
        row.bytes = bytes;
        row.contender = contender;
        row.bound_s = LowerBound(scenario, scenario.points[point], bytes);
        cases.push_back(MakeCase(scenario, row));
        rows.push_back(std::move(row));
      }
    }
  }
  std::vector<Sample> samples(rows.size() * scenario.samples);
  RunAll(cases, scenario.samples, samples, options);
  for (size_t i = 0; i < rows.size(); ++i) {
    Condense(std::span(samples).subspan(i * scenario.samples, scenario.samples), rows[i]);
  }
  AddFactors(scenario, rows);
  return rows;
}

}  // namespace farspan::testbed
