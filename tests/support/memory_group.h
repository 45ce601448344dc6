// MemoryGroup: all ranks of one collective in one process, over a MemoryNetwork.
#pragma once

#include <memory>
#include <vector>

#include "tests/support/memory_transport.h"
#include "transports/collectives/executor.h"
#include "transports/collectives/schedules.h"

namespace farspan::test {

class MemoryGroup {
 public:
  // codecs: one per rank, or none.
  MemoryGroup(const collectives::Task& task, uint32_t slots, collectives::Reducer* reducer,
              TimeNs one_way = TimeNs{1'000'000},
              const std::vector<collectives::Codec*>& codecs = {})
      : network_(task.ranks, one_way) {
    for (uint32_t rank = 0; rank < task.ranks; ++rank) {
      collectives::Task own = task;
      own.rank = rank;
      if (!codecs.empty()) own.codec = codecs[rank];
      plans_.push_back(*collectives::MakePlan(own));
      executors_.push_back(std::make_unique<collectives::Executor>(
          network_.transport(rank),
          collectives::SlotConfig{slots, task.slot_bytes, reducer == nullptr}, reducer));
    }
    for (uint32_t rank = 0; rank < task.ranks; ++rank) {
      for (const collectives::Lane& lane : plans_[rank].receives) connect(rank, lane);
    }
  }

  // False if it stops short of the end.
  bool run(const std::vector<collectives::Buffers>& buffers) {
    for (size_t i = 0; i < plans_.size(); ++i) executors_[i]->start(plans_[i], buffers[i]);
    done_.assign(plans_.size(), kNever);
    while (true) {
      bool all = true;
      for (size_t i = 0; i < plans_.size(); ++i) {
        if (!executors_[i]->progress()) return false;
        if (executors_[i]->finished() && done_[i] == kNever) done_[i] = network_.now();
        all = all && executors_[i]->finished();
      }
      if (all) return true;
      const TimeNs next = network_.next();
      if (next == kNever) return false;
      network_.advance_to(next);
    }
  }

  const collectives::Plan& plan(uint32_t rank) const { return plans_[rank]; }
  TimeNs done(uint32_t rank) const { return done_[rank]; }
  TimeNs now() const { return network_.now(); }
  collectives::Executor& executor(uint32_t rank) { return *executors_[rank]; }
  MemoryNetwork& network() { return network_; }

 private:
  void connect(uint32_t rank, const collectives::Lane& lane) {
    transport::Handle handle;
    const auto listener = network_.transport(rank).listen(handle);
    const auto sender = network_.transport(lane.peer).connect(handle);
    executors_[lane.peer]->add_send_lane({rank, lane.channel}, *sender);
    executors_[rank]->add_receive_lane(lane, *network_.transport(rank).accept(*listener));
  }

  MemoryNetwork network_;
  std::vector<collectives::Plan> plans_;
  std::vector<std::unique_ptr<collectives::Executor>> executors_;
  std::vector<TimeNs> done_;
};

}  // namespace farspan::test
