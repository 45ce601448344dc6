// NCCL's two limits on a long link, seen in the collectives over the baselines' models: credits
// (BUFFSIZE / RTT per channel) and the ring's own dependence. The closed forms are nccl_window.h's.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/link_support.h"
#include "transports/nccl_window.h"
#include "transports/testbed/bench.h"
#include "transports/testbed/endpoints.h"
#include "transports/testbed/presets.h"
#include "transports/testbed/sim_group.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using collectives::Collective;
using collectives::Schedule;
using testbed::EndpointSpec;
using testbed::NcclPreset;

constexpr TimeNs kRtt = 25_ms;

struct Case {
  std::string transport;
  Collective collective = Collective::kSendRecv;
  uint32_t ranks = 2;
  NcclPreset nccl{};
  uint64_t bytes = 64u << 20;
  Rate rate = 100_gbps;
};

// Bits of bus bandwidth per second: what a rank's busiest lane carries.
double BusRate(const Case& c) {
  testbed::BenchOptions options;
  options.shape.collective = c.collective;
  options.shape.schedule = DefaultSchedule(c.collective);
  options.shape.ranks = c.ranks;
  options.shape.ranks_per_site = c.ranks / 2;
  options.shape.channels = c.nccl.channels;
  options.shape.slot_bytes = c.nccl.buffsize / options.slots;
  options.min_bytes = options.max_bytes = c.bytes;
  options.iterations = options.warm_up = 1;
  options.lengths_only = true;
  EndpointSpec spec;
  spec.transport = c.transport;
  spec.congestion = "fixed";
  spec.rate = c.rate;
  spec.payload_bytes = 8'948;  // jumbo frames: the limits do not depend on it
  spec.lengths_only = true;
  spec.rc = c.nccl.rc;
  spec.tcp = c.nccl.tcp;
  testbed::SimTopology topology;
  topology.ranks = c.ranks;
  topology.ranks_per_site = c.ranks / 2;
  topology.wan = Plain(c.rate, TimeNs{kRtt.ns / 2});
  topology.site = Plain({}, 5_us);
  topology.wan_capacity.packets = 600'000;
  topology.granularity = 2_us;
  auto group = testbed::SimGroup::Create(
      topology, [&](uint32_t rank) { return testbed::MakeEndpoint(spec, rank); },
      testbed::PropertiesOf(spec));
  EXPECT_TRUE(group) << group.error().text();
  const auto rows = testbed::RunBench(**group, options, [](const testbed::BenchRow&) {});
  EXPECT_TRUE(rows) << rows.error().text();
  return 8 * static_cast<double>(rows->back().bytes) / rows->back().out_of_place.time_s *
         collectives::BusFactor(c.collective, c.ranks);
}

NcclPreset OneChannel() {
  NcclPreset nccl;
  nccl.channels = 1;
  nccl.rc.adaptive = false;
  nccl.tcp.send_buffer_bytes = nccl.tcp.receive_buffer_bytes = 64u << 20;
  return nccl;
}

nccl::Answer Law(const Case& c) {
  return nccl::Ask({kRtt, c.rate, c.nccl.channels, c.nccl.buffsize, c.ranks});
}

void ExpectJustBelow(double measured, double limit, const Case& c) {
  EXPECT_LE(measured, limit) << c.transport << ", ranks: " << c.ranks;
  EXPECT_GE(measured, 0.97 * limit) << c.transport << ", ranks: " << c.ranks;
}

TEST(NcclSchedule, CreditsHoldRdmaToBuffsizePerRoundTrip) {
  for (const char* transport : {"rc-gbn", "rc-sr"}) {
    Case c{transport, Collective::kSendRecv, 2, OneChannel()};
    ExpectJustBelow(BusRate(c), Law(c).simple_per_channel, c);
    c.nccl.buffsize *= 4;
    ExpectJustBelow(BusRate(c), Law(c).simple_per_channel, c);
    // Whatever the ring allows.
    c = {transport, Collective::kAllReduce, 4, OneChannel()};
    ExpectJustBelow(BusRate(c), Law(c).simple_per_channel, c);
    EXPECT_LT(BusRate(c), 0.6 * Law(c).ring_per_channel);
  }
}

// The twin: sockets take a send before the peer has it, and that limit is gone.
TEST(NcclSchedule, EarlyCompletionLiftsTheCreditsAndNotTheRing) {
  const Case free{"tcp", Collective::kSendRecv, 2, OneChannel()};
  EXPECT_GT(BusRate(free), 5 * Law(free).simple_per_channel);
  for (const uint32_t ranks : {2u, 4u, 8u}) {
    const Case ring{"tcp", Collective::kAllReduce, ranks, OneChannel()};
    ExpectJustBelow(BusRate(ring), Law(ring).ring_per_channel, ring);
  }
}

TEST(NcclSchedule, ChannelsAddUp) {
  Case c{"rc-sr", Collective::kAllReduce, 2, OneChannel(), 256u << 20};
  c.nccl.channels = 4;
  ExpectJustBelow(BusRate(c), 4 * Law(c).simple_per_channel, c);
}

// Tuned: kTunedWindows products of bandwidth and delay in the time that they and a round trip take,
// or better, since a collective's end overlaps with the next one's beginning.
TEST(NcclSchedule, ThePresetsReachWhatTheySay) {
  constexpr Rate kRate = 10_gbps;
  for (const char* transport : {"rc-sr", "tcp"}) {
    const auto untuned = *testbed::FindPreset("default", kRate, kRtt);
    const auto tuned = *testbed::FindPreset("tuned", kRate, kRtt);
    Case c{transport, Collective::kAllReduce, 2, tuned, 128u << 20, kRate};
    const double payload = 0.98 * static_cast<double>(kRate.bits_per_s);
    const double measured = BusRate(c);
    EXPECT_GE(measured, payload * testbed::kTunedWindows / (testbed::kTunedWindows + 1));
    EXPECT_LE(measured, 1.02 * payload);
    c.nccl = untuned;
    c.nccl.channels = 2;  // or so short a link would be filled by the default too
    EXPECT_LE(BusRate(c), Law(c).all_channels);
  }
  EXPECT_FALSE(testbed::FindPreset("best", 10_gbps, kRtt));
}

}  // namespace
}  // namespace farspan::test
