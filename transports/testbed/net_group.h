// NetGroup: one rank of a run over a real network, its peers being other processes.
#pragma once

#include <functional>
#include <memory>

#include "transports/testbed/bootstrap.h"
#include "transports/testbed/group.h"

namespace farspan::testbed {

class NetGroup final : public Group {
 public:
  NetGroup(std::unique_ptr<Bootstrap> bootstrap, std::unique_ptr<transport::Transport> transport,
           TimeNs timeout);
  ~NetGroup() override;

  uint32_t ranks() const override { return bootstrap_->world(); }
  std::span<const uint32_t> local_ranks() const override { return {&rank_, 1}; }
  std::string_view label() const override { return "measured"; }
  Result<void> connect(std::span<const collectives::Plan> plans,
                       const collectives::SlotConfig& slots,
                       collectives::Reducer* reducer) override;
  collectives::Executor& executor(size_t /*local*/) override { return *executor_; }
  transport::Transport& transport(size_t /*local*/) override { return *transport_; }
  Result<void> run(std::span<RankRun> runs) override;
  // At a moment that all ranks of one machine were told; nothing is said between them.
  Result<void> run_at(TimeNs start, std::span<RankRun> runs);
  Result<std::vector<double>> gather(std::span<const double> mine) override;
  // Until all ranks know that everything has arrived.
  Result<void> settle();

 private:
  Result<void> meet();
  Result<void> drive(RankRun& run);
  // `listeners` and `sends`: of the plan's lanes.
  Result<void> await_lanes(const collectives::Plan& plan,
                           std::span<const transport::ListenId> listeners,
                           std::span<const transport::CommId> sends);
  std::function<void()> meanwhile();

  std::unique_ptr<Bootstrap> bootstrap_;
  std::unique_ptr<transport::Transport> transport_;
  std::unique_ptr<collectives::Executor> executor_;
  std::vector<transport::CommId> comms_;
  uint32_t rank_;
  TimeNs timeout_;  // without any progress
};

}  // namespace farspan::testbed
