// NCCL's ring (SIMPLE protocol): per channel one program, exactly as the kernels loop.
#include "transports/collectives/schedules_internal.h"

namespace farspan::collectives {
namespace {

class Ring {
 public:
  Ring(const Task& task, Plan& plan, uint32_t channel) : task_(task), plan_(plan) {
    next_ = plan.send_lane((task.rank + 1) % task.ranks, channel);
    previous_ = plan.receive_lane((task.rank + task.ranks - 1) % task.ranks, channel);
  }

  void all_reduce(Range share) {
    const uint32_t n = task_.ranks;
    for_each_loop(share, [&](Range loop) {
      emit(chunk(loop, task_.rank + n - 1), false, true, Memory::kInput, false);
      for (uint32_t step = 2; step < n; ++step) {
        emit(chunk(loop, task_.rank + n - step), true, true, Memory::kInput, false);
      }
      emit(chunk(loop, task_.rank), true, true, Memory::kInput, true);
      for (uint32_t step = 1; step < n - 1; ++step) {
        emit(chunk(loop, task_.rank + n - step), true, true, Memory::kNone, true);
      }
      emit(chunk(loop, task_.rank + 1), true, false, Memory::kNone, true);
    });
  }

  // Inputs and outputs of one rank are `part` long; rank r's stands at r * part of the whole.
  void all_gather(Range share, uint64_t part) {
    const uint32_t n = task_.ranks;
    for_each_loop({share.begin * n, share.end * n}, [&](Range loop) {
      const Range piece{loop.begin / n, loop.end / n};
      place(piece, part, task_.rank, false, true);
      for (uint32_t step = 1; step < n - 1; ++step) {
        place(piece, part, (task_.rank + n - step) % n, true, true);
      }
      place(piece, part, (task_.rank + 1) % n, true, false);
    });
  }

  void reduce_scatter(Range share, uint64_t part) {
    const uint32_t n = task_.ranks;
    for_each_loop({share.begin * n, share.end * n}, [&](Range loop) {
      const Range piece{loop.begin / n, loop.end / n};
      const auto of = [&](uint32_t rank) {
        return Range{piece.begin + (rank % n) * part, piece.end + (rank % n) * part};
      };
      emit(of(task_.rank + n - 1), false, true, Memory::kInput, false);
      for (uint32_t step = 2; step < n; ++step) {
        emit(of(task_.rank + n - step), true, true, Memory::kInput, false);
      }
      ForEachSlot(piece, task_.slot_bytes, [&](uint64_t at, uint64_t bytes) {
        Primitive last{.sources = {previous_, kLocal}, .bytes = bytes};
        last.local = {Memory::kInput, task_.rank * part + at};
        last.target = {Memory::kOutput, at};
        program_.push_back(last);
      });
    });
  }

  Program take() { return std::move(program_); }

 private:
  template <typename Body>
  void for_each_loop(Range share, Body body) {
    const uint64_t loop = task_.slot_bytes * task_.chunk_slots * task_.ranks;
    ForEachSlot(share, loop, [&](uint64_t at, uint64_t bytes) { body(Range{at, at + bytes}); });
  }

  Range chunk(Range loop, uint32_t index) const {
    return Part(loop, index % task_.ranks, task_.ranks, task_.element_bytes);
  }

  void emit(Range chunk, bool receive, bool send, Memory local, bool keep) {
    ForEachSlot(chunk, task_.slot_bytes, [&](uint64_t at, uint64_t bytes) {
      Primitive primitive{.bytes = bytes};
      if (receive) primitive.sources.push_back(previous_);
      if (local != Memory::kNone) primitive.sources.push_back(kLocal);
      primitive.local = {local, at};
      if (keep) primitive.target = {Memory::kOutput, at};
      if (send) primitive.sends.push_back(next_);
      program_.push_back(std::move(primitive));
    });
  }

  // All-gather's step: what `owner` contributed goes to its place, and on.
  void place(Range piece, uint64_t part, uint32_t owner, bool receive, bool send) {
    ForEachSlot(piece, task_.slot_bytes, [&](uint64_t at, uint64_t bytes) {
      Primitive primitive{.bytes = bytes};
      primitive.sources.push_back(receive ? previous_ : kLocal);
      primitive.local = {receive ? Memory::kNone : Memory::kInput, at};
      primitive.target = {Memory::kOutput, owner * part + at};
      if (send) primitive.sends.push_back(next_);
      program_.push_back(std::move(primitive));
    });
  }

  const Task& task_;
  Plan& plan_;
  Program program_;
  uint16_t next_ = 0;
  uint16_t previous_ = 0;
};

}  // namespace

Plan PlanRing(const Task& task) {
  Plan plan;
  const bool whole = task.collective == Collective::kAllReduce;
  const uint64_t bytes = whole ? task.bytes : task.bytes / task.ranks;
  for (uint32_t channel = 0; channel < task.channels; ++channel) {
    const Range share = Part({0, bytes}, channel, task.channels, task.element_bytes);
    Ring ring(task, plan, channel);
    if (task.collective == Collective::kAllReduce) ring.all_reduce(share);
    if (task.collective == Collective::kAllGather) ring.all_gather(share, bytes);
    if (task.collective == Collective::kReduceScatter) ring.reduce_scatter(share, bytes);
    plan.programs.push_back(ring.take());
  }
  return plan;
}

}  // namespace farspan::collectives
