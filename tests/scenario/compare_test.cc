// The comparison's figures against closed forms, each beside what must differ from it.
#include "transports/testbed/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>

namespace farspan::testbed {
namespace {

Scenario Load(const std::string& text) {
  auto scenario = ParseScenario(text, "test.toml");
  EXPECT_TRUE(scenario) << scenario.error().text();
  return *scenario;
}

std::vector<CompareRow> RunAll(const Scenario& scenario, unsigned jobs = 2) {
  return RunCompare(scenario, {.jobs = jobs, .progress = {}});
}

// 10 Gb/s, 5 ms one way.
std::string TwoSites(const std::string& link, const std::string& more) {
  return "samples = 4\n[[sites]]\nname = \"a\"\n[[sites]]\nname = \"b\"\n[link]\ndelay = \"5 ms\"\n"
         "rate = \"10 Gbps\"\n" +
         link + "\n[collective]\nsizes = [\"1 MiB\"]\n" + more;
}

constexpr double kInjection = 1048576.0 / 4096 * (4096 + 98) * 8 / 10e9;
constexpr double kOneWay = 5e-3;

TEST(Compare, WithoutLossADirectExchangeTakesItsBound) {
  const Scenario scenario = Load(TwoSites("", R"(
[[contenders]]
name = "direct"
recovery = "sr"
[[contenders]]
name = "ring"
recovery = "sr"
schedule = "ring"
)"));
  const auto rows = RunAll(scenario);
  ASSERT_EQ(rows.size(), 2u);
  for (const CompareRow& row : rows) ASSERT_EQ(row.failure, "");
  EXPECT_NEAR(rows[0].bound_s, kOneWay + kInjection, 1e-9);
  EXPECT_GE(rows[0].seconds.mean, rows[0].bound_s * 0.9999);
  EXPECT_LE(rows[0].seconds.mean, rows[0].bound_s * 1.02);
  // The ring waits for one more one-way delay.
  EXPECT_NEAR(rows[1].seconds.mean - rows[0].seconds.mean, kOneWay, 0.05 * kOneWay);
  // Both move 1 MiB out of each site, and repeat nothing.
  for (const CompareRow& row : rows) {
    EXPECT_GE(row.wan_bytes, 2 * 1048576.0 * (4096 + 98) / 4096);
    EXPECT_LE(row.wan_bytes, 2 * 1048576.0 * 1.05);
    EXPECT_EQ(row.resent_bytes, 0);
    EXPECT_EQ(row.duplicate_bytes, 0);
    EXPECT_EQ(row.parity_bytes, 0);
    EXPECT_FALSE(row.factor);  // there is no baseline
    EXPECT_FALSE(row.seconds.p99);
  }
}

TEST(Compare, ALossIsPaidForWithARoundTripOrWithParity) {
  const std::string contenders = R"(
[[contenders]]
recovery = "sr"
[[contenders]]
recovery = "auto"
[[contenders]]
recovery = "gbn"
)";
  // 256 datagrams each way: with 2 % practically every message loses some.
  const auto rows = RunAll(Load(TwoSites("loss = \"2 %\"", contenders)));
  const auto clean = RunAll(Load(TwoSites("", contenders)));
  for (size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].failure, "");
    EXPECT_EQ(clean[i].resent_bytes, 0);
    EXPECT_LE(clean[i].seconds.mean, clean[i].bound_s * 1.05);
  }
  EXPECT_GE(rows[0].seconds.mean, rows[0].bound_s + 1.9 * kOneWay);
  EXPECT_GT(rows[0].resent_bytes, 0);
  EXPECT_EQ(rows[0].parity_bytes, 0);
  EXPECT_LT(rows[1].seconds.mean, rows[0].seconds.mean);
  EXPECT_GT(rows[1].parity_bytes, 0);
  EXPECT_GT(rows[2].resent_bytes, rows[0].resent_bytes);
  EXPECT_GT(rows[2].seconds.mean, rows[0].seconds.mean);
}

// Not each rank for itself: one that is done does not give the others more time.
TEST(Compare, TheLimitIsForAllRanksTogether) {
  Scenario scenario =
      Load(TwoSites("ba = {rate = \"100 Mbps\"}", "[[contenders]]\ncongestion = \"cubic\"\n"));
  const auto rows = RunAll(scenario);
  ASSERT_EQ(rows[0].failure, "");
  EXPECT_GT(rows[0].seconds.mean, 90e-3);
  scenario.limit = TimeNs{85'000'000};  // the other's data are there long before
  EXPECT_NE(RunAll(scenario)[0].failure.find("not done within 85 ms"), std::string::npos);
}

TEST(Compare, TheSameSeedsGiveTheSameFiguresWhateverTheThreads) {
  const Scenario scenario = Load(TwoSites("loss = \"1 %\"\njitter = \"20 us\"", R"(
[[contenders]]
[[contenders]]
congestion = "bbr"
)"));
  const auto one = CompareJson(scenario, RunAll(scenario, 1)).dump();
  EXPECT_EQ(one, CompareJson(scenario, RunAll(scenario, 3)).dump());
  Scenario other = scenario;
  other.seed = 100;
  EXPECT_NE(CompareJson(scenario, RunAll(other)).dump(), one);
}

// Samples of two contenders meet the same bad moments: alike in all but their name, they take the
// same time, seed by seed.
TEST(Compare, ContendersMeetTheSameChannel) {
  const auto rows = RunAll(Load(TwoSites("loss = \"1 %\"", R"(
[[contenders]]
name = "one"
recovery = "sr"
[[contenders]]
name = "other"
recovery = "sr"
)")));
  EXPECT_EQ(rows[0].seconds.mean, rows[1].seconds.mean);
  EXPECT_GT(rows[0].seconds.mean_interval->high, rows[0].seconds.mean);
}

// The timeline's clock starts with the collective, not with the connection before it.
TEST(Compare, ATimelineStartsWithTheCollective) {
  const auto time_of = [](const std::string& at) {
    const auto rows = RunAll(
        Load(TwoSites("[[link.timeline]]\nat = \"" + at + "\"\naction = \"cut\"\nfor = \"30 ms\"",
                      "[[contenders]]\nrecovery = \"sr\"\n")));
    EXPECT_EQ(rows[0].failure, "");
    return rows[0].seconds.mean;
  };
  const double bound = kOneWay + kInjection;
  EXPECT_LE(time_of("50 ms"), 1.05 * bound);  // after it is done
  // Cut at 0.3 ms, in the sending, until 30.3 ms: nothing more arrives before 35.3 ms.
  const double cut = time_of("0.3 ms");
  EXPECT_GE(cut, 30.3e-3 + kOneWay);
  EXPECT_LE(cut, 30.3e-3 + kOneWay + 60e-3);  // a time-out that had doubled twice
}

TEST(Compare, SharedUplinksCarryAllThatLeavesASite) {
  const std::string sites =
      "samples = 2\n[[sites]]\nname = \"a\"\n[[sites]]\nname = \"b\"\n[[sites]]\nname = \"c\"\n"
      "[link]\ndelay = \"5 ms\"\nrate = \"1 Gbps\"\n"
      "[collective]\nsizes = [\"3 MiB\"]\n[[contenders]]\nrecovery = \"sr\"\n";
  const auto mesh = RunAll(Load(sites));
  const auto uplinks = RunAll(Load("topology = \"uplinks\"\n" + sites));
  ASSERT_EQ(mesh[0].failure, "");
  ASSERT_EQ(uplinks[0].failure, "");
  const double third = 1048576.0 * (4096 + 98) / 4096 * 8 / 1e9;
  EXPECT_NEAR(mesh[0].bound_s, kOneWay + 2 * third, 1e-9);
  EXPECT_NEAR(uplinks[0].bound_s, kOneWay + 4 * third, 1e-9);
  // Reduce-scatter, then all-gather, slot by slot: up to one delay more than the bound.
  for (const auto& rows : {mesh, uplinks}) {
    EXPECT_GE(rows[0].seconds.mean, rows[0].bound_s);
    EXPECT_LE(rows[0].seconds.mean, rows[0].bound_s + kOneWay);
  }
}

TEST(Compare, CrossTrafficTakesItsShare) {
  const std::string contender = "[[contenders]]\n";
  const std::string cross =
      "[[cross]]\nfrom = \"a\"\nto = \"b\"\ncongestion = \"fixed\"\nrate = \"5 Gbps\"\n";
  const std::string top = "cross_warm_up = \"200 ms\"\n";
  const auto alone = RunAll(Load(TwoSites("limit = \"10 ms\"", contender)));
  const auto beside = RunAll(Load(top + TwoSites("limit = \"10 ms\"", contender + cross)));
  ASSERT_EQ(beside[0].failure, "");
  EXPECT_EQ(alone[0].cross_bits_per_s, 0);
  EXPECT_NEAR(beside[0].cross_bits_per_s, 5e9 * 4096 / 4194, 0.1 * 5e9);
  EXPECT_LE(alone[0].seconds.mean, 1.05 * alone[0].bound_s);
  // Half as much again comes as can leave, for as long as the message does.
  EXPECT_NEAR(beside[0].seconds.mean - alone[0].seconds.mean, kInjection / 2, 0.1 * kInjection);
}

TEST(Compare, WhatIsNotDoneInTimeIsARowThatSaysSo) {
  Scenario scenario = Load(TwoSites("loss = \"2 %\"", "[[contenders]]\nrecovery = \"gbn\"\n"));
  scenario.limit = TimeNs{25'000'000};
  const auto rows = RunAll(scenario);
  EXPECT_NE(rows[0].failure.find("25 ms"), std::string::npos) << rows[0].failure;
  EXPECT_NE(CompareText(scenario, rows).find("failed: "), std::string::npos);
  EXPECT_TRUE(CompareJson(scenario, rows)["rows"][0].contains("failure"));
}

// Whole datagrams in a slot of each contender. 8 MiB in each direction, 500 km of fiber until it
// is cut in 200 km at 2 ms, 800 km from 22 ms on.
std::string OverTime(const std::string& timeline) {
  return R"(samples = 1
over_time = "100 us"
[[sites]]
name = "a"
[[sites]]
name = "b"
[link]
distance = "500 km"
rate = "1 Gbps"
)" + timeline +
         R"([collective]
sizes = ["8 MiB"]
[[contenders]]
recovery = "sr"
buffsize = "8 MiB"
[[contenders]]
buffsize = "8 MiB"
[[contenders]]
transport = "rc-sr"
[[contenders]]
transport = "tcp"
)";
}

constexpr const char* kSwitch = R"([[link.timeline]]
at = "2 ms"
action = "protection-switch"
position = "200 km"
outage = "20 ms"
distance = "800 km"
)";

uint64_t Received(const CompareRow& row, double from_s, double to_s) {
  uint64_t sum = 0;
  for (size_t i = 0; i < row.over_time.size(); ++i) {
    const double begin = static_cast<double>(i) * 1e-4;
    if (begin >= from_s - 1e-9 && begin + 1e-4 <= to_s + 1e-9) sum += row.over_time[i].received;
  }
  return sum;
}

// Whether tuning helped or not: the factor is against the best of what a user of today's transports
// could have had, of the same class.
TEST(Compare, TheFactorIsAgainstTheBestBaselineHoweverItIsTuned) {
  Scenario scenario = Load(TwoSites("", R"([[contenders]]
[[contenders]]
transport = "rc-sr"
tuning = "default"
[[contenders]]
transport = "rc-sr"
[[contenders]]
transport = "tcp"
)"));
  scenario.samples = 1;
  const auto factors = [&](const std::vector<double>& seconds) {
    auto rows = RowsOf(scenario);
    std::vector<CompareSample> samples(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) samples[i].seconds = seconds[i];
    Conclude(scenario, samples, rows);
    std::vector<double> all;
    for (const CompareRow& row : rows) all.push_back(row.factor.value_or(0));
    return all;
  };
  EXPECT_EQ(factors({1, 3, 4, 2}), (std::vector<double>{3, 1, 0.75, 1}));  // default was better
  EXPECT_EQ(factors({1, 6, 4, 2}), (std::vector<double>{4, 4.0 / 6, 1, 1}));
}

TEST(Scenarios, StandardBaselinesAreAsTheyComeAndTuned) {
  std::map<std::string, int> tunings;
  for (const ContenderSpec& contender : Load(TwoSites("", "")).contenders) {
    if (contender.baseline())
      tunings[contender.transport + contender.congestion] += contender.tuned ? 1 : 10;
  }
  EXPECT_EQ(tunings.size(), 4u);
  for (const auto& [name, both] : tunings) EXPECT_EQ(both, 11) << name;
}

TEST(Compare, WhatIsRecordedOverTimeAddsUp) {
  Scenario scenario = Load(OverTime(kSwitch));
  const auto rows = RunAll(scenario);
  for (const CompareRow& row : rows) {
    const std::string& name = scenario.contenders[row.contender].name;
    ASSERT_EQ(row.failure, "") << name;
    TrafficBytes sum;
    for (const TrafficBytes& interval : row.over_time) sum += interval;
    EXPECT_EQ(sum.received, 2u * (8 << 20)) << name;
    EXPECT_EQ(row.user_bytes, 2u * (8 << 20)) << name;
    EXPECT_EQ(static_cast<double>(sum.resent), row.resent_bytes) << name;
    EXPECT_EQ(static_cast<double>(sum.parity), row.parity_bytes) << name;
    EXPECT_EQ(static_cast<double>(sum.duplicate), row.duplicate_bytes) << name;
    // All that was sent into the cut had to be sent again.
    EXPECT_GT(sum.resent, 0u) << name;
    EXPECT_GE(static_cast<double>(row.over_time.size()) * 1e-4, row.seconds.mean) << name;
  }
  // That somebody looked changes nothing.
  scenario.over_time = {};
  const auto unseen = RunAll(scenario);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(unseen[i].over_time.empty());
    EXPECT_EQ(unseen[i].seconds.mean, rows[i].seconds.mean);
    EXPECT_EQ(unseen[i].wan_bytes, rows[i].wan_bytes);
  }
}

TEST(Compare, NothingArrivesWhileTheFiberIsCut) {
  const Scenario scenario = Load(OverTime(kSwitch));
  const auto rows = RunAll(scenario);
  const auto whole = RunAll(Load(OverTime("")));
  constexpr double kPerKm = 4.8974e-6;
  // The last that had passed the cut, and the first that can come by the new fiber.
  const double last = 2e-3 + 300 * kPerKm, first = 22e-3 + 800 * kPerKm;
  ASSERT_LT(last, 3.5e-3);
  ASSERT_GT(first, 25.9e-3);
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string& name = scenario.contenders[i].name;
    EXPECT_GT(Received(rows[i], 0, 3.5e-3), 0u) << name;
    EXPECT_EQ(Received(rows[i], 3.5e-3, 25.9e-3), 0u) << name;
    EXPECT_GT(Received(rows[i], 25.9e-3, 1), 0u) << name;
    EXPECT_GT(Received(whole[i], 3.5e-3, 25.9e-3), 0u) << name;
  }
  // Who goes on sending is heard as soon as light allows.
  EXPECT_GT(Received(rows[0], 25.9e-3, 26.0e-3), 0u);
}

// What the links between D sites were offered, framing and all: 2 (D - 1) / D of S out of each
// site. The twins: a direct exchange of all ranks, each with those of the other sites, sends what
// their number gives, and the ring passes all of its steps from site to site.
TEST(Scenarios, FiveSitesMoveWhatTheirScheduleSaysOnTheWires) {
  auto scenario = LoadScenario(FARSPAN_SOURCE_DIR "/traces/scenarios/five-campuses.toml");
  ASSERT_TRUE(scenario) << scenario.error().text();
  constexpr double kSites = 5, kRanks = 10;
  const double remote = kRanks - 2;
  scenario->samples = 1;
  scenario->sizes = {10 << 20};
  const ContenderSpec spec = scenario->contenders[1];
  ASSERT_EQ(spec.name, "span sr, fixed");
  scenario->contenders.assign(3, spec);
  scenario->contenders[1].schedule = collectives::Schedule::kDirect;
  scenario->contenders[2].schedule = collectives::Schedule::kRing;
  const auto rows = RunAll(*scenario);
  ASSERT_EQ(rows.size(), 3u);
  const auto size = static_cast<double>(rows[0].bytes);
  const std::array<double, 3> user{kSites * 2 * (kSites - 1) / kSites * size,
                                   kRanks * 2 * remote / kRanks * size,
                                   kSites * 2 * (kRanks - 1) / kRanks * size};
  for (size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].failure, "");
    EXPECT_EQ(static_cast<double>(rows[i].user_bytes), user[i]) << i;
    // Full datagrams at least; acknowledgements, what was lost and the last of each slot besides.
    EXPECT_GE(rows[i].wan_bytes, user[i] * 4194 / 4096) << i;
    EXPECT_LE(rows[i].wan_bytes, user[i] * 4194 / 4096 * 1.01) << i;
  }
}

// Where swift once took ten seconds, the age at which it forgets the old path's round trip.
// Loss-based rivals take 0.3 s, and grow by a packet a round trip from where the outage left them.
TEST(Scenarios, AProtectionSwitchIsOverWithinASecondForSwift) {
  auto scenario = LoadScenario(FARSPAN_SOURCE_DIR "/traces/scenarios/protection-switch.toml");
  ASSERT_TRUE(scenario) << scenario.error().text();
  scenario->samples = 1;
  std::erase_if(scenario->contenders, [](const auto& one) { return one.congestion != "swift"; });
  const auto rows = RunAll(*scenario);
  ASSERT_EQ(rows.size(), 1u);
  ASSERT_EQ(rows[0].failure, "");
  EXPECT_GE(rows[0].seconds.mean, 0.028);  // the longer fiber takes over: the switch was inside
  EXPECT_LE(rows[0].seconds.mean, 1.0);
}

TEST(Compare, TheBoundIsOfWhoNeedsTheFewestBytes) {
  const std::string sites = TwoSites("", "[[contenders]]\n");
  const std::string gbn = "[[contenders]]\ntransport = \"rc-gbn\"\n";
  const std::string tcp = "[[contenders]]\ntransport = \"tcp\"\n";
  const auto bound = [](const std::string& text, bool real_time) {
    Scenario scenario = Load(text);
    scenario.real_time = real_time;
    return LowerBound(scenario, scenario.points[0], 1 << 20);
  };
  const double line = 1048576.0 * 8 / 10e9;
  EXPECT_NEAR(bound(sites, false), kOneWay + line * (4096 + 98) / 4096, 1e-9);
  EXPECT_NEAR(bound(sites + tcp, false), kOneWay + line * (4096 + 90) / 4096, 1e-9);
  EXPECT_NEAR(bound(sites + tcp + gbn, false), kOneWay + line * (4096 + 82) / 4096, 1e-9);
  // The kernel fills the MTU that Span's datagrams need.
  EXPECT_NEAR(bound(sites + tcp, true), kOneWay + line * (4136 + 90) / 4136, 1e-9);
  EXPECT_NEAR(bound(sites, true), bound(sites, false), 1e-12);
}

std::vector<std::filesystem::path> Library() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(FARSPAN_SOURCE_DIR "/traces/scenarios")) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// One sample of a small size, of all contenders that the file has. Some are faster than if all had
// headers as long as Span's: the bound has to be of the shortest ones.
TEST(Scenarios, EachCommittedOneRuns) {
  const auto files = Library();
  EXPECT_GE(files.size(), 8u);
  int below_bound_of_span = 0;
  for (const auto& file : files) {
    auto scenario = LoadScenario(file);
    ASSERT_TRUE(scenario) << scenario.error().text();
    scenario->samples = 1;
    scenario->cross_warm_up = TimeNs{20'000'000};
    scenario->sizes = {16 * 1024 * 15};
    const auto rows = RunAll(*scenario);
    Scenario span = *scenario;
    std::erase_if(span.contenders, [](const auto& one) { return one.transport != "span"; });
    EXPECT_EQ(rows.size(), scenario->points.size() * scenario->contenders.size());
    for (const CompareRow& row : rows) {
      EXPECT_EQ(row.failure, "") << file << ": " << scenario->contenders[row.contender].name;
      EXPECT_GE(row.seconds.mean, row.bound_s * 0.999)
          << file << ": " << scenario->contenders[row.contender].name;
      const double bound = LowerBound(span, span.points[row.point], row.bytes);
      below_bound_of_span += row.seconds.mean < bound * 0.999 ? 1 : 0;
    }
  }
  EXPECT_GT(below_bound_of_span, 0);
}

}  // namespace
}  // namespace farspan::testbed
