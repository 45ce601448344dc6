// Schedules: which plan each collective becomes.
//
//   ring          NCCL's ring (src/device/{all_reduce,all_gather,reduce_scatter}.h): each rank
//                 passes chunks to the next one; 2(n-1) steps for an all-reduce
//   direct        every rank exchanges with every other: reduce-scatter and all-gather, two one-way
//                 delays; two ranks simply swap their values, one one-way delay
//   hierarchical  reduce-scatter inside each site, direct exchange of each shard between the sites,
//                 all-gather inside: 2(D-1)/D x size per site crosses the WAN
//
// Sizes follow nccl-tests: `bytes` is the total for all-gather, reduce-scatter and all-to-all (each
// rank contributes or gets bytes / ranks), the length of every rank's buffer for all-reduce and
// send/recv. Elements must not be cut: `bytes` and the slot are multiples of `element_bytes`.
// Order of summation: direct and hierarchical add in rank order (inside the site, then site by
// site), every rank to the same bits; the ring adds along the ring, rounded to the element type at
// every hop, and one rank's result is copied to all.
//
// With a codec what goes between sites is coded, nothing else: the contributions of a direct
// exchange of which every rank is a site, the sums of sites of a hierarchical one, and with more
// than two sites the final segments too. A ring would cut off more at every hop; it has none.
#pragma once

#include <cstdint>
#include <string_view>

#include "emulator/base/result.h"
#include "emulator/base/words.h"
#include "transports/collectives/plan.h"

namespace farspan::collectives {

enum class Collective : uint8_t { kAllReduce, kAllGather, kReduceScatter, kAllToAll, kSendRecv };
enum class Schedule : uint8_t { kRing, kDirect, kHierarchical };

inline constexpr Word<Collective> kCollectives[] = {{"all_reduce", Collective::kAllReduce},
                                                    {"all_gather", Collective::kAllGather},
                                                    {"reduce_scatter", Collective::kReduceScatter},
                                                    {"alltoall", Collective::kAllToAll},
                                                    {"sendrecv", Collective::kSendRecv}};
inline constexpr Word<Schedule> kSchedules[] = {{"ring", Schedule::kRing},
                                                {"direct", Schedule::kDirect},
                                                {"hierarchical", Schedule::kHierarchical}};
inline std::string_view ToText(Collective collective) { return WordOf(kCollectives, collective); }
inline std::string_view ToText(Schedule schedule) { return WordOf(kSchedules, schedule); }

Schedule DefaultSchedule(Collective collective);  // ring where there is one, else direct

struct Task {
  Collective collective = Collective::kAllReduce;
  Schedule schedule = Schedule::kRing;
  uint32_t rank = 0;
  uint32_t ranks = 2;
  uint32_t ranks_per_site = 1;  // ranks of one site are neighbours; divides `ranks`
  uint64_t bytes = 0;
  uint64_t element_bytes = 4;
  uint64_t slot_bytes = 512 * 1024;  // of a message at most
  // Ring only: parallel rings, each with a share of the data (NCCL's channels), and how many slots
  // make a chunk, the piece that must arrive whole before the next step begins (NCCL: 4 of its 8).
  uint32_t channels = 1;
  uint32_t chunk_slots = 4;
  Codec* codec = nullptr;  // all-reduce between sites: direct and hierarchical

  uint64_t input_bytes() const;  // of this rank's buffers
  uint64_t output_bytes() const;
  uint32_t site(uint32_t of_rank) const { return of_rank / ranks_per_site; }
};

// An impossible task (a ring of send/recv, sizes that cut elements) is an error.
Result<Plan> MakePlan(const Task& task);

// What nccl-tests calls busbw is algbw times this (doc/PERFORMANCE.md there).
double BusFactor(Collective collective, uint32_t ranks);

}  // namespace farspan::collectives
