// Hierarchical all-reduce: each rank of a site looks after one shard, on the WAN too.
//
//   1  in the site     every rank sends shard l to local rank l, which adds them in rank order
//   2  between sites   rank l of each site exchanges shard l with the other sites' ranks l: two
//   sites
//                      swap their sums, more reduce-scatter and all-gather the shard's segments
//   3  in the site     what is final goes to the local ranks
//
// All three run as a pipeline, slot by slot.
#include "transports/collectives/schedules_internal.h"

namespace farspan::collectives {
namespace {

constexpr uint32_t kCollect = 0;   // channels: values of a shard to its local rank
constexpr uint32_t kExchange = 1;  // sums of sites
constexpr uint32_t kFinal = 2;     // final segments between sites
constexpr uint32_t kSpread = 3;    // + the segment's site: final segments in the site

class Hierarchical {
 public:
  explicit Hierarchical(const Task& task)
      : task_(task),
        sites_(task.ranks / task.ranks_per_site),
        site_(task.site(task.rank)),
        local_(task.rank % task.ranks_per_site),
        segments_(sites_ == 2 ? 1 : sites_) {}

  Plan plan() {
    for_each_neighbour([&](uint32_t local) { collect(local); });
    add_site();
    const uint16_t added = static_cast<uint16_t>(plan_.programs.size() - 1);
    add_sites(added);
    if (segments_ > 1) {
      for_each_other_site([&](uint32_t site) { take_final(site); });
    }
    for_each_neighbour([&](uint32_t local) {
      for (uint32_t segment = 0; segment < segments_; ++segment) spread_from(local, segment);
    });
    plan_.scratch_bytes = SlotsOf(own(), task_.slot_bytes) * task_.slot_bytes;
    plan_.codec = task_.codec;
    return std::move(plan_);
  }

 private:
  struct Piece {
    uint64_t at, bytes;
    uint32_t segment;
  };

  Range shard(uint32_t local) const {
    return Part({0, task_.bytes}, local, task_.ranks_per_site, task_.element_bytes);
  }
  Range segment(uint32_t local, uint32_t index) const {
    return Part(shard(local), index, segments_, task_.element_bytes);
  }
  uint32_t rank_of(uint32_t site, uint32_t local) const {
    return site * task_.ranks_per_site + local;
  }
  // Which segment of its shard this rank adds up: all of it where two sites swap.
  uint32_t own_segment() const { return segments_ == 1 ? 0 : site_; }
  Range own() const { return segment(local_, own_segment()); }
  Slice scratch(uint64_t at) const { return {Memory::kScratch, at - own().begin}; }
  bool coded() const { return task_.codec != nullptr; }

  template <typename Visitor>
  void for_each_neighbour(Visitor visit) const {
    for (uint32_t i = 1; i < task_.ranks_per_site; ++i) visit((local_ + i) % task_.ranks_per_site);
  }
  template <typename Visitor>
  void for_each_other_site(Visitor visit) const {
    for (uint32_t i = 1; i < sites_; ++i) visit((site_ + i) % sites_);
  }

  // The order in which a shard is worked on: slot by slot, the segments in turn.
  template <typename Visitor>
  void for_each_piece(uint32_t local, Visitor visit) const {
    const uint64_t longest = segment(local, 0).bytes();
    for (uint64_t offset = 0; offset < longest; offset += task_.slot_bytes) {
      for (uint32_t index = 0; index < segments_; ++index) {
        const Range range = segment(local, index);
        if (range.begin + offset >= range.end) continue;
        visit(
            Piece{range.begin + offset, std::min(task_.slot_bytes, range.bytes() - offset), index});
      }
    }
  }

  void collect(uint32_t local) {
    Program program;
    const uint16_t lane = plan_.send_lane(rank_of(site_, local), kCollect);
    for_each_piece(local, [&](const Piece& piece) {
      program.push_back({.sources = {kLocal},
                         .local = {Memory::kInput, piece.at},
                         .sends = {lane},
                         .bytes = piece.bytes});
    });
    plan_.programs.push_back(std::move(program));
  }

  // 1: this site's sum of its shard; to the site that needs it, own segment to scratch.
  void add_site() {
    Primitive sum;
    for (uint32_t local = 0; local < task_.ranks_per_site; ++local) {
      sum.sources.push_back(local == local_ ? kLocal
                                            : plan_.receive_lane(rank_of(site_, local), kCollect));
    }
    std::vector<std::vector<uint16_t>> needed(segments_);  // by the segment
    for_each_other_site([&](uint32_t site) {
      needed[segments_ == 1 ? 0 : site].push_back(
          plan_.send_lane(rank_of(site, local_), kExchange));
    });
    Program program;
    for_each_piece(local_, [&](const Piece& piece) {
      const bool own = piece.segment == own_segment();
      if (own) own_index_.push_back(program.size());
      sum.local = {Memory::kInput, piece.at};
      (coded() ? sum.coded_target : sum.target) = own ? scratch(piece.at) : Slice{};
      (coded() ? sum.coded_sends : sum.sends) = needed[piece.segment];
      sum.bytes = piece.bytes;
      program.push_back(sum);
    });
    plan_.programs.push_back(std::move(program));
  }

  // 2: the sites' sums of the own segment, site by site; final, so it goes everywhere.
  void add_sites(uint16_t added) {
    Primitive sum;
    for (uint32_t site = 0; site < sites_; ++site) {
      sum.sources.push_back(site == site_ ? kLocal
                                          : plan_.receive_lane(rank_of(site, local_), kExchange));
    }
    if (segments_ > 1) {
      for_each_other_site([&](uint32_t site) {
        const uint16_t lane = plan_.send_lane(rank_of(site, local_), kFinal);
        (coded() ? sum.coded_sends : sum.sends).push_back(lane);
      });
    }
    spread(sum, own_segment());
    sum.coded_sources = coded();
    sum.after_program = added;
    Program program;
    ForEachSlot(own(), task_.slot_bytes, [&](uint64_t at, uint64_t bytes) {
      sum.local = scratch(at);
      sum.target = {Memory::kOutput, at};
      sum.bytes = bytes;
      sum.after_index = static_cast<uint32_t>(own_index_[program.size()]);
      program.push_back(sum);
    });
    plan_.programs.push_back(std::move(program));
  }

  // 2: a segment that another site has added up.
  void take_final(uint32_t site) {
    Primitive take{.sources = {plan_.receive_lane(rank_of(site, local_), kFinal)}};
    take.coded_sources = coded();
    spread(take, site);
    append(take, segment(local_, site));
  }

  // 3, sending and receiving.
  void spread(Primitive& primitive, uint32_t index) {
    for_each_neighbour([&](uint32_t local) {
      primitive.sends.push_back(plan_.send_lane(rank_of(site_, local), kSpread + index));
    });
  }
  void spread_from(uint32_t local, uint32_t index) {
    append({.sources = {plan_.receive_lane(rank_of(site_, local), kSpread + index)}},
           segment(local, index));
  }

  // A program that does the same with every slot of a range of the output.
  void append(Primitive primitive, Range range) {
    Program program;
    ForEachSlot(range, task_.slot_bytes, [&](uint64_t at, uint64_t bytes) {
      primitive.target = {Memory::kOutput, at};
      primitive.bytes = bytes;
      program.push_back(primitive);
    });
    plan_.programs.push_back(std::move(program));
  }

  const Task& task_;
  uint32_t sites_;
  uint32_t site_;
  uint32_t local_;
  uint32_t segments_;              // of a shard: one per site, or 1 where two sites swap
  std::vector<size_t> own_index_;  // in add_site's program, of the own segment's slots
  Plan plan_;
};

}  // namespace

Plan PlanHierarchical(const Task& task) { return Hierarchical(task).plan(); }

}  // namespace farspan::collectives
