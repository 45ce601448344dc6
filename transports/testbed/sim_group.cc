#include "transports/testbed/sim_group.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "emulator/base/units.h"

namespace farspan::testbed {

using collectives::Lane;
using transport::CommState;

// Lets a rank go on whenever its transport has something new.
class SimGroup::Driver final : public transport::ProgressListener {
 public:
  void on_progress() override {
    if (run != nullptr && !failed) failed = !run->progress();
  }
  RankRun* run = nullptr;
  bool failed = false;
};

SimGroup::SimGroup(const SimTopology& topology)
    : topology_(topology),
      network_({.granularity = topology.granularity,
                .max_tasks = size_t{4} * topology.ranks * topology.ranks +
                             2 * topology.cross.size() + 1024}) {}

SimGroup::~SimGroup() = default;

Result<std::unique_ptr<SimGroup>> SimGroup::Create(const SimTopology& topology,
                                                   const MakeEndpoint& make,
                                                   const transport::Properties& properties) {
  std::unique_ptr<SimGroup> group(new SimGroup(topology));
  if (auto built = group->build(make, properties); !built) return tl::unexpected(built.error());
  return group;
}

Result<void> SimGroup::build(const MakeEndpoint& make, const transport::Properties& properties) {
  for (uint32_t rank = 0; rank < topology_.ranks; ++rank) {
    auto endpoint = make(rank);
    if (!endpoint) return tl::unexpected(endpoint.error());
    hosts_.push_back(&network_.add_host(std::move(*endpoint), properties));
    drivers_.push_back(std::make_unique<Driver>());
    hosts_.back()->set_listener(drivers_.back().get());
    ranks_.push_back(rank);
  }
  for (uint32_t from = 0; from < topology_.ranks; ++from) {
    for (uint32_t to = 0; to < topology_.ranks; ++to) {
      if (from == to) continue;
      const auto between = wire(from, to);
      if (!between) return tl::unexpected(between.error());
      network_.route(*hosts_[from], *hosts_[to], *between);
    }
  }
  for (size_t flow = 0; flow < topology_.cross.size(); ++flow) {
    if (auto added = add_cross(flow, make); !added) return added;
  }
  return {};
}

Result<void> SimGroup::add_cross(size_t flow, const MakeEndpoint& make) {
  const auto [a, b] = topology_.cross[flow];
  std::vector<transport::SimTransport*> ends;
  for (uint32_t side = 0; side < 2; ++side) {
    auto endpoint = make(topology_.ranks + 2 * static_cast<uint32_t>(flow) + side);
    if (!endpoint) return tl::unexpected(endpoint.error());
    ends.push_back(&network_.add_host(std::move(*endpoint)));
  }
  const auto there = wire(a * topology_.ranks_per_site, b * topology_.ranks_per_site);
  const auto back = wire(b * topology_.ranks_per_site, a * topology_.ranks_per_site);
  if (!there) return tl::unexpected(there.error());
  if (!back) return tl::unexpected(back.error());
  network_.route(*ends[0], *ends[1], *there);
  network_.route(*ends[1], *ends[0], *back);
  cross_.push_back(std::make_unique<CrossFlow>(*ends[0], *ends[1], topology_.cross_message_bytes));
  return cross_.back()->start();
}

void SimGroup::idle(TimeNs span) { network_.run_until(network_.now() + span); }

Result<transport::WireId> SimGroup::wire(uint32_t from, uint32_t to) {
  const uint32_t a = from / topology_.ranks_per_site, b = to / topology_.ranks_per_site;
  if (a == b) {
    return network_.add_wire(topology_.site,
                             {.seed = topology_.seed,
                              .link = "rank " + std::to_string(from) + "-" + std::to_string(to),
                              .direction = from < to ? 0u : 1u},
                             topology_.site_capacity, topology_.wire_start);
  }
  const std::pair pair(a, topology_.shared_uplinks ? a : b);
  if (const auto known = wan_.find(pair); known != wan_.end()) return known->second;
  const auto own = topology_.pairs.find(pair);
  const SimWire& wire =
      own != topology_.pairs.end() ? own->second : SimWire{topology_.wan, topology_.wan_capacity};
  const link::LinkIdentity identity{.seed = topology_.seed,
                                    .link = "site " + std::to_string(std::min(a, pair.second)) +
                                            "-" + std::to_string(std::max(a, pair.second)),
                                    .direction = from < to ? 0u : 1u};
  const auto added = network_.add_wire(wire.spec, identity, wire.capacity, topology_.wire_start);
  if (added) wan_[pair] = *added;
  return added;
}

Result<void> SimGroup::connect(std::span<const collectives::Plan> plans,
                               const collectives::SlotConfig& slots,
                               collectives::Reducer* reducer) {
  for (transport::SimTransport* host : hosts_) {
    if (auto able = CheckSlots(host->properties(), slots); !able) return able;
    executors_.push_back(std::make_unique<collectives::Executor>(*host, slots, reducer));
  }
  for (uint32_t rank = 0; rank < ranks(); ++rank) {
    for (const Lane& lane : plans[rank].receives) {
      transport::Handle handle;
      auto listener = hosts_[rank]->listen(handle);
      if (!listener) return tl::unexpected(listener.error());
      auto sender = hosts_[lane.peer]->connect(handle);
      if (!sender) return tl::unexpected(sender.error());
      std::optional<transport::CommId> receiver;
      const auto connecting = [&] {
        if (!receiver) receiver = hosts_[rank]->accept(*listener);
        return !receiver || hosts_[lane.peer]->state(*sender) == CommState::kConnecting;
      };
      network_.run_while(connecting, network_.now() + topology_.limit);
      if (!receiver || hosts_[lane.peer]->state(*sender) != CommState::kReady) {
        std::string reason(hosts_[lane.peer]->failure(*sender));
        if (reason.empty()) reason = "not done within " + ToText(topology_.limit);
        return Fail(ErrorCode::kIo, "connecting rank " + std::to_string(lane.peer) + " to rank " +
                                        std::to_string(rank) + ": " + reason);
      }
      hosts_[rank]->stop_listening(*listener);
      executors_[lane.peer]->add_send_lane({rank, lane.channel}, *sender);
      executors_[rank]->add_receive_lane(lane, *receiver);
    }
  }
  return {};
}

Result<void> SimGroup::run(std::span<RankRun> runs) {
  for (size_t i = 0; i < runs.size(); ++i) drivers_[i]->run = &runs[i];
  // Receives first, everywhere: what nccl-tests' warm-up does for a real net.
  for (auto& executor : executors_) executor->progress();
  for (auto& driver : drivers_) driver->on_progress();
  size_t seen = 0;
  TimeNs last = network_.now();
  const auto going_on = [&] {
    size_t done = 0;
    bool unfinished = false;
    for (const RankRun& run : runs) {
      done += run.ends().size();
      unfinished = unfinished || !run.finished();
    }
    if (done != seen) last = network_.now();
    seen = done;
    const bool failed =
        std::any_of(drivers_.begin(), drivers_.end(), [](const auto& d) { return d->failed; });
    return unfinished && !failed && network_.now() - last < topology_.limit;
  };
  network_.run_while(going_on, kNever);
  for (size_t i = 0; i < runs.size(); ++i) {
    drivers_[i]->run = nullptr;
    if (drivers_[i]->failed) return Fail(ErrorCode::kIo, runs[i].executor().failure());
  }
  if (std::all_of(runs.begin(), runs.end(), [](const RankRun& run) { return run.finished(); })) {
    return {};
  }
  if (network_.now() - last >= topology_.limit) {
    return Fail(ErrorCode::kIo, "not done within " + ToText(topology_.limit));
  }
  return Fail(ErrorCode::kIo, "the ranks wait for each other: nothing is under way");
}

Result<void> SimGroup::settle(TimeNs idle_time) {
  const auto busy = [&] {
    return std::any_of(executors_.begin(), executors_.end(), [](const auto& executor) {
      return executor->progress() && !executor->drained();
    });
  };
  network_.run_while(busy, network_.now() + topology_.limit);
  for (const auto& executor : executors_) {
    if (!executor->failure().empty()) return Fail(ErrorCode::kIo, executor->failure());
    if (!executor->drained()) {
      return Fail(ErrorCode::kIo, "not delivered within " + ToText(topology_.limit));
    }
  }
  idle(idle_time);
  return {};
}

Result<void> SimGroup::start_epoch() {
  for (const auto& [pair, wire] : wan_) {
    if (auto started = network_.start_epoch(wire); !started) return started;
  }
  return {};
}

link::DirectionCounters SimGroup::wan_counters() const {
  link::DirectionCounters sum{};
  for (const auto& [pair, wire] : wan_) {
    const link::DirectionCounters one = network_.counters(wire);
    sum.offered_packets += one.offered_packets;
    sum.offered_bytes += one.offered_bytes;
    sum.forwarded_packets += one.forwarded_packets;
    sum.forwarded_bytes += one.forwarded_bytes;
    for (size_t cause = 0; cause < link::kCauseCount; ++cause) {
      sum.dropped_packets[cause] += one.dropped_packets[cause];
    }
  }
  return sum;
}

}  // namespace farspan::testbed
