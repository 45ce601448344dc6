// The resolved plan, against numbers worked out by hand.

#include "emulator/config/plan.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "emulator/config/loader.h"
#include "emulator/link/link.h"

namespace farspan::config {
namespace {

using namespace farspan::literals;

EmulatorConfig LoadWire(std::string_view keys, const Overrides& overrides = {}) {
  const auto config = LoadText(R"(
[[sites]]
name = "chicago"
port = "eth1"
[[sites]]
name = "new-york"
port = "0000:3b:00.1"
[[links]]
name = "chi-nyc"
a = "chicago"
b = "new-york"
)" + std::string(keys),
                               "test.toml", overrides);
  EXPECT_TRUE(config) << config.error().text();
  return config.value_or(EmulatorConfig{});
}

Plan PlanWire(std::string_view keys, const Overrides& overrides = {}) {
  return MakePlan(LoadWire(keys, overrides));
}

constexpr uint64_t kSlack = 1024;

TEST(Plan, BytesInFlightAreRateTimesDelay) {
  const Plan plan = PlanWire("delay = \"10 ms\"\nrate = \"10 Gbps\"\nlimit = \"1 MB\"");
  ASSERT_EQ(plan.directions.size(), 2u);
  const DirectionPlan& ab = plan.directions[0];
  EXPECT_EQ(ab.direction, "ab");
  EXPECT_EQ(ab.from, "chicago");
  EXPECT_EQ(ab.fiber_bytes, 12'500'000u);  // 10^10 / 8 x 0.01
  EXPECT_EQ(ab.queue_bytes, 1'000'000u);
  EXPECT_EQ(ab.packets_per_s, 14'880'952u);  // the well-known figure for 64 B
  EXPECT_EQ(ab.held_packets, 13'500'000u / 84 + kSlack);
  EXPECT_EQ(ab.round_trip, 20_ms);
  EXPECT_EQ(ab.bdp_bytes, 25'000'000u);
  EXPECT_EQ(ab.bdp_packets, 25'000'000u / 1538);
  EXPECT_EQ(ab.model_bytes, link::Link::MemoryBytes(LoadWire("delay = \"10 ms\"\nrate = \"10 Gbps\""
                                                             "\nlimit = \"1 MB\"")
                                                        .links[0]
                                                        .ab,
                                                    {ab.held_packets}));
  EXPECT_FALSE(ab.rate_assumed);
  EXPECT_EQ(plan.lcores, 1u);
}

TEST(Plan, QueueLimitsInTimeAreAtTheRate) {
  EXPECT_EQ(
      PlanWire("delay = \"1 ms\"\nrate = \"1 Gbps\"\nlimit = \"8 ms\"").directions[0].queue_bytes,
      1'000'000u);
  EXPECT_EQ(PlanWire("delay = \"1 ms\"\nrate = \"1 Gbps\"\nlimit = {time = \"8 ms\", bytes = \"5 "
                     "kB\"}\nclasses = [{name = \"a\"}, {name = \"b\", limit = \"7 kB\"}]")
                .directions[0]
                .queue_bytes,
            12'000u);
}

TEST(Plan, LargerFramesAndDeclaredRatesHoldLess) {
  constexpr std::string_view kKeys = "delay = \"10 ms\"\nrate = \"10 Gbps\"\nlimit = \"0.5 MB\"";
  const auto held = [&](const char* override) {
    return PlanWire(kKeys, {override}).directions[0].held_packets - kSlack;
  };
  EXPECT_EQ(held("seed=1"), 13'000'000u / 84);
  EXPECT_EQ(held("engine.plan_frame=1518 B"), 13'000'000u / 1538);
  EXPECT_EQ(held("engine.max_packet_rate=1 Mpps"), 10'000u + 400);      // 0.5 MB wait 0.4 ms
  EXPECT_EQ(held("engine.max_packet_rate=20 Mpps"), 13'000'000u / 84);  // more than can come
  // At a tenth of the rate, later on, they wait ten times as long.
  const auto later = [&](const char* more) {
    return PlanWire(std::string(kKeys) + more, {"engine.max_packet_rate=1 Mpps"})
               .directions[0]
               .held_packets -
           kSlack;
  };
  EXPECT_EQ(later("\ntimeline = [{at = \"1 s\", action = \"rate\", rate = \"1 Gbps\"}]"), 14'000u);
  // Two classes: one may wait for ever behind the other.
  EXPECT_EQ(later("\nclasses = [{name = \"a\"}, {name = \"b\"}]"), 10'000u + 1'000'000 / 84);
}

TEST(Plan, TheLargestDelayCounts) {
  const auto largest = [](std::string_view keys, const Overrides& overrides = {}) {
    return PlanWire("delay = \"10 ms\"\nrate = \"1 Gbps\"\n" + std::string(keys), overrides)
        .directions[0]
        .largest_delay;
  };
  EXPECT_EQ(largest(""), 10_ms);
  EXPECT_EQ(largest("jitter = \"20 us\""), 10_ms + 160_us);
  EXPECT_EQ(largest("timeline = [{at = \"1 s\", action = \"path\", delay = \"30 ms\"}]"), 30_ms);
  EXPECT_EQ(largest("timeline = [{at = \"1 s\", action = \"path\", delay = \"3 ms\"}]"), 10_ms);
  EXPECT_EQ(largest("timeline = [{at = \"1 s\", action = \"jitter\", jitter = \"1 ms\"}]"), 18_ms);
  EXPECT_EQ(largest("timeline = [{at = \"1 s\", action = \"protection-switch\", outage = \"50 ms\","
                    " rtt = \"50 ms\"}]"),
            25_ms);
  EXPECT_EQ(largest("rules = [{action = \"delay\", delay = \"5 ms\"}]"), 15_ms);
  EXPECT_EQ(largest("", {"engine.headroom.delay=100ms"}), 100_ms);
}

TEST(Plan, TheHighestRateCounts) {
  const auto rate = [](std::string_view keys, const Overrides& overrides = {}) {
    return PlanWire("delay = \"10 ms\"\n" + std::string(keys), overrides).directions[0].rate;
  };
  EXPECT_EQ(rate("rate = \"1 Gbps\""), 1_gbps);
  EXPECT_EQ(rate("rate = \"1 Gbps\"", {"engine.headroom.rate=4Gbps"}), 4_gbps);
  EXPECT_EQ(rate("rate = \"1 Gbps\"\n"
                 "timeline = [{at = \"1 s\", action = \"rate\", rate = \"3 Gbps\"}]"),
            3_gbps);
  EXPECT_EQ(rate("rate = \"100 Gbps\"", {"site.chicago.port_rate=25Gbps"}), 25_gbps);
  EXPECT_EQ(rate("rate = \"1 Gbps\"\nlanes = [{}, {rate = \"2 Gbps\"}]"), 3_gbps);
  EXPECT_EQ(rate("rate = \"9 Gbps\"\nlanes = [{}, {}]", {"site.chicago.port_rate=10Gbps"}),
            10_gbps);
}

TEST(Plan, LanesAddUpToWhatThePortBrings) {
  const auto fiber = [](std::string_view keys, const Overrides& overrides = {}) {
    return PlanWire(keys, overrides).directions[0].fiber_bytes;
  };
  constexpr std::string_view kLanes =
      "rate = \"8 Gbps\"\nlanes = [{delay = \"1 ms\"}, {delay = \"2 ms\"}]";
  EXPECT_EQ(fiber(kLanes), 3'000'000u);
  EXPECT_EQ(fiber(kLanes, {"site.chicago.port_rate=10Gbps"}), 2'500'000u);
  EXPECT_EQ(fiber("lanes = [{delay = \"1 ms\"}, {delay = \"2 ms\"}]"), 2'500'000u);  // assumed
}

TEST(Plan, WhatIsNotDeclaredIsAssumedByTheKindOfPort) {
  const Plan plan = PlanWire("delay = \"1 ms\"");
  EXPECT_EQ(plan.directions[0].rate, 10_gbps);   // eth1
  EXPECT_EQ(plan.directions[1].rate, 100_gbps);  // a PCI device
  EXPECT_TRUE(plan.directions[0].rate_assumed);
  EXPECT_EQ(plan.directions[0].queue_bytes, 0u);
}

TEST(Plan, DuplicatesAreHeldToo) {
  const auto fiber = [](std::string_view keys) {
    return PlanWire("delay = \"8 ms\"\nrate = \"1 Gbps\"\n" + std::string(keys))
        .directions[0]
        .fiber_bytes;
  };
  EXPECT_EQ(fiber(""), 1'000'000u);
  EXPECT_EQ(fiber("duplicate = \"10 %\""), 1'100'000u);
  EXPECT_EQ(fiber("rules = [{action = \"duplicate\", nth = 1}]"), 2'000'000u);
}

TEST(Plan, AnAbsurdPlanDoesNotOverflow) {
  const Plan plan = PlanWire("delay = \"3600 s\"\nrate = \"100 Tbps\"\nlimit = \"3600 s\"");
  EXPECT_GT(plan.directions[0].held_packets, uint64_t{1} << 40);
  EXPECT_GT(plan.directions[0].model_bytes, plan.directions[0].held_packets);
}

TEST(Plan, LossBySize) {
  const Plan plan =
      PlanWire("delay = \"1 ms\"\nrate = \"1 Gbps\"\nloss = {model = \"bit-error\", rate = 1e-9}");
  const LanePlan& lane = plan.directions[0].lanes[0];
  ASSERT_EQ(lane.loss.size(), 5u);
  EXPECT_EQ(lane.loss[0].frame_bytes, 64u);
  EXPECT_NEAR(lane.loss[0].probability, 64 * 8e-9, 1e-12);
  EXPECT_EQ(lane.loss[4].frame_bytes, 9018u);
  EXPECT_NEAR(lane.loss[4].probability, 9018 * 8e-9, 3e-9);
}

TEST(Plan, MeshGivesEachSiteItsLcore) {
  const auto config = LoadText(R"(
mode = "mesh"
forwarding = "mac"
sites = [{name = "a", port = "e1"}, {name = "b", port = "e2"},
         {name = "c", port = "e3", egress = {rate = "1 Gbps", limit = "84 kB"}}]
links = [{name = "ab", a = "a", b = "b", delay = "1 ms"},
         {name = "bc", a = "b", b = "c", delay = "1 ms"}]
)",
                               "t");
  ASSERT_TRUE(config) << config.error().text();
  const Plan plan = MakePlan(*config);
  EXPECT_EQ(plan.lcores, 3u);
  EXPECT_EQ(plan.directions[0].lcore, 1u);  // into b
  EXPECT_EQ(plan.directions[1].lcore, 0u);  // into a
  EXPECT_EQ(plan.directions[2].lcore, 2u);
  EXPECT_EQ(plan.directions[3].lcore, 1u);
  ASSERT_EQ(plan.egresses.size(), 1u);
  EXPECT_EQ(plan.egresses[0].held_packets, 1'000 + kSlack);
}

TEST(Plan, TextForPeople) {
  const EmulatorConfig config = LoadWire(
      "distance = \"1328 km\"\namplifiers = \"80 km\"\nrate = \"10 Gbps\"\nlimit = \"1 MB\"\n"
      "loss = {model = \"bernoulli\", probability = \"1e-4\", keying = \"packet\"}\n");
  MemoryReport memory{.known = true, .message = "", .mbufs = 12'345, .eal_bytes = 3u << 20};
  memory.heap_bytes = 64u << 20;
  const std::string text = PlanText(config, MakePlan(config), memory);
  EXPECT_EQ(text.substr(0, text.find("\nlink chi-nyc, new-york")),
            R"(wire: 2 sites, 1 link, seed 1

sites
  chicago          eth1 (af_packet)
  new-york         0000:3b:00.1 (DPDK device; if it sends on timestamps, given frames 50 us ahead)

link chi-nyc, chicago to new-york
  delay    1328 km of glass, group index 1.4682              6.503731 ms
           16 amplifiers of 125 ns                                  2 us
           one way                                           6.505731 ms
  rate     10 Gbps
  loss     64 B: 0.0001, 594 B: 0.0001, 1518 B: 0.0001, 4194 B: 0.0001, 9018 B: 0.0001
  path     round trip 13.011462 ms; BDP 16,264,328 bytes, 10,574 packets of full size
  planned  10 Gbps x 6.505731 ms (the largest delay): 8,132,164 bytes in the fiber, 1,000,000 waiting
  held     at most 109,740 packets of 64 B on average (14.880952 Mpps); model 5 MiB; lcore 0
)");
  EXPECT_NE(
      text.find("lcores   1 for packets\n\nmemory\n  packets  12,345 mbufs, 3 MiB of ordinary "
                "pages\n  other    64 MiB\n  fits\n"),
      std::string::npos)
      << text;
  memory.fits = false;
  memory.message = "10 MiB are free";
  EXPECT_NE(PlanText(config, MakePlan(config), memory).find("DOES NOT FIT: 10 MiB are free"),
            std::string::npos);
}

TEST(Plan, JsonForPrograms) {
  const EmulatorConfig config = LoadWire("distance = \"1328 km\"\nrate = \"10 Gbps\"");
  const auto json = nlohmann::json::parse(PlanJson(config, MakePlan(config), {}));
  EXPECT_EQ(json["schema"], "farspan.plan.v1");
  EXPECT_TRUE(json["memory"].is_null());
  ASSERT_EQ(json["directions"].size(), 2u);
  const auto& ab = json["directions"][0];
  EXPECT_EQ(ab["link"], "chi-nyc");
  EXPECT_EQ(ab["lanes"][0]["delay_ns"], 6'503'731);
  EXPECT_EQ(ab["lanes"][0]["terms"][0]["ns"], 6'503'731);
  EXPECT_EQ(ab["lanes"][0]["expected_loss"].size(), 5u);
  EXPECT_EQ(ab["round_trip_ns"], 13'007'462);
  EXPECT_EQ(ab["planned_rate_bits_per_s"], 10'000'000'000);
}

TEST(Plan, FramesAreHandedOverAheadWhereNothingForbidsIt) {
  const auto lead = [](std::string_view keys, const Overrides& overrides = {}) {
    const Plan plan = PlanWire(keys, overrides);
    EXPECT_EQ(plan.leads.size(), 2u);
    EXPECT_EQ(plan.leads[0].why_not, "its driver sends at once");  // af_packet
    return plan.leads[1];
  };
  EXPECT_EQ(lead("delay = \"1 ms\"").lead, 50_us);
  EXPECT_EQ(lead("delay = \"1 ms\"").why_not, "");
  EXPECT_EQ(lead("delay = \"1 ms\"", {"site.new-york.send_ahead=20 us"}).lead, 20_us);
  EXPECT_EQ(lead("delay = \"30 us\"").lead, 15_us);
  EXPECT_EQ(lead("delay = \"30 us\"\njitter = \"500 ns\"").lead, 7_us);  // 32 deviations less
  EXPECT_EQ(lead("delay = \"30 us\"\njitter = \"1 us\"").why_not,
            "link chi-nyc may deliver at once");
  EXPECT_EQ(lead("delay = \"1 ms\"\n[links.ab]\ndelay = \"10 us\"").lead, 5_us);
  EXPECT_EQ(lead("delay = \"1 ms\"\n[links.ba]\ndelay = \"10 us\"").lead, 50_us);
  EXPECT_EQ(lead("delay = \"1 ms\"", {"site.new-york.send_ahead=0 s"}).why_not, "send_ahead is 0");
  EXPECT_EQ(lead("delay = \"1 ms\"\nunmatched = \"bypass\"").why_not,
            "packets bypass link chi-nyc");
  EXPECT_EQ(lead("delay = \"1 ms\"", {"site.new-york.egress={rate = \"10 Gbps\"}"}).lead, 50_us);
  EXPECT_EQ(lead("delay = \"1 ms\"",
                 {"site.new-york.egress={rate = \"10 Gbps\"}", "site.new-york.pause=consume"})
                .why_not,
            "its host may pause the egress");
  const EmulatorConfig config = LoadWire("delay = \"30 us\"");
  const auto json = nlohmann::json::parse(PlanJson(config, MakePlan(config), {}));
  EXPECT_EQ(json["sites"][1]["send_ahead_at_most_ns"], 15'000);
  EXPECT_EQ(json["sites"][0]["send_ahead_why_not"], "its driver sends at once");
}

TEST(Plan, PfcTermByTerm) {
  constexpr std::string_view kKeys =
      "delay = \"1 ms\"\nrate = \"40 Gbps\"\nlimit = \"1 MB\"\n"
      "pfc = {priority = 3, line_rate = \"100 Gbps\", poll_gap = \"20 us\"}";
  const EmulatorConfig config = LoadWire(kKeys, {"engine.mtu=4200 B"});
  const Plan plan = MakePlan(config);
  ASSERT_EQ(plan.directions[0].pfc.size(), 1u);
  const PfcPlan& pfc = plan.directions[0].pfc[0];
  EXPECT_EQ(pfc.headroom_bytes, 300'285u);  // as in pause_frame_test.cc
  EXPECT_EQ(pfc.spec.xoff_bytes, 1'000'000u - 300'285);
  EXPECT_EQ(pfc.spec.xon_bytes, pfc.spec.xoff_bytes - 2 * 4'242);
  EXPECT_TRUE(pfc.lossless());
  const std::string text = PlanText(config, plan, {});
  EXPECT_NE(text.find("engine's poll gap, 20 us"), std::string::npos);
  EXPECT_NE(text.find("300,285 B between xoff and the limit: lossless"), std::string::npos) << text;
  const auto json = nlohmann::json::parse(PlanJson(config, plan, {}));
  EXPECT_EQ(json["directions"][0]["pfc"][0]["headroom_bytes"], 300'285);
  // Less room than that may be asked for, to see what it costs; it is said.
  const std::string less =
      std::string(kKeys).replace(kKeys.find("poll_gap"), 0, "xoff = \"800 kB\", ");
  const Plan lossy = PlanWire(less, {"engine.mtu=4200 B"});
  EXPECT_FALSE(lossy.directions[0].pfc[0].lossless());
}

}  // namespace
}  // namespace farspan::config
