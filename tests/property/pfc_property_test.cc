// PFC on random links and senders: with the computed headroom nothing is lost.
//
// A failure names its seed; FARSPAN_SEED=n runs that case alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <string>

#include "emulator/base/int128.h"
#include "tests/support/link_support.h"
#include "tests/support/pfc_run.h"
#include "tests/support/random_case.h"

namespace farspan::test {
namespace {

PfcRun RandomRun(uint64_t seed) {
  Dice dice(seed);
  PfcRun run;
  run.seed = seed;
  const Rate line{static_cast<uint64_t>(dice.log_between(1e9, 8e11))};
  const auto frame_time = static_cast<int64_t>(9'038 * 8e9 / static_cast<double>(line.bits_per_s));
  run.worst = {.line_rate = line,
               .max_frame_bytes = static_cast<uint32_t>(dice.log_between(84, 9'039)),
               .cable = {static_cast<int64_t>(dice.log_between(1e3, 1e7))},
               .reaction = {static_cast<int64_t>(dice.below(2'000) + 1)},
               .poll_gap = {static_cast<int64_t>(dice.log_between(1, 20) * 1'000)}};
  const Rate rate{
      static_cast<uint64_t>(static_cast<double>(line.bits_per_s) * dice.log_between(0.01, 0.8))};
  run.spec = Plain(rate, TimeNs{static_cast<int64_t>(dice.below(1'000'000))});
  run.spec.lanes.resize(1 + dice.below(3), run.spec.lanes[0]);
  run.spec.bottleneck.classes.clear();
  const uint64_t classes = 1 + dice.below(3);
  for (uint64_t c = 0; c < classes; ++c) {
    link::ClassSpec spec;
    spec.name = std::to_string(c);
    spec.priority = static_cast<uint32_t>(dice.below(2));
    spec.weight = 1 + static_cast<uint32_t>(dice.below(4));
    link::PfcSpec pfc = run.worst;
    pfc.priority = static_cast<uint8_t>(7 - c);
    pfc.xoff_bytes = 1 + static_cast<uint64_t>(dice.log_between(1, 100) * pfc.max_frame_bytes);
    pfc.xon_bytes = dice.below(pfc.xoff_bytes);
    // As the configuration demands: half of it is longer than a refresh may take.
    const int64_t least = 2 * (pfc.poll_gap.ns + frame_time + pfc.reaction.ns) + 1'000;
    const auto quanta = static_cast<uint64_t>(static_cast<double>(least) *
                                              static_cast<double>(line.bits_per_s) / 512e9) +
                        2;
    pfc.quanta = static_cast<uint16_t>(std::min<uint64_t>(quanta, 65'535));
    spec.limit = {.bytes = pfc.xoff_bytes + link::PfcHeadroom(pfc)};
    spec.pfc = pfc;
    run.spec.bottleneck.classes.push_back(spec);
    PfcFlow flow{.traffic_class = static_cast<uint8_t>(c), .priority = pfc.priority, .frames = {}};
    for (uint64_t i = 0; i < 800; ++i) {
      const auto bytes = static_cast<uint32_t>(dice.log_between(84, pfc.max_frame_bytes + 1));
      flow.frames.push_back(std::min(bytes, pfc.max_frame_bytes));
    }
    run.flows.push_back(std::move(flow));
  }
  return run;
}

// The bytes that lanes of that rate carry in [from, to].
bool FasterThanRate(const PfcRun& run, const std::vector<link::PacketRef>& packets) {
  const Rate rate = run.spec.lanes[0].rate;
  for (size_t window : {size_t{5}, size_t{50}, packets.size() - 1}) {
    for (size_t i = 0; i + window < packets.size(); ++i) {
      Uint128 bits = 0;
      for (size_t k = i + 1; k <= i + window; ++k) bits += packets[k].wire_bytes * 8u;
      const Uint128 time = static_cast<uint64_t>((packets[i + window].due - packets[i].due).ns) + 1;
      if (bits * 1'000'000'000u > time * rate.bits_per_s) return true;
    }
  }
  return false;
}

TEST(PfcProperty, WithHeadroomNothingIsLostAndTheRateIsKept) {
  uint64_t cases = 150;
  uint64_t first = 1;
  if (const char* seed = std::getenv("FARSPAN_SEED")) {
    first = std::strtoull(seed, nullptr, 10);
    cases = 1;
  }
  uint64_t pauses = 0;
  uint64_t losses_without = 0;
  for (uint64_t seed = first; seed < first + cases; ++seed) {
    const std::string where = "FARSPAN_SEED=" + std::to_string(seed);
    PfcRun run = RandomRun(seed);
    const PfcOutcome outcome = RunPfc(run);
    const link::DirectionCounters& c = outcome.counters;
    ASSERT_EQ(c.dropped_total(), 0u) << where;
    ASSERT_EQ(c.offered_packets, 800 * run.flows.size()) << where;
    ASSERT_EQ(c.forwarded_packets, c.offered_packets) << where;
    ASSERT_EQ(c.held_packets, 0u) << where;
    ASSERT_EQ(std::accumulate(outcome.expired.begin(), outcome.expired.end(), uint64_t{0}), 0u)
        << where;
    if (run.spec.lanes.size() == 1) {
      ASSERT_FALSE(FasterThanRate(run, outcome.released)) << where;
    }
    pauses += outcome.events.size() / 2;
    // The twin: the same senders, and no room above xoff.
    for (link::ClassSpec& spec : run.spec.bottleneck.classes) {
      spec.limit.bytes = spec.pfc->xoff_bytes;
    }
    losses_without += RunPfc(run).counters.dropped_total() != 0 ? 1 : 0;
  }
  if (cases > 1) {
    EXPECT_GT(pauses, 10 * cases);
    EXPECT_GT(losses_without, cases * 9 / 10);
  }
}

}  // namespace
}  // namespace farspan::test
