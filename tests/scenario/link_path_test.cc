// Distance, rate and loss of a link against closed forms. Every claim is two-sided, and a twin with
// one number off by the smallest step must miss it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "emulator/base/int128.h"
#include "emulator/link/link.h"
#include "emulator/sim/traffic.h"
#include "tests/support/link_support.h"

namespace farspan::test {
namespace {

using link::Cause;
using link::DirectionSpec;
using link::PacketRef;
using namespace farspan::literals;

// --- What comes next -------------------------------------------------------------------------

// 1,000 packets fill several blocks of the fiber's queue.
TEST(Upcoming, NamesWhatIsReleasedNext) {
  auto link = link::Link::Create(Plain({}, 1_ms), {}, {}, 0_ns);
  ASSERT_TRUE(link.has_value());
  const std::vector<PacketRef> packets = Train(1'000, 84, 0_ns, 10_ns);
  ASSERT_EQ((*link)->offer(0_ns, packets), packets.size());
  std::vector<PacketRef> out(7);
  uint64_t next = 0;
  for (TimeNs now{1'000'000}; next < 1'000; now += 50_ns) {
    std::vector<uint64_t> handles(40);
    const size_t known = (*link)->upcoming(30, handles);
    ASSERT_EQ(known, next + 30 >= 1'000 ? 0 : std::min<uint64_t>(40, 1'000 - 30 - next));
    for (size_t i = 0; i < known; ++i) ASSERT_EQ(handles[i], next + 30 + i);
    next += (*link)->release(now, out);
  }
}

// --- Delay -----------------------------------------------------------------------------------

struct DelayCase {
  const char* name;
  link::PathSpec path;
  TimeNs one_way;
};

// length x index / 299792458, rounded half up, by hand with exact fractions.
const DelayCase kDelays[] = {
    {"none", {}, 0_ns},
    {"fixed", {.delay = 2'500'000_ns}, 2'500'000_ns},
    {"1 km", {.length = 1_km}, 4'897_ns},
    {"1000 km", {.length = 1000_km}, 4'897'388_ns},
    {"Chicago-New Jersey", {.length = 1328_km}, 6'503'731_ns},
    {"12,000 km", {.length = 12'000_km}, 58'768'657_ns},
    {"ultra-low loss", {.length = 80_km, .group_index = 1.4620}, 390'137_ns},
    {"hollow core", {.length = 350_km, .group_index = 1.003}, 1'170'977_ns},
    {"12 amplifiers", {.length = 1000_km, .amplifier_spacing = 80_km}, 4'898'888_ns},
    {"2 regenerators and FEC",
     {.length = 1000_km, .regenerators = 2, .fec_delay = 30'000_ns},
     5'127'388_ns},
};

class Delay : public ::testing::TestWithParam<DelayCase> {};

TEST_P(Delay, IsExactToTheNanosecond) {
  for (const int64_t start : {int64_t{0}, int64_t{1}, int64_t{1} << 62}) {
    sim::LinkRun run;
    run.spec.lanes[0].path = GetParam().path;
    run.start = TimeNs{start};
    run.traffic = Train(100, 1538, TimeNs{start}, 7_ns);
    const auto out = Forwarded(MustRun(run));
    ASSERT_EQ(out.size(), 100u);
    for (size_t i = 0; i < out.size(); ++i) {
      ASSERT_EQ(out[i].handle, i);
      ASSERT_EQ(out[i].due - run.traffic[i].due, GetParam().one_way) << start;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, Delay, ::testing::ValuesIn(kDelays),
                         [](const auto& info) { return "case" + std::to_string(info.index); });

TEST(DelayTwin, OneNanosecondOrOneMetreMoreIsSeen) {
  const auto first = [](const DirectionSpec& spec) {
    return Forwarded(MustRun(spec, Train(1, 84, 0_ns, 0_ns)))[0].due;
  };
  EXPECT_EQ(first(Plain({}, 5'000'000_ns)), 5'000'000_ns);
  EXPECT_NE(first(Plain({}, 5'000'001_ns)), 5'000'000_ns);
  EXPECT_NE(first(Glass({}, 1000_km)), first(Glass({}, Length{1'000'001'000})));
}

// --- Rate ------------------------------------------------------------------------------------

// Packet n of a saturating train has left after exactly ceil(n x bytes x 8e9 / rate) ns.
::testing::AssertionResult RateIsExact(const DirectionSpec& spec, Rate rate, uint32_t wire_bytes,
                                       TimeNs delay) {
  constexpr uint64_t kPackets = 1'000'000;
  const auto out = Forwarded(MustRun(spec, Train(kPackets, wire_bytes, 0_ns, 0_ns)));
  if (out.size() != kPackets) return ::testing::AssertionFailure() << out.size() << " packets";
  for (uint64_t i = 0; i < kPackets; ++i) {
    const TimeNs expected = delay + sim::SpacingOf(i + 1, wire_bytes, rate);
    if (out[i].due != expected) {
      return ::testing::AssertionFailure()
             << "packet " << i << " at " << out[i].due.ns << ", expected " << expected.ns;
    }
  }
  return ::testing::AssertionSuccess();
}

TEST(RateOfTheBottleneck, IsExactOverAMillionPackets) {
  for (const Rate rate : {100_gbps, 400_gbps}) {
    for (const uint32_t bytes : {84u, 4096u}) {
      EXPECT_TRUE(RateIsExact(Plain(rate, 5_ms), rate, bytes, 5_ms)) << rate.bits_per_s;
    }
  }
  // 84 B at 400 Gb/s: 1.68 ns each, 1.68 ms together.
  EXPECT_EQ(sim::SpacingOf(1'000'000, 84, 400_gbps), 1'680'000_ns);
}

TEST(RateOfTheBottleneck, TwinsAreSeen) {
  DirectionSpec overhead = Plain(400_gbps, 5_ms);
  overhead.bottleneck.overhead_bytes = 1;
  EXPECT_FALSE(RateIsExact(overhead, 400_gbps, 84, 5_ms));
  EXPECT_FALSE(RateIsExact(Plain(400_gbps, TimeNs{5'000'001}), 400_gbps, 84, 5_ms));
  const Rate one_ppm_slower{400'000'000'000 - 400'000};
  EXPECT_FALSE(RateIsExact(Plain(one_ppm_slower, 5_ms), 400_gbps, 84, 5_ms));
}

TEST(RateOfTheBottleneck, CountsOverheadAndSmallestUnit) {
  const auto spacing = [](int32_t overhead, uint32_t mpu, uint32_t wire_bytes) {
    DirectionSpec spec = Plain(8_gbps, 0_ns);  // 1 ns per octet
    spec.bottleneck.overhead_bytes = overhead;
    spec.bottleneck.mpu_bytes = mpu;
    const auto out = Forwarded(MustRun(spec, Train(3, wire_bytes, 0_ns, 0_ns)));
    return (out[2].due - out[1].due).ns;
  };
  EXPECT_EQ(spacing(0, 0, 84), 84);
  EXPECT_EQ(spacing(24, 0, 84), 108);
  EXPECT_EQ(spacing(-20, 0, 84), 64);
  EXPECT_EQ(spacing(-20, 80, 84), 80);
  EXPECT_EQ(spacing(24, 100, 84), 108);
}

TEST(RateOfTheBottleneck, FractionsDoNotSurviveAnIdlePort) {
  // 84 B at 400 Gb/s end at 1.68, reported 2; one that comes at 2 ends at 3.68, not at 3.36.
  const auto out = Forwarded(MustRun(Plain(400_gbps, 0_ns), Train(3, 84, 0_ns, 2_ns)));
  EXPECT_EQ(out[0].due, 2_ns);
  EXPECT_EQ(out[1].due, 4_ns);
  EXPECT_EQ(out[2].due, 6_ns);
}

// --- Loss ------------------------------------------------------------------------------------

// Every other packet is lost in the fiber: what is left keeps the bottleneck's spacing of two, and
// the lost ones come back when they would have arrived.
TEST(LossInTheFiber, HasUsedTheBottlenecksCapacity) {
  DirectionSpec spec = Plain(10_gbps, 1_ms);
  spec.lanes[0].loss.kind = link::LossKind::kMask;
  spec.lanes[0].loss.mask = {false, true};
  const sim::LinkTrace trace = MustRun(spec, Train(1'000, 1250, 0_ns, 0_ns));
  const auto out = Forwarded(trace);
  ASSERT_EQ(out.size(), 500u);
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i].due, 1_ms + TimeNs{static_cast<int64_t>(2 * i + 1) * 1'000});
  }
  EXPECT_EQ(Dropped(trace, Cause::kLoss), Range(1, 1'000, 2));
  for (const PacketRef& p : trace.released) {
    ASSERT_EQ(p.due, 1_ms + TimeNs{static_cast<int64_t>(p.handle + 1) * 1'000});
  }
}

// The twin: drops of the queue use no capacity, so what is left is back to back.
TEST(LossInTheFiber, UnlikeADropOfTheQueue) {
  DirectionSpec spec = Plain(10_gbps, 1_ms);
  spec.bottleneck.classes[0].limit = {.bytes = 499 * 1250};
  const sim::LinkTrace trace = MustRun(spec, Train(1'000, 1250, 0_ns, 0_ns));
  const auto out = Forwarded(trace);
  ASSERT_EQ(out.size(), 500u);
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i].due, 1_ms + TimeNs{static_cast<int64_t>(i + 1) * 1'000});
  }
  EXPECT_EQ(Dropped(trace, Cause::kTailDrop), Range(500, 1'000));
}

// --- The same channel for every contender ----------------------------------------------------

struct Contender {
  std::vector<PacketRef> sent;
  std::vector<bool> lost;
};

Contender Contend(link::Keying keying, uint32_t wire_bytes, uint64_t count) {
  sim::LinkRun run;
  run.spec = Plain(10_gbps, 1_ms);
  run.spec.lanes[0].loss.kind = link::LossKind::kBernoulli;
  run.spec.lanes[0].loss.keying = keying;
  run.spec.lanes[0].loss.probability = 2e-3;
  run.identity.seed = 11;
  run.traffic = Train(count, wire_bytes, 0_ns, 0_ns);
  run.capacity.packets = count;
  Contender contender{run.traffic, std::vector<bool>(count)};
  for (const uint64_t handle : Dropped(MustRun(run), Cause::kLoss)) contender.lost[handle] = true;
  return contender;
}

// Two contenders fill the same port for the same 80 ms, with frames of 125 and of 4,000 octets
// (0.1 and 3.2 us). Every bad instant that the small frames locate to 0.1 us hits the large frame
// that is on the wire then, and no other large frame is hit: disagreements, both ways.
uint64_t Disagreements(link::Keying keying) {
  const Contender small = Contend(keying, 125, 800'000);
  const Contender large = Contend(keying, 4'000, 25'000);
  uint64_t disagreements = 0;
  for (size_t i = 0; i < large.sent.size(); ++i) {
    bool expected = false;
    for (size_t j = 32 * i; j < 32 * (i + 1); ++j) expected = expected || small.lost[j];
    disagreements += expected != large.lost[i] ? 1 : 0;
  }
  return disagreements;
}

TEST(Contenders, MeetTheSameBadInstants) {
  EXPECT_EQ(Disagreements(link::Keying::kWireTime), 0u);
  EXPECT_GT(Disagreements(link::Keying::kPacket), 100u);
}

// 2e-3 per reference frame of 1,538 octets (1.2304 us) is 1,625.5 bad instants per second and
// 130 in 80 ms; 3.3 standard deviations of a Poisson count.
TEST(Contenders, MeetAsManyAsWereAskedFor) {
  const Contender small = Contend(link::Keying::kWireTime, 125, 800'000);
  uint64_t lost = 0;
  for (const bool one : small.lost) lost += one ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(lost), 130.0, 3.3 * 11.4);
}

}  // namespace
}  // namespace farspan::test
