// Scheduler: virtual time for one simulation.
//
// An indexed binary heap of tasks ordered by (time, order of setting), so that a run is a pure
// function of its inputs. A task holds at most one deadline, which is all that a sans-IO machine
// has: setting it again moves it, and the heap never grows beyond the number of tasks. Nothing is
// allocated after construction.
//
// Threading: one thread. Ownership: tasks outlive the scheduler or cancel themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "emulator/base/time.h"

namespace farspan::sim {

class Scheduler;

class Task {
 public:
  virtual ~Task() = default;
  virtual void run(TimeNs now) = 0;

 private:
  friend class Scheduler;
  static constexpr size_t kIdle = ~size_t{0};
  size_t heap_index_ = kIdle;
};

class Scheduler {
 public:
  explicit Scheduler(size_t max_tasks, TimeNs start = {});

  TimeNs now() const { return now_; }
  bool empty() const { return heap_.empty(); }
  // Time of the earliest task, kNever when there is none.
  TimeNs next() const { return heap_.empty() ? kNever : heap_.front().at; }

  // Runs `task` at `at`, not before now(); kNever cancels.
  void set(Task& task, TimeNs at);
  void cancel(Task& task);

  // Runs the earliest task; false when there is none.
  bool step();
  // Runs everything up to and including `horizon`, which is now() afterwards.
  void run_until(TimeNs horizon);

 private:
  struct Entry {
    TimeNs at;
    uint64_t sequence;
    Task* task;
  };
  static bool Before(const Entry& a, const Entry& b) {
    return a.at != b.at ? a.at < b.at : a.sequence < b.sequence;
  }
  void place(size_t index, const Entry& entry);
  void sift_up(size_t index, const Entry& entry);
  void sift_down(size_t index, const Entry& entry);
  void remove(size_t index);

  std::vector<Entry> heap_;
  const size_t max_tasks_;
  uint64_t next_sequence_ = 0;
  TimeNs now_;
};

}  // namespace farspan::sim
