// SimGroup: all ranks of a run in one process and in virtual time, over the emulator's link model.
//
// Sites are joined pairwise by WAN links, one per ordered pair of sites, which all ranks of the two
// share; inside a site every ordered pair of ranks has a wire of its own. Endpoints are made by the
// caller, one per rank. Nothing here costs CPU time in virtual time. Deterministic.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "emulator/link/spec.h"
#include "transports/drivers/sim/sim_network.h"
#include "transports/testbed/group.h"

namespace farspan::testbed {

struct SimTopology {
  uint32_t ranks = 2;
  uint32_t ranks_per_site = 1;
  link::DirectionSpec wan;   // each direction of each pair of sites
  link::DirectionSpec site;  // between two ranks of one site
  link::LinkCapacity wan_capacity, site_capacity;
  uint64_t seed = 1;
  TimeNs granularity{};             // see SimOptions
  TimeNs limit{3'600'000'000'000};  // virtual time without an iteration being completed
};

class SimGroup final : public Group {
 public:
  using MakeEndpoint = std::function<Result<std::unique_ptr<transport::Endpoint>>(uint32_t rank)>;

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
  Result<double> sum(double mine) override { return mine; }

 private:
  class Driver;
  explicit SimGroup(const SimTopology& topology);
  Result<void> build(const MakeEndpoint& make, const transport::Properties& properties);

  const SimTopology topology_;
  transport::SimNetwork network_;
  std::vector<uint32_t> ranks_;
  std::vector<transport::SimTransport*> hosts_;
  std::vector<std::unique_ptr<collectives::Executor>> executors_;
  std::vector<std::unique_ptr<Driver>> drivers_;
};

}  // namespace farspan::testbed
