// SimGroup: all ranks of a run in one process and in virtual time, over the emulator's link model.
//
// Sites are joined pairwise by WAN links, one per ordered pair of sites, which all ranks of the two
// share, or each site has one uplink that all its peers share; inside a site every ordered pair of
// ranks has a wire of its own. Endpoints are made by the caller, one per rank. Nothing here costs
// CPU time in virtual time. Deterministic.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "emulator/link/spec.h"
#include "transports/drivers/sim/sim_network.h"
#include "transports/testbed/cross_flow.h"
#include "transports/testbed/group.h"

namespace farspan::testbed {

struct SimWire {
  link::DirectionSpec spec;
  link::LinkCapacity capacity;
};

struct SimTopology {
  uint32_t ranks = 2;
  uint32_t ranks_per_site = 1;
  link::DirectionSpec wan;   // each direction of each pair of sites
  link::DirectionSpec site;  // between two ranks of one site
  link::LinkCapacity wan_capacity, site_capacity;
  std::map<std::pair<uint32_t, uint32_t>, SimWire> pairs;  // of sites, (from, to), instead of `wan`
  bool shared_uplinks = false;  // one wire carries all that leaves a site; its pair is (from, from)
  TimeNs wire_start{};          // see SimNetwork::add_wire
  std::vector<std::pair<uint32_t, uint32_t>> cross;  // flows of others between sites, (from, to)
  uint64_t cross_message_bytes = 256 * 1024;
  uint64_t seed = 1;
  TimeNs granularity{};             // see SimOptions
  TimeNs limit{3'600'000'000'000};  // virtual time without an iteration being completed
};

class SimGroup final : public Group {
 public:
  using MakeEndpoint = std::function<Result<std::unique_ptr<transport::Endpoint>>(uint32_t rank)>;

  // Ranks from topology.ranks on are the ends of cross flow i: ranks + 2 i sends, the next
  // receives.
  static Result<std::unique_ptr<SimGroup>> Create(const SimTopology& topology,
                                                  const MakeEndpoint& make,
                                                  const transport::Properties& properties);
  ~SimGroup() override;

  uint32_t ranks() const override { return topology_.ranks; }
  std::span<const uint32_t> local_ranks() const override { return ranks_; }
  std::string_view label() const override { return "virtual"; }
  Result<void> connect(std::span<const collectives::Plan> plans,
                       const collectives::SlotConfig& slots,
                       collectives::Reducer* reducer) override;
  collectives::Executor& executor(size_t local) override { return *executors_[local]; }
  transport::Transport& transport(size_t local) override { return *hosts_[local]; }
  Result<void> run(std::span<RankRun> runs) override;
  Result<std::vector<double>> gather(std::span<const double> mine) override {
    return std::vector(mine.begin(), mine.end());
  }

  sim::Scheduler& scheduler() { return network_.scheduler(); }
  void idle(TimeNs span);
  // Until everything sent is known to have arrived, and `idle_time` longer.
  Result<void> settle(TimeNs idle_time);
  // Of all WAN wires: what comes now meets the moments that the seed alone decides.
  Result<void> start_epoch();
  // Of all WAN wires together.
  link::DirectionCounters wan_counters() const;

 private:
  class Driver;
  explicit SimGroup(const SimTopology& topology);
  Result<void> build(const MakeEndpoint& make, const transport::Properties& properties);
  Result<void> add_cross(size_t flow, const MakeEndpoint& make);
  Result<transport::WireId> wire(uint32_t from, uint32_t to);  // of ranks

  const SimTopology topology_;
  transport::SimNetwork network_;
  std::vector<uint32_t> ranks_;
  std::vector<transport::SimTransport*> hosts_;
  std::map<std::pair<uint32_t, uint32_t>, transport::WireId> wan_;  // by pair of sites
  std::vector<std::unique_ptr<collectives::Executor>> executors_;
  std::vector<std::unique_ptr<Driver>> drivers_;
  std::vector<std::unique_ptr<CrossFlow>> cross_;
};

}  // namespace farspan::testbed
