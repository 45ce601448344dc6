#include "transports/testbed/sim_group.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

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
                .max_tasks = size_t{4} * topology.ranks * topology.ranks + 1024}) {}

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
  std::map<std::pair<uint32_t, uint32_t>, transport::WireId> between;
  for (uint32_t from = 0; from < topology_.ranks; ++from) {
    for (uint32_t to = 0; to < topology_.ranks; ++to) {
      const uint32_t a = from / topology_.ranks_per_site, b = to / topology_.ranks_per_site;
      if (from == to) continue;
      if (a != b && between.contains({a, b})) {
        network_.route(*hosts_[from], *hosts_[to], between.at({a, b}));
        continue;
      }
      const link::LinkIdentity identity{
          .seed = topology_.seed,
          .link = (a == b ? "rank " + std::to_string(from) + "-" + std::to_string(to)
                          : "site " + std::to_string(std::min(a, b)) + "-" +
                                std::to_string(std::max(a, b))),
          .direction = from < to ? 0u : 1u};
      auto wire = a == b ? network_.add_wire(topology_.site, identity, topology_.site_capacity)
                         : network_.add_wire(topology_.wan, identity, topology_.wan_capacity);
      if (!wire) return tl::unexpected(wire.error());
      network_.route(*hosts_[from], *hosts_[to], *wire);
      if (a != b) between[{a, b}] = *wire;
    }
  }
  return {};
}

Result<void> SimGroup::connect(std::span<const collectives::Plan> plans,
                               const collectives::SlotConfig& slots,
                               collectives::Reducer* reducer) {
  for (transport::SimTransport* host : hosts_) {
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
        return Fail(ErrorCode::kIo, "connecting rank " + std::to_string(lane.peer) + " to rank " +
                                        std::to_string(rank) + ": " +
                                        std::string(hosts_[lane.peer]->failure(*sender)));
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
  return Fail(ErrorCode::kIo, "the ranks wait for each other: nothing is under way");
}

}  // namespace farspan::testbed
