#include "transports/testbed/compare.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>

#include "transports/testbed/compare_case.h"
#include "transports/testbed/endpoints.h"
#include "transports/testbed/sim_group.h"
#include "transports/testbed/traffic_recorder.h"

namespace farspan::testbed {
namespace {

using collectives::Collective;
using link::DirectionSpec;

constexpr TimeNs kPatience{10'000'000'000};  // of an endpoint whose peer is silent, at least
constexpr TimeNs kInSite{5'000};
constexpr TimeNs kNotYet{int64_t{1} << 60};  // the origin of wire time while warming up

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

// A group of ranks on links with one seed.
class SampleRun {
 public:
  SampleRun(const Case& of, uint64_t number)
      : case_(of),
        seed_(of.scenario->seed + number),
        records_(number == 0 && of.scenario->over_time.ns != 0) {}

  Result<CompareSample> run() {
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
    std::optional<TrafficRecorder> recorder;
    if (records_) {
      recorder.emplace(group_->scheduler(), case_.scenario->over_time,
                       [this] { return traffic().own; });
    }
    const auto seconds = iterate();
    const uint64_t cross = traffic().others.received - before.others.received;
    if (!seconds) return tl::unexpected(seconds.error());
    if (auto settled = group_->settle({}); !settled) return tl::unexpected(settled.error());
    const link::DirectionCounters wan = group_->wan_counters();
    if (wan.dropped_packets[static_cast<size_t>(link::Cause::kStoreFull)] != 0) {
      return Fail(ErrorCode::kIo, "invalid: the links' own store was too small");
    }
    CompareSample sample;
    sample.seconds = *seconds;
    sample.wan_bytes = static_cast<double>(wan.offered_bytes - wan_before);
    sample.cross_bits_per_s = static_cast<double>(cross) * 8 / *seconds;
    sample.traffic = traffic().own - before.own;
    if (recorder) sample.over_time = recorder->finish();
    return sample;
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
    // The group's own patience is with each rank.
    if (last > case_.scenario->limit) {
      return Fail(ErrorCode::kIo, "not done within " + ToText(case_.scenario->limit));
    }
    return ToSeconds(last);
  }

  struct Traffic {
    TrafficBytes own;     // of all ranks
    TrafficBytes others;  // of the cross flows
  };
  Traffic traffic() const {
    Traffic sum;
    for (size_t i = 0; i < traffic_.size(); ++i) {
      (i < case_.plans.size() ? sum.own : sum.others) += traffic_[i]();
    }
    return sum;
  }

  const Case& case_;
  const uint64_t seed_;
  const bool records_;
  std::vector<std::function<TrafficBytes()>> traffic_;  // of ranks, then of cross flows' ends
  std::unique_ptr<SimGroup> group_;
};

// All samples of all rows, by as many threads as asked for.
void RunAll(const std::vector<Case>& cases, uint64_t per_case, std::vector<CompareSample>& samples,
            const CompareOptions& options) {
  std::atomic<uint64_t> next{0};
  uint64_t done = 0;
  unsigned working = std::max(1u, options.jobs);
  std::mutex mutex;
  std::condition_variable changed;
  const auto work = [&] {
    for (uint64_t i = next++; i < samples.size(); i = next++) {
      const Case& of = cases[i / per_case];
      auto sample = SampleRun(of, i % per_case).run();
      if (sample) {
        samples[i] = std::move(*sample);
      } else {
        samples[i].failure = sample.error().text();
      }
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

}  // namespace

double LeastWireShare(const Scenario& scenario) {
  double least = std::numeric_limits<double>::max();
  for (const ContenderSpec& contender : scenario.contenders) {
    if (contender.is_library()) {  // its wire format is its own, but no less than bare UDP
      constexpr double kBareUdp = 66;
      const double payload = scenario.payload_bytes + kRealMtuBeyond - 28;
      least = std::min(least, 1 + kBareUdp / payload);
      continue;
    }
    const bool kernel = scenario.real_time && contender.transport == "tcp";
    const double payload = scenario.payload_bytes + (kernel ? kKernelTcpPayloadBeyond : 0);
    least = std::min(least, 1 + OverheadBytes(contender.transport) / payload);
  }
  return least;
}

double LowerBound(const Scenario& scenario, const ScenarioPoint& point, uint64_t bytes) {
  const auto sites = static_cast<double>(scenario.sites.size());
  const double size = static_cast<double>(bytes) * 8 * LeastWireShare(scenario);
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

std::vector<CompareRow> RunCompare(const Scenario& scenario, const CompareOptions& options) {
  std::vector<CompareRow> rows = RowsOf(scenario);
  std::vector<Case> cases;
  for (const CompareRow& row : rows) cases.push_back(MakeCase(scenario, row));
  std::vector<CompareSample> samples(rows.size() * scenario.samples);
  RunAll(cases, scenario.samples, samples, options);
  Conclude(scenario, samples, rows);
  return rows;
}

}  // namespace farspan::testbed
