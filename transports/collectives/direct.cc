// Direct exchange: every rank with every other, each pair in programs of its own.
#include "transports/collectives/schedules_internal.h"

namespace farspan::collectives {
namespace {

constexpr uint32_t kScatter = 0;  // channels
constexpr uint32_t kGather = 1;

class Direct {
 public:
  explicit Direct(const Task& task) : task_(task) { plan_.codec = task.codec; }

  Plan swap() {
    const uint16_t sent = scatter(1 - task_.rank, {0, task_.bytes}, true);
    add_up({0, task_.bytes}, 0, {}, sent);  // in place, the input must have gone first
    return std::move(plan_);
  }

  Plan all_reduce() {
    for_each_peer([&](uint32_t peer) { scatter(peer, segment(peer)); });
    std::vector<uint16_t> all;
    for_each_peer([&](uint32_t peer) { all.push_back(plan_.send_lane(peer, kGather)); });
    const Range own = segment(task_.rank);
    add_up(own, own.begin, all, coded() ? code_own(own) : kLocal);
    for_each_peer([&](uint32_t peer) { gather(peer, segment(peer), kGather); });
    return std::move(plan_);
  }

  Plan reduce_scatter() {
    for_each_peer([&](uint32_t peer) { scatter(peer, segment(peer)); });
    add_up(segment(task_.rank), 0, {});
    return std::move(plan_);
  }

  Plan all_gather() {
    const Range contribution{0, task_.bytes / task_.ranks};
    for_each_peer([&](uint32_t peer) {
      scatter(peer, contribution);
      gather(peer, segment(peer), kScatter);
    });
    copy(contribution, segment(task_.rank).begin);
    return std::move(plan_);
  }

  Plan all_to_all() {
    for_each_peer([&](uint32_t peer) {
      const uint16_t sent = scatter(peer, segment(peer));
      gather(peer, segment(peer), kScatter, sent);
    });
    copy(segment(task_.rank), segment(task_.rank).begin);
    return std::move(plan_);
  }

  Plan send_receive() {
    const uint16_t sent = scatter((task_.rank + 1) % task_.ranks, {0, task_.bytes});
    gather((task_.rank + task_.ranks - 1) % task_.ranks, {0, task_.bytes}, kScatter, sent);
    return std::move(plan_);
  }

 private:
  Range segment(uint32_t rank) const {
    return Part({0, task_.bytes}, rank, task_.ranks, task_.element_bytes);
  }

  // Peers from the next rank on, so that not all begin with the same one.
  template <typename Visitor>
  void for_each_peer(Visitor visit) const {
    for (uint32_t i = 1; i < task_.ranks; ++i) visit((task_.rank + i) % task_.ranks);
  }

  bool coded() const { return task_.codec != nullptr; }

  // The index of the program that sends a range of the input; its code is kept if asked for.
  uint16_t scatter(uint32_t peer, Range range, bool keep = false) {
    const uint16_t lane = plan_.send_lane(peer, kScatter);
    return contribute(range, [&](Primitive& primitive, uint64_t at) {
      (coded() ? primitive.coded_sends : primitive.sends) = {lane};
      if (coded() && keep) primitive.coded_target = {Memory::kScratch, at - range.begin};
    });
  }
  // The index of the program that keeps the code of what this rank adds up itself.
  uint16_t code_own(Range range) {
    return contribute(range, [&](Primitive& primitive, uint64_t at) {
      primitive.coded_target = {Memory::kScratch, at - range.begin};
    });
  }

  template <typename Finish>
  uint16_t contribute(Range range, Finish finish) {
    Program program;
    ForEachSlot(range, task_.slot_bytes, [&](uint64_t at, uint64_t bytes) {
      program.push_back({.sources = {kLocal}, .local = {Memory::kInput, at}, .bytes = bytes});
      finish(program.back(), at);
    });
    plan_.programs.push_back(std::move(program));
    return static_cast<uint16_t>(plan_.programs.size() - 1);
  }

  void gather(uint32_t peer, Range range, uint32_t channel, uint16_t after = kLocal) {
    Program program;
    const uint16_t lane = plan_.receive_lane(peer, channel);
    ForEachSlot(range, task_.slot_bytes, [&](uint64_t at, uint64_t bytes) {
      Primitive primitive{.sources = {lane}, .target = {Memory::kOutput, at}, .bytes = bytes};
      primitive.coded_sources = coded();
      if (after != kLocal) wait_for(primitive, after, program.size());
      program.push_back(std::move(primitive));
    });
    plan_.programs.push_back(std::move(program));
  }

  void copy(Range from, uint64_t to) {
    Program program;
    ForEachSlot(from, task_.slot_bytes, [&](uint64_t at, uint64_t bytes) {
      program.push_back({.sources = {kLocal},
                         .local = {Memory::kInput, at},
                         .target = {Memory::kOutput, to + at - from.begin},
                         .bytes = bytes});
    });
    plan_.programs.push_back(std::move(program));
  }

  // All ranks' values of a range, in rank order.
  void add_up(Range range, uint64_t to, const std::vector<uint16_t>& sends,
              uint16_t after = kLocal) {
    Primitive sum;
    for (uint32_t rank = 0; rank < task_.ranks; ++rank) {
      sum.sources.push_back(rank == task_.rank ? kLocal : plan_.receive_lane(rank, kScatter));
    }
    (coded() ? sum.coded_sends : sum.sends) = sends;
    sum.coded_sources = coded();
    if (coded()) plan_.scratch_bytes = SlotsOf(range, task_.slot_bytes) * task_.slot_bytes;
    Program program;
    ForEachSlot(range, task_.slot_bytes, [&](uint64_t at, uint64_t bytes) {
      sum.local = coded() ? Slice{Memory::kScratch, at - range.begin} : Slice{Memory::kInput, at};
      sum.target = {Memory::kOutput, to + at - range.begin};
      sum.bytes = bytes;
      if (after != kLocal) wait_for(sum, after, program.size());
      program.push_back(sum);
    });
    plan_.programs.push_back(std::move(program));
  }

  static void wait_for(Primitive& primitive, uint16_t program, size_t index) {
    primitive.after_program = program;
    primitive.after_index = static_cast<uint32_t>(index);
  }

  const Task& task_;
  Plan plan_;
};

}  // namespace

Plan PlanDirect(const Task& task) {
  Direct direct(task);
  switch (task.collective) {
    case Collective::kAllReduce:
      return task.ranks == 2 ? direct.swap() : direct.all_reduce();
    case Collective::kAllGather:
      return direct.all_gather();
    case Collective::kReduceScatter:
      return direct.reduce_scatter();
    case Collective::kAllToAll:
      return direct.all_to_all();
    case Collective::kSendRecv:
      break;
  }
  return direct.send_receive();
}

}  // namespace farspan::collectives
