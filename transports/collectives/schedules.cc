#include "transports/collectives/schedules.h"

#include <array>
#include <string>
#include <utility>

#include "transports/collectives/schedules_internal.h"

namespace farspan::collectives {
namespace {

bool RingHas(Collective collective) {
  return collective == Collective::kAllReduce || collective == Collective::kAllGather ||
         collective == Collective::kReduceScatter;
}

Result<void> CheckCoded(const Task& task) {
  const auto wrong = [](std::string message) { return Fail(ErrorCode::kInvalid, message); };
  if (task.collective != Collective::kAllReduce) {
    return wrong("only all_reduce can be compressed");
  }
  if (task.schedule == Schedule::kRing) {
    return wrong("a compressed ring would cut off more at every hop: take direct or hierarchical");
  }
  if (task.schedule == Schedule::kDirect && task.ranks_per_site != 1) {
    return wrong("a compressed direct exchange needs a site for every rank: take hierarchical");
  }
  constexpr uint64_t kAlignment = 64;
  if (task.slot_bytes % kAlignment != 0 ||
      task.codec->coded_bytes(task.slot_bytes) > task.slot_bytes) {
    return wrong("to be compressed, a slot must be a multiple of 64 bytes");
  }
  return {};
}

Result<void> Check(const Task& task) {
  const auto wrong = [](std::string message) { return Fail(ErrorCode::kInvalid, message); };
  if (task.ranks < 2 || task.rank >= task.ranks) {
    return wrong("a collective needs at least 2 ranks, and each rank below their number");
  }
  if (task.element_bytes == 0 || task.bytes % task.element_bytes != 0 ||
      task.slot_bytes % task.element_bytes != 0 || task.slot_bytes == 0) {
    return wrong("the size and the slot must be whole elements");
  }
  const bool whole =
      task.collective == Collective::kAllReduce || task.collective == Collective::kSendRecv;
  if (!whole && task.bytes % (task.ranks * task.element_bytes) != 0) {
    return wrong(std::string(ToText(task.collective)) +
                 ": the size must divide into whole elements for each of " +
                 std::to_string(task.ranks) + " ranks");
  }
  if (task.schedule == Schedule::kRing && !RingHas(task.collective)) {
    return wrong("there is no ring of " + std::string(ToText(task.collective)) + ": take direct");
  }
  if (task.codec != nullptr) {
    if (auto good = CheckCoded(task); !good) return good;
  }
  if (task.channels == 0 || task.chunk_slots == 0) {
    return wrong("a ring needs at least 1 channel, and chunks of at least 1 slot");
  }
  if (task.schedule != Schedule::kHierarchical) {
    const bool even = task.ranks_per_site != 0 && task.ranks % task.ranks_per_site == 0;
    return even ? Result<void>{} : wrong("the ranks must make sites of equally many");
  }
  if (task.collective != Collective::kAllReduce) {
    return wrong("hierarchical is for all_reduce: take direct");
  }
  if (task.ranks_per_site == 0 || task.ranks % task.ranks_per_site != 0 ||
      task.ranks == task.ranks_per_site) {
    return wrong("hierarchical needs at least two sites of equally many ranks");
  }
  return {};
}

}  // namespace

Schedule DefaultSchedule(Collective collective) {
  return RingHas(collective) ? Schedule::kRing : Schedule::kDirect;
}

uint64_t Task::input_bytes() const {
  return collective == Collective::kAllGather ? bytes / ranks : bytes;
}

uint64_t Task::output_bytes() const {
  return collective == Collective::kReduceScatter ? bytes / ranks : bytes;
}

Result<Plan> MakePlan(const Task& task) {
  if (auto good = Check(task); !good) return tl::unexpected(good.error());
  switch (task.schedule) {
    case Schedule::kRing:
      return PlanRing(task);
    case Schedule::kDirect:
      return PlanDirect(task);
    case Schedule::kHierarchical:
      break;
  }
  return PlanHierarchical(task);
}

double BusFactor(Collective collective, uint32_t ranks) {
  const double n = ranks;
  switch (collective) {
    case Collective::kAllReduce:
      return 2 * (n - 1) / n;
    case Collective::kSendRecv:
      return 1;
    default:
      return (n - 1) / n;
  }
}

}  // namespace farspan::collectives
