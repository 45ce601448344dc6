// What the loader makes of good configurations.

#include <gtest/gtest.h>

#include <fstream>

#include "emulator/config/loader.h"
#include "emulator/link/path.h"
#include "tests/support/config_text.h"

namespace farspan::config {
namespace {

using namespace farspan::literals;
using link::OneWayDelay;
using test::kSites;
using test::LoadLink;
using test::Wire;

TEST(Config, Defaults) {
  const auto config = LoadText(Wire("delay = \"5 ms\""), "test.toml");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->mode, Mode::kWire);
  EXPECT_EQ(config->seed, 1u);
  ASSERT_EQ(config->sites.size(), 2u);
  EXPECT_EQ(config->sites[0].port.kind, PortKind::kAfPacket);
  EXPECT_EQ(config->engine.http, "127.0.0.1:9464");
  EXPECT_EQ(config->engine.plan_frame_bytes, 64u);
  EXPECT_EQ(config->engine.duration, kNever);
  const LinkSpec& link = config->links[0];
  for (const link::DirectionSpec* direction : {&link.ab, &link.ba}) {
    ASSERT_EQ(direction->lanes.size(), 1u);
    EXPECT_EQ(OneWayDelay(direction->lanes[0].path), 5_ms);
    EXPECT_EQ(direction->lanes[0].rate.bits_per_s, 0u);
    EXPECT_EQ(direction->lanes[0].loss.kind, link::LossKind::kNone);
    EXPECT_EQ(direction->bottleneck.classes.size(), 1u);
    EXPECT_TRUE(direction->timeline.empty());
  }
}

TEST(Config, PathsInTheirForms) {
  EXPECT_EQ(OneWayDelay(LoadLink("distance = \"1328 km\"").ab.lanes[0].path), 6'503'731_ns);
  EXPECT_EQ(OneWayDelay(LoadLink("rtt = \"25 ms\"").ab.lanes[0].path), 12'500_us);
  EXPECT_EQ(OneWayDelay(LoadLink("distance = \"1 km\"\nfiber = \"hollow-core\"").ba.lanes[0].path),
            3'346_ns);
  EXPECT_EQ(OneWayDelay(LoadLink("distance = \"1 km\"\ngroup_index = 1.5").ba.lanes[0].path),
            5'003_ns);
  const LinkSpec equipped = LoadLink(
      "distance = \"1328 km\"\namplifiers = \"80 km\"\nregenerators = 2\nfec = \"30 us\"\n");
  EXPECT_EQ(OneWayDelay(equipped.ab.lanes[0].path), 6'503'731_ns + 232_us);
  const LinkSpec routed = LoadLink("route = [\"CHI\", \"NYC\"]");
  EXPECT_GT(OneWayDelay(routed.ab.lanes[0].path), 4_ms);
  EXPECT_FALSE(routed.ab_source.empty());
  EXPECT_EQ(OneWayDelay(LoadLink("route = \"CHI, New York\"").ab.lanes[0].path),
            OneWayDelay(routed.ab.lanes[0].path));
}

TEST(Config, CitiesGiveTheRoute) {
  const auto config = LoadText(R"(
[[sites]]
name = "a"
port = "eth1"
city = "CHI"
[[sites]]
name = "b"
port = "eth2"
city = "NYC"
[[links]]
name = "w"
a = "a"
b = "b"
)",
                               "test.toml");
  ASSERT_TRUE(config) << config.error().text();
  const link::PathSpec by_route = LoadLink("route = [\"CHI\", \"NYC\"]").ab.lanes[0].path;
  EXPECT_EQ(OneWayDelay(config->links[0].ab.lanes[0].path), OneWayDelay(by_route));
  EXPECT_EQ(OneWayDelay(config->links[0].ba.lanes[0].path), OneWayDelay(by_route));
}

TEST(Config, ADirectionOverridesWhatBothShare) {
  const LinkSpec link = LoadLink(R"(
distance = "100 km"
amplifiers = "50 km"
rate = "10 Gbps"
loss = "1e-4"
[links.ba]
delay = "5 ms"
rate = "1 Gbps"
)");
  EXPECT_EQ(OneWayDelay(link.ab.lanes[0].path), 489'739_ns + 250_ns);
  EXPECT_EQ(OneWayDelay(link.ba.lanes[0].path), 5_ms);  // without the shared amplifiers
  EXPECT_EQ(link.ab.lanes[0].rate, 10_gbps);
  EXPECT_EQ(link.ba.lanes[0].rate, 1_gbps);
  EXPECT_EQ(link.ba.lanes[0].loss.probability, 1e-4);
}

TEST(Config, LossIsKeyedByWireTimeWhereThereIsARate) {
  EXPECT_EQ(LoadLink("delay=\"1 ms\"\nloss=\"1e-4\"").ab.lanes[0].loss.keying,
            link::Keying::kPacket);
  EXPECT_EQ(LoadLink("delay=\"1 ms\"\nloss=1e-4\nrate=\"1 Gbps\"").ab.lanes[0].loss.keying,
            link::Keying::kWireTime);
  const LinkSpec packet = LoadLink(
      "delay=\"1 ms\"\nrate=\"1 Gbps\"\n"
      "loss={model=\"gilbert-elliott\", p=\"1e-5\", r=\"10 %\", loss_bad=\"50 %\", "
      "keying=\"packet\"}");
  const link::LossSpec& loss = packet.ab.lanes[0].loss;
  EXPECT_EQ(loss.keying, link::Keying::kPacket);
  EXPECT_EQ(loss.kind, link::LossKind::kGilbertElliott);
  EXPECT_EQ(loss.ge_p, 1e-5);
  EXPECT_EQ(loss.ge_r, 0.1);
  EXPECT_EQ(loss.ge_loss_bad, 0.5);
}

TEST(Config, EveryLossModel) {
  const auto loss = [](std::string_view table) {
    return LoadLink("delay = \"1 ms\"\nrate = \"1 Gbps\"\nloss = " + std::string(table))
        .ab.lanes[0]
        .loss;
  };
  EXPECT_EQ(loss("{model=\"burst\", rate=\"1e-6\", frames=12}").burst_frames, 12u);
  EXPECT_EQ(loss("{model=\"bit-error\", rate=1e-12}").bit_error_rate, 1e-12);
  EXPECT_EQ(loss("{model=\"mask\", mask=\"0010\"}").mask,
            (std::vector<bool>{false, false, true, false}));
  const link::LossSpec trace = loss("{model=\"trace\", intervals=[[\"1 ms\",\"2 ms\"]]}");
  ASSERT_EQ(trace.trace.size(), 1u);
  EXPECT_EQ(trace.trace[0].begin, 1'000'000u);
  EXPECT_EQ(loss("{model=\"periodic\", every=\"10 ms\", offset=\"1 ms\"}").period, 10'000'000u);
  EXPECT_EQ(loss("{model=\"periodic\", every=1000, keying=\"packet\"}").period, 1000u);
  EXPECT_EQ(loss("{model=\"bernoulli\", probability=\"0.1 %\", reference=\"4214 B\"}")
                .reference_wire_bytes,
            4214u);
}

TEST(Config, QueuesAndClasses) {
  const LinkSpec link = LoadLink(R"(
delay = "1 ms"
rate = "1 Gbps"
limit = "10 ms"
overhead = "-14 B"
mpu = "64 B"
[[links.classes]]
name = "bulk"
aqm = {kind = "red", k_min = "100 kB", k_max = "400 kB", p_max = "1 %", drop_not_ect = false}
[[links.classes]]
name = "rdma"
dscp = [26, "CS6", "AF41"]
pcp = [3]
priority = 1
weight = 4
limit = "1 MiB"
)");
  const link::BottleneckSpec& bottleneck = link.ab.bottleneck;
  EXPECT_EQ(bottleneck.overhead_bytes, -14);
  EXPECT_EQ(bottleneck.mpu_bytes, 64u);
  ASSERT_EQ(bottleneck.classes.size(), 2u);
  EXPECT_EQ(bottleneck.classes[0].limit.time, 10_ms);
  EXPECT_EQ(bottleneck.classes[0].limit.bytes, 0u);
  EXPECT_EQ(bottleneck.classes[0].aqm.kind, link::AqmKind::kRed);
  EXPECT_FALSE(bottleneck.classes[0].aqm.drop_not_ect);
  EXPECT_EQ(bottleneck.classes[1].limit.bytes, 1u << 20);
  EXPECT_EQ(bottleneck.classes[1].dscp, (std::vector<uint8_t>{26, 48, 34}));
  EXPECT_EQ(bottleneck.classes[1].weight, 4u);
}

TEST(Config, LanesTakeWhatTheyDoNotSay) {
  const LinkSpec link = LoadLink(R"(
distance = "100 km"
rate = "10 Gbps"
loss = "1e-4"
[[links.lanes]]
weight = 3
[[links.lanes]]
distance = "120 km"
rate = "1 Gbps"
loss = "0"
)");
  ASSERT_EQ(link.ba.lanes.size(), 2u);
  EXPECT_EQ(link.ba.lanes[0].path.length, 100_km);
  EXPECT_EQ(link.ba.lanes[0].weight, 3u);
  EXPECT_EQ(link.ba.lanes[1].path.length, 120_km);
  EXPECT_EQ(link.ba.lanes[1].rate, 1_gbps);
  EXPECT_EQ(link.ba.lanes[1].loss.kind, link::LossKind::kNone);
  EXPECT_EQ(link.ba.lanes[0].loss.probability, 1e-4);
}

TEST(Config, SharedPositionsCountFromA) {
  const LinkSpec link = LoadLink(R"(
distance = "1000 km"
[[links.timeline]]
at = "1 s"
action = "cut"
position = "300 km"
for = "50 ms"
[[links.timeline]]
at = "2 s"
action = "protection-switch"
position = "400 km"
outage = "20 ms"
distance = "1500 km"
[[links.timeline]]
at = "3 s"
action = "cut"
position = "300 km"
)");
  ASSERT_EQ(link.ab.timeline.size(), 3u);
  ASSERT_EQ(link.ba.timeline.size(), 3u);
  const auto cut = [](const link::DirectionSpec& direction, size_t i) {
    return std::get<link::Cut>(direction.timeline[i].change);
  };
  EXPECT_EQ(cut(link.ab, 0).position, 300_km);
  EXPECT_EQ(cut(link.ba, 0).position, 700_km);
  EXPECT_EQ(cut(link.ab, 0).duration, 50_ms);
  EXPECT_EQ(cut(link.ab, 2).duration, kNever);
  EXPECT_EQ(cut(link.ba, 2).position, 1200_km);  // on the path switched to
  const auto& protection = std::get<link::ProtectionSwitch>(link.ba.timeline[1].change);
  EXPECT_EQ(protection.position, 600_km);
  EXPECT_EQ(protection.path.length, 1500_km);
  EXPECT_EQ(protection.outage, 20_ms);
}

TEST(Config, TimelineOfEveryAction) {
  const LinkSpec link = LoadLink(R"(
distance = "100 km"
rate = "10 Gbps"
timeline = [
  {at = "1 s", action = "rate", rate = "1 Gbps"},
  {at = "2 s", action = "loss", loss = "1e-3"},
  {at = "3 s", action = "loss-ramp", from = 0, to = "1 %", over = "10 s", steps = 10},
  {at = "4 s", action = "jitter", jitter = "20 us"},
  {at = "5 s", action = "path", distance = "200 km"},
  {at = "6 s", action = "epoch"},
  {at = "7 s", action = "restore"},
]
)");
  const auto& timeline = link.ab.timeline;
  ASSERT_EQ(timeline.size(), 6u + 11u);
  EXPECT_EQ(std::get<link::SetRate>(timeline[0].change).rate, 1_gbps);
  EXPECT_EQ(std::get<link::SetLoss>(timeline[1].change).loss.keying, link::Keying::kWireTime);
  EXPECT_EQ(std::get<link::SetLoss>(timeline[2].change).loss.kind, link::LossKind::kNone);
  EXPECT_EQ(timeline[12].at, 13_s);
  EXPECT_DOUBLE_EQ(std::get<link::SetLoss>(timeline[7].change).loss.probability, 0.005);
  EXPECT_EQ(std::get<link::SetJitter>(timeline[13].change).jitter.deviation, 20_us);
  EXPECT_EQ(std::get<link::SetPath>(timeline[14].change).path.length, 200_km);
  EXPECT_TRUE(std::holds_alternative<link::StartEpoch>(timeline[15].change));
  EXPECT_TRUE(std::holds_alternative<link::Restore>(timeline[16].change));
}

TEST(Config, EngineKeys) {
  const auto config = LoadText("seed = 9\n" + Wire("delay = \"1 ms\"\n") + R"(
[engine]
http = "unix:/run/farspan.sock"
idle = "sleep"
lcores = [2, 3]
mtu = "9000 B"
plan_frame = "1 kB"
max_packet_rate = "12 Mpps"
memory = "4 GiB"
duration = "10 s"
capture = {file = "run.pcapng", max = "10 MB", snap = "64 B"}
observer = {enabled = false, queue_pairs = 77, icrc = true}
[engine.headroom]
delay = "100 ms"
rate = "100 Gbps"
[engine.budgets]
clock_ppm = 10
software = {lateness_max = "1 s"}
)",
                               "test.toml");
  ASSERT_TRUE(config) << config.error().text();
  const EngineSpec& engine = config->engine;
  EXPECT_EQ(config->seed, 9u);
  EXPECT_EQ(engine.http, "unix:/run/farspan.sock");
  EXPECT_EQ(engine.idle, IdlePolicy::kSleep);
  EXPECT_EQ(engine.lcores, (std::vector<uint32_t>{2, 3}));
  EXPECT_EQ(engine.mtu, 9000u);
  EXPECT_EQ(engine.plan_frame_bytes, 1000u);
  EXPECT_EQ(engine.max_packet_rate, 12'000'000u);
  EXPECT_EQ(engine.memory_bytes, uint64_t{4} << 30);
  EXPECT_EQ(engine.duration, 10_s);
  EXPECT_EQ(engine.headroom_delay, 100_ms);
  EXPECT_EQ(engine.headroom_rate, 100_gbps);
  EXPECT_EQ(engine.budgets.clock_ppm, 10);
  EXPECT_EQ(engine.budgets.of(PortKind::kAfXdp).lateness_max, 1_s);
  EXPECT_EQ(engine.budgets.of(PortKind::kPci).lateness_max, 2_ms);
  EXPECT_EQ(engine.capture.file, "run.pcapng");
  EXPECT_EQ(engine.capture.snap_bytes, 64u);
  EXPECT_EQ(engine.observer,
            (roce::ObserverSpec{.enabled = false, .queue_pairs = 77, .check_icrc = true}));
}

TEST(Config, PortsInTheirForms) {
  const struct {
    const char* text;
    PortKind kind;
    const char* target;
  } kRows[] = {
      {"eth1", PortKind::kAfPacket, "eth1"},
      {"af_packet:veth-0.1", PortKind::kAfPacket, "veth-0.1"},
      {"af_xdp:eth1", PortKind::kAfXdp, "eth1"},
      {"0000:3b:00.1", PortKind::kPci, "0000:3b:00.1"},
      {"3B:00.1", PortKind::kPci, "0000:3B:00.1"},
      {"vhost:/run/vm.sock", PortKind::kVhost, "/run/vm.sock"},
      {"net_null0,size=64,copy=1", PortKind::kVdev, "net_null0,size=64,copy=1"},
  };
  for (const auto& row : kRows) {
    const auto config =
        LoadText(Wire("delay = \"1 ms\""), "t", {"site.a.port=" + std::string(row.text)});
    ASSERT_TRUE(config) << config.error().text();
    EXPECT_EQ(config->sites[0].port.kind, row.kind) << row.text;
    EXPECT_EQ(config->sites[0].port.target, row.target) << row.text;
  }
}

TEST(Config, OverridesWin) {
  const std::string_view file = R"(
distance = "100 km"
loss = "1e-4"
[links.ba]
loss = "1e-5"
)";
  const auto loss = [&](const Overrides& overrides) {
    const LinkSpec link = LoadLink(file, overrides);
    return std::pair(link.ab.lanes[0].loss.probability, link.ba.lanes[0].loss.probability);
  };
  EXPECT_EQ(loss({}), std::pair(1e-4, 1e-5));
  EXPECT_EQ(loss({"link.w.loss=1e-3"}), std::pair(1e-3, 1e-3));
  EXPECT_EQ(loss({"link.w.ba.loss=1e-3"}), std::pair(1e-4, 1e-3));
  EXPECT_EQ(loss({"link.w.loss=1e-3", "link.w.loss=0.2 %"}), std::pair(2e-3, 2e-3));
  EXPECT_EQ(loss({"link.w.loss=1e-3", "link.w.ab.loss=1e-2"}), std::pair(1e-2, 1e-3));
  EXPECT_EQ(OneWayDelay(LoadLink(file, {"link.w.delay=5ms"}).ab.lanes[0].path), 5_ms);
  EXPECT_EQ(LoadLink(file, {"link.w.loss={model=\"periodic\", every=9}"}).ba.lanes[0].loss.period,
            9u);
  const auto config = LoadText(Wire(file), "t", {"seed=5", "engine.http=off"});
  EXPECT_EQ(config->seed, 5u);
  EXPECT_EQ(config->engine.http, "off");
}

TEST(Config, WireForm) {
  const auto config =
      FromWire({"eth1,[net_null0,size=64]",
                {{"distance", "500 km"}, {"rate", "10Gbps"}, {"loss", "1e-4"}, {"jitter", "20us"}}},
               {"engine.duration=10s"});
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->sites[1].port.text, "net_null0,size=64");
  EXPECT_EQ(config->engine.duration, 10_s);
  EXPECT_EQ(config->links[0].name, "wire");
  EXPECT_EQ(config->links[0].ba.lanes[0].path.length, 500_km);
  EXPECT_EQ(config->links[0].ba.lanes[0].rate, 10_gbps);
  EXPECT_EQ(config->links[0].ba.jitter.deviation, 20_us);
  const auto error = [](const WireOptions& options) { return FromWire(options).error().text(); };
  EXPECT_EQ(
      error({"eth1,eth2", {{"distance", "500"}}}).find("--distance 500: distance: \"500\": it"),
      0u);
  EXPECT_EQ(error({"eth1,eth2", {}}).find("--wire:"), 0u);
  EXPECT_NE(
      error({"eth1,eth2", {{"delay", "1 ms"}, {"rtt", "2 ms"}}}).find("--rtt 2 ms: rtt: excl"),
      std::string::npos);
  EXPECT_EQ(error({"eth1", {}}).find("--wire eth1: expected two ports, A,B"), 0u);
  EXPECT_EQ(error({"eth1,eth1", {{"delay", "1ms"}}}).find("--wire eth1,eth1: port: "), 0u);
}

TEST(Config, TracesBecomeTimelines) {
  const std::filesystem::path directory = testing::TempDir();
  std::ofstream(directory / "rate.csv") << "# a day\ntime [s],rate [Mbps]\n0,100\n1.5,20\n";
  std::ofstream(directory / "delay.csv") << "0 s,5 ms\n2 s,7 ms\n";
  std::ofstream(directory / "loss.csv") << "time (ms), loss (%)\n10, 0.1\n20, 0\n";
  const auto config = LoadText(Wire("delay = \"5 ms\"\nrate = \"1 Gbps\"\ntraces = {rate = "
                                    "\"rate.csv\", delay = \"delay.csv\", loss = \"loss.csv\"}"),
                               "t", {}, directory);
  ASSERT_TRUE(config) << config.error().text();
  const auto& timeline = config->links[0].ba.timeline;
  ASSERT_EQ(timeline.size(), 6u);
  EXPECT_EQ(timeline[1].at, 1'500_ms);
  EXPECT_EQ(std::get<link::SetRate>(timeline[1].change).rate, 20_mbps);
  EXPECT_EQ(OneWayDelay(std::get<link::SetPath>(timeline[3].change).path), 7_ms);
  EXPECT_EQ(std::get<link::SetLoss>(timeline[4].change).loss.probability, 0.001);
  EXPECT_EQ(std::get<link::SetLoss>(timeline[5].change).loss.kind, link::LossKind::kNone);
}

}  // namespace
}  // namespace farspan::config
