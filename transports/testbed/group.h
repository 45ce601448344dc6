// Group: the ranks of a run that live in this process, on whatever net they run.
//
// On a real net that is one rank, in virtual time all of them. Either way a benchmark gives each
// local rank a RankRun, and the group drives them until all are done.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "transports/collectives/executor.h"
#include "transports/core/transport.h"

namespace farspan::testbed {

// One rank's iterations of one plan, back to back as nccl-tests launches them. A state machine.
class RankRun {
 public:
  RankRun(collectives::Executor& executor, const transport::Transport& transport,
          const collectives::Plan& plan, const collectives::Buffers& buffers, uint32_t iterations)
      : executor_(executor),
        transport_(transport),
        plan_(plan),
        buffers_(buffers),
        iterations_(iterations) {}

  // Does what can be done now. False: a comm has failed, see executor().failure().
  bool progress();
  bool finished() const { return started_ && ends_.size() == iterations_; }
  TimeNs start() const { return start_; }
  // When each iteration's output was complete.
  std::span<const TimeNs> ends() const { return ends_; }
  const collectives::Executor& executor() const { return executor_; }

 private:
  collectives::Executor& executor_;
  const transport::Transport& transport_;
  const collectives::Plan& plan_;
  collectives::Buffers buffers_;
  uint32_t iterations_;
  bool started_ = false;
  TimeNs start_{};
  std::vector<TimeNs> ends_;
};

// Whether a transport takes messages as long as a slot, and as many at once.
Result<void> CheckSlots(const transport::Properties& properties,
                        const collectives::SlotConfig& slots);

class Group {
 public:
  virtual ~Group() = default;
  virtual uint32_t ranks() const = 0;
  virtual std::span<const uint32_t> local_ranks() const = 0;
  virtual std::string_view label() const = 0;  // "measured" or "virtual"
  // Connects the lanes of one plan per local rank; the same shape on every rank.
  virtual Result<void> connect(std::span<const collectives::Plan> plans,
                               const collectives::SlotConfig& slots,
                               collectives::Reducer* reducer) = 0;
  virtual collectives::Executor& executor(size_t local) = 0;
  virtual transport::Transport& transport(size_t local) = 0;
  // All ranks begin together; returns when every local run is finished.
  virtual Result<void> run(std::span<RankRun> runs) = 0;
  // Every rank's value, by rank; `mine` are those of the local ranks, in their order.
  virtual Result<std::vector<double>> gather(std::span<const double> mine) = 0;
};

}  // namespace farspan::testbed
