#include "emulator/sim/scheduler.h"

#include "emulator/base/check.h"

namespace farspan::sim {

Scheduler::Scheduler(size_t max_tasks, TimeNs start) : max_tasks_(max_tasks), now_(start) {
  heap_.reserve(max_tasks);
}

void Scheduler::set(Task& task, TimeNs at) {
  if (at == kNever) return cancel(task);
  FARSPAN_CHECK(at >= now_);
  const Entry entry{at, next_sequence_++, &task};
  if (task.heap_index_ == Task::kIdle) {
    FARSPAN_CHECK(heap_.size() < max_tasks_);
    heap_.push_back(entry);
    return sift_up(heap_.size() - 1, entry);
  }
  // Its sequence has grown, so at an equal time it moves back.
  if (Before(entry, heap_[task.heap_index_])) {
    sift_up(task.heap_index_, entry);
  } else {
    sift_down(task.heap_index_, entry);
  }
}

void Scheduler::cancel(Task& task) {
  if (task.heap_index_ != Task::kIdle) remove(task.heap_index_);
}

bool Scheduler::step() {
  if (heap_.empty()) return false;
  const Entry first = heap_.front();
  remove(0);
  now_ = first.at;
  first.task->run(now_);
  return true;
}

void Scheduler::run_until(TimeNs horizon) {
  FARSPAN_CHECK(horizon >= now_);
  while (next() <= horizon && step()) {
  }
  now_ = horizon;
}

void Scheduler::place(size_t index, const Entry& entry) {
  heap_[index] = entry;
  entry.task->heap_index_ = index;
}

void Scheduler::sift_up(size_t index, const Entry& entry) {
  while (index > 0) {
    const size_t parent = (index - 1) / 2;
    if (!Before(entry, heap_[parent])) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, entry);
}

void Scheduler::sift_down(size_t index, const Entry& entry) {
  for (;;) {
    size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && Before(heap_[child + 1], heap_[child])) ++child;
    if (!Before(heap_[child], entry)) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, entry);
}

void Scheduler::remove(size_t index) {
  heap_[index].task->heap_index_ = Task::kIdle;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (index == heap_.size()) return;
  if (index > 0 && Before(last, heap_[(index - 1) / 2])) {
    sift_up(index, last);
  } else {
    sift_down(index, last);
  }
}

}  // namespace farspan::sim
