// Wire time as a function: the same bad instants for all traffic, at any time, in any order of
// asking; the edges of [start, end); epochs.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "emulator/link/loss.h"
#include "tests/support/loss_cases.h"
#include "tests/support/statistics.h"

namespace farspan::link {
namespace {

using namespace testing;            // NOLINT(google-build-using-namespace)
using namespace farspan::testing;   // NOLINT(google-build-using-namespace)
using namespace farspan::literals;  // NOLINT(google-build-using-namespace)

constexpr Keying kWire = Keying::kWireTime;
constexpr Rate kRate = 100_gbps;  // the reference frame takes 123.04 ns
constexpr uint32_t kWireBytes = 1538;
// A "packet" so large that its preamble and gap take no time: it meets every bit error.
constexpr uint32_t kAllFrame = 4'000'000'000;

std::vector<LossSpec> WireTimeSpecs() {
  return {Bernoulli(kWire, 0.02),
          Bernoulli(kWire, 0.7),
          GilbertElliott(kWire, 0.02, 0.3),
          GilbertElliott(kWire, 0.5, 0.001),
          GilbertElliott(kWire, 0.02, 0.3, 0.6, 0.01),
          Burst(kWire, 0.01, 5),
          BitError(kWire, 1e-5),
          Periodic(kWire, 4001, 77),
          Trace(kWire, {{0, 3}, {100, 200}, {200, 201}, {5000, 6000}, {400'000, 410'000}})};
}

struct Packet {
  int64_t start;
  int64_t end;
  bool lost;
};

std::vector<Packet> Send(LossModel& model, std::vector<Packet> packets, int64_t origin = 0,
                         uint32_t wire_bytes = kWireBytes) {
  for (Packet& p : packets) {
    p.lost = model.lost({origin + p.start}, {origin + p.end}, wire_bytes);
  }
  return packets;
}

std::vector<Packet> Tile(int64_t from, int64_t to, int64_t step) {
  std::vector<Packet> packets;
  for (int64_t t = from; t < to; t += step) packets.push_back({t, t + step, false});
  return packets;
}

std::vector<bool> Fates(const std::vector<Packet>& packets) {
  std::vector<bool> fates(packets.size());
  for (size_t i = 0; i < packets.size(); ++i) fates[i] = packets[i].lost;
  return fates;
}

// Random sizes, from nothing to 1.5 us, between them nothing, a little, or long idle times.
std::vector<Packet> RandomTraffic(int64_t from, int64_t to) {
  std::vector<Packet> packets;
  for (int64_t t = from; t < to;) {
    const int64_t size = *rc::gen::inRange<int64_t>(0, 1500);
    packets.push_back({t, t + size, false});
    t += size + *rc::gen::element<int64_t>(0, 0, 0, 1, 37, 1000, 30'000);
  }
  return packets;
}

// The bad nanoseconds of [from, to), by asking for each alone.
std::vector<int64_t> BadInstants(LossModel& model, int64_t from, int64_t to) {
  std::vector<int64_t> bad;
  for (const Packet& p : Send(model, Tile(from, to, 1), 0, kAllFrame)) {
    if (p.lost) bad.push_back(p.start);
  }
  return bad;
}

bool Any(const std::vector<int64_t>& instants, int64_t from, int64_t to) {
  const auto at = std::lower_bound(instants.begin(), instants.end(), from);
  return at != instants.end() && *at < to;
}

// One contender scans every nanosecond, the other sends what it likes: a packet of the second is
// lost if and only if the first saw a bad nanosecond in its time (for bit errors: in the frame's
// part of it, give or take the nanoseconds at the frame's edges).
RC_GTEST_PROP(WireTime, ContendersMeetTheSameInstants, ()) {
  const auto spec = *rc::gen::elementOf(WireTimeSpecs());
  const StreamKey key{*rc::gen::arbitrary<uint64_t>()};
  const int64_t from = *rc::gen::element<int64_t>(-100'000, 0, 1'000'000'000'000'000);
  const int64_t to = from + 100'000;
  LossModel scan(spec, key, 0, kRate);
  LossModel contender(spec, key, 0, kRate);
  const std::vector<int64_t> bad = BadInstants(scan, from - 1, to + 2000);
  for (const Packet& p : Send(contender, RandomTraffic(from, to))) {
    if (spec.kind != LossKind::kBitError) {
      RC_ASSERT(p.lost == Any(bad, p.start, p.end));
      continue;
    }
    const double byte_ns = static_cast<double>(p.end - p.start) / kWireBytes;
    const double first = static_cast<double>(p.start) + 8 * byte_ns;
    const double last = static_cast<double>(p.end) - 12 * byte_ns;
    if (p.lost) {
      RC_ASSERT(Any(bad, static_cast<int64_t>(first) - 1, static_cast<int64_t>(last) + 1));
    } else {
      RC_ASSERT(!Any(bad, static_cast<int64_t>(first) + 2, static_cast<int64_t>(last) - 1));
    }
  }
}

TEST(WireTime, AnotherKeyOrLaneOrRateHasOtherInstants) {
  for (const LossSpec& spec : WireTimeSpecs()) {
    if (spec.kind == LossKind::kTrace || spec.kind == LossKind::kPeriodic) continue;
    LossModel model(spec, {1}, 0, kRate);
    LossModel other_key(spec, {2}, 0, kRate);
    LossModel other_lane(spec, {1}, 1, kRate);
    const auto seen = BadInstants(model, 0, 100'000);
    EXPECT_NE(seen, BadInstants(other_key, 0, 100'000));
    EXPECT_NE(seen, BadInstants(other_lane, 0, 100'000));
  }
}

// An hour of silence (3 x 10^10 cells at these rates: visiting them would not end) leaves the model
// where one is that has just been made, and one that looked in every millisecond.
TEST(WireTime, IdlingCostsNothingAndChangesNothing) {
  constexpr int64_t kHour = 3'600'000'000'000;
  const auto before = Tile(0, 1'000'000, 123);
  const auto after = Tile(kHour, kHour + 1'000'000, 123);
  for (const LossSpec& spec : WireTimeSpecs()) {
    LossModel idle(spec, {3}, 0, kRate);
    LossModel fresh(spec, {3}, 0, kRate);
    LossModel busy(spec, {3}, 0, kRate);
    Send(idle, before);
    const auto seen = Fates(Send(idle, after));
    EXPECT_EQ(seen, Fates(Send(fresh, after)));
    Send(busy, before);
    constexpr int64_t kStep = kSanitized ? 50'000'000 : 1'000'000;
    for (int64_t t = 1'000'000; t < kHour; t += kStep) {
      busy.lost({t}, {t + 123}, kWireBytes);
    }
    EXPECT_EQ(seen, Fates(Send(busy, after)));
    // Random access: backwards, too.
    auto reversed = after;
    std::reverse(reversed.begin(), reversed.end());
    auto backwards = Fates(Send(fresh, reversed));
    std::reverse(backwards.begin(), backwards.end());
    EXPECT_EQ(seen, backwards);
  }
}

TEST(WireTime, RunsOnFromCenturyToCentury) {
  for (const LossSpec& spec : WireTimeSpecs()) {
    LossModel model(spec, {4}, 0, kRate);
    const int64_t late = int64_t{1} << 62;
    const auto seen = Fates(Send(model, Tile(late, late + 10'000'000, 123)));
    const bool any = std::find(seen.begin(), seen.end(), true) != seen.end();
    EXPECT_EQ(any, spec.kind != LossKind::kTrace);
  }
}

class Epoch : public ::testing::TestWithParam<Keying> {};

TEST_P(Epoch, RepeatsThePattern) {
  std::vector<LossSpec> specs = WireTimeSpecs();
  specs.push_back(Mask({true, false, false, true, false}));
  for (LossSpec spec : specs) {
    if (spec.kind == LossKind::kMask && GetParam() == kWire) continue;
    spec.keying = GetParam();
    ASSERT_TRUE(Validate(spec, kRate));
    LossModel model(spec, {5}, 2, kRate);
    const auto traffic = Tile(0, 2'000'000, 123);
    model.start_epoch({1'000'000'007});
    const auto first = Fates(Send(model, traffic, 1'000'000'007));
    EXPECT_NE(std::count(first.begin(), first.end(), true), 0);
    model.start_epoch({77'000'000'000});
    EXPECT_EQ(first, Fates(Send(model, traffic, 77'000'000'000)));
    model.start_epoch({12});  // wire time 0 is 12: the same traffic, shifted, meets something else
    const auto shifted = Fates(Send(model, traffic, 12 + 40 * 123));
    EXPECT_EQ(first == shifted, GetParam() == Keying::kPacket);
  }
}

INSTANTIATE_TEST_SUITE_P(, Epoch, ::testing::Values(Keying::kPacket, kWire), [](const auto& info) {
  return info.param == kWire ? "wireTime" : "packet";
});

// --- Edges -----------------------------------------------------------------------------------

bool LostAlone(const LossSpec& spec, int64_t start, int64_t end) {
  LossModel model(spec, {6}, 0, kRate);
  return model.lost({start}, {end}, kWireBytes);
}

struct Edge {
  int64_t start;
  int64_t end;
  bool lost;
};

TEST(Edges, OfAPeriodicInstant) {  // at 77, 4078, ...
  for (const auto& [start, end, lost] : std::vector<Edge>{{77, 78, true},
                                                          {77, 200, true},
                                                          {0, 78, true},
                                                          {0, 77, false},
                                                          {78, 4078, false},
                                                          {77, 77, false},
                                                          {4078, 4079, true},
                                                          {78, 4079, true},
                                                          {-3924, -3923, true},
                                                          {-3923, 77, false}}) {
    EXPECT_EQ(LostAlone(Periodic(kWire, 4001, 77), start, end), lost) << start << " " << end;
  }
}

TEST(Edges, OfAnIntervalOfATrace) {
  for (const auto& [start, end, lost] : std::vector<Edge>{{5, 10, false},
                                                          {5, 11, true},
                                                          {10, 11, true},
                                                          {12, 13, true},
                                                          {19, 25, true},
                                                          {20, 25, false},
                                                          {15, 15, false},
                                                          {0, 100, true},
                                                          {30, 40, true},
                                                          {20, 30, false},
                                                          {40, 1000, false},
                                                          {-10, 0, false}}) {
    EXPECT_EQ(LostAlone(Trace(kWire, {{10, 20}, {30, 40}}), start, end), lost)
        << start << " " << end;
  }
}

// Around every bad nanosecond of the random models: lost from its start, not at its end.
TEST(Edges, OfRandomInstants) {
  for (const LossSpec& spec : WireTimeSpecs()) {
    if (spec.kind == LossKind::kBitError) continue;  // byte by byte: see the contenders
    LossModel model(spec, {6}, 0, kRate);
    const auto bad = BadInstants(model, 0, 20'000);
    const std::set<int64_t> all(bad.begin(), bad.end());
    ASSERT_FALSE(bad.empty());
    for (const int64_t t : bad) {
      if (t < 100 || all.count(t - 1) != 0) continue;
      EXPECT_TRUE(LostAlone(spec, t, t + 1)) << t;
      EXPECT_TRUE(LostAlone(spec, t, t + 500)) << t;
      EXPECT_FALSE(LostAlone(spec, t - 1, t)) << t;
      EXPECT_TRUE(LostAlone(spec, t - 1, t + 1)) << t;
      EXPECT_FALSE(LostAlone(spec, t, t)) << t;
      EXPECT_EQ(LostAlone(spec, t + 1, t + 2), all.count(t + 1) != 0) << t;
    }
  }
}

// A burst is bad for burst_frames reference times, to the nanosecond that it ends in.
TEST(Edges, OfABurst) {
  LossModel model(Burst(kWire, 1e-4, 9), {7}, 0, kRate);
  const auto bad = BadInstants(model, 0, 5'000'000);
  int64_t begin = bad.front();
  int alone_seen = 0;
  for (size_t i = 1; i < bad.size(); ++i) {
    if (bad[i] == bad[i - 1] + 1) continue;
    const double length = static_cast<double>(bad[i - 1] + 1 - begin);
    const bool alone = length < 1.9 * 9 * 123.04 && begin > 0;
    alone_seen += alone;
    EXPECT_TRUE(!alone || std::abs(length - 9 * 123.04 - 0.5) < 1.5) << length << " at " << begin;
    begin = bad[i];
  }
  EXPECT_GT(alone_seen, 1);
}

}  // namespace
}  // namespace farspan::link
