// Scenarios: what their files come to, and what bad ones are told.
#include "transports/testbed/scenario.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "emulator/config/loader.h"
#include "emulator/link/loss.h"
#include "emulator/link/path.h"

namespace farspan::testbed {
namespace {

// Lines 1-12.
constexpr std::string_view kTwoSites = R"([[sites]]
name = "west"
city = "SJC"
[[sites]]
name = "east"
city = "NYC"
[link]
distance = "500 km"
rate = "400 Gbps"
[collective]
sizes = ["1 MiB"]

)";

Result<Scenario> Parse(const std::string& more) {
  return ParseScenario(std::string(kTwoSites) + more, "test.toml");
}

TEST(Scenario, DefaultsAreThoseOfTheDocumentation) {
  const auto scenario = Parse("");
  ASSERT_TRUE(scenario) << scenario.error().text();
  EXPECT_EQ(scenario->name, "test");
  EXPECT_EQ(scenario->samples, 200u);
  EXPECT_EQ(scenario->warm_up, 1u);
  EXPECT_EQ(scenario->payload_bytes, 4096u);
  EXPECT_EQ(scenario->schedule, collectives::Schedule::kDirect);
  ASSERT_EQ(scenario->points.size(), 1u);
  ASSERT_EQ(scenario->points[0].links.size(), 2u);
  const link::DirectionSpec& spec = scenario->points[0].links.at({0, 1});
  EXPECT_EQ(spec.lanes[0].rate.bits_per_s, 400'000'000'000u);
  EXPECT_EQ(spec.lanes[0].path.length.mm, 500'000'000);
  EXPECT_GE(scenario->contenders.size(), 6u);
}

TEST(Scenario, ASweepLiesOverEveryLink) {
  const auto scenario = Parse("[sweep]\ndistance = [\"80 km\", \"3750 km\"]\n");
  ASSERT_TRUE(scenario) << scenario.error().text();
  EXPECT_EQ(scenario->sweep, "distance");
  ASSERT_EQ(scenario->points.size(), 2u);
  EXPECT_EQ(scenario->points[1].value, "3750 km");
  for (const auto& [pair, spec] : scenario->points[1].links) {
    EXPECT_EQ(spec.lanes[0].path.length.mm, 3'750'000'000) << pair.first;
  }
  EXPECT_EQ(scenario->points[0].links.at({1, 0}).lanes[0].path.length.mm, 80'000'000);
}

TEST(Scenario, PairsMayDifferAndTheirDirections) {
  const auto scenario = Parse(R"([[links]]
a = "east"
b = "west"
rate = "100 Gbps"
[links.ba]
loss = "1e-4"
)");
  ASSERT_TRUE(scenario) << scenario.error().text();
  const auto& links = scenario->points[0].links;
  EXPECT_EQ(links.at({0, 1}).lanes[0].rate.bits_per_s, 100'000'000'000u);
  EXPECT_EQ(links.at({0, 1}).lanes[0].path.length.mm, 500'000'000);
  // "ba" is from b to a as the file names them: west to east.
  EXPECT_EQ(links.at({0, 1}).lanes[0].loss.probability, 1e-4);
  EXPECT_EQ(links.at({1, 0}).lanes[0].loss.kind, link::LossKind::kNone);
}

TEST(Scenario, ContendersSayWhatTheyAre) {
  const auto scenario = Parse(R"([[contenders]]
recovery = "sr"
congestion = "bbr"
schedule = "ring"
channels = 2
buffsize = "8 MiB"
[[contenders]]
name = "ours"
window = "64 MiB"
tuning = "default"
)");
  ASSERT_TRUE(scenario) << scenario.error().text();
  ASSERT_EQ(scenario->contenders.size(), 2u);
  EXPECT_EQ(scenario->contenders[0].name, "span sr, bbr");
  EXPECT_EQ(scenario->contenders[0].rate_class, RateClass::kControlled);
  EXPECT_EQ(scenario->contenders[0].schedule, collectives::Schedule::kRing);
  EXPECT_EQ(scenario->contenders[0].buffsize, 8u << 20);
  EXPECT_EQ(scenario->contenders[1].rate_class, RateClass::kProvisioned);
  EXPECT_EQ(scenario->contenders[1].window_bytes, 64u << 20);
  EXPECT_FALSE(scenario->contenders[1].tuned);
}

TEST(Scenario, ALibraryIsAContenderAndNoBaseline) {
  const auto scenario = Parse(R"([[contenders]]
transport = "lib/mine.so"
options = "loud"
)");
  ASSERT_TRUE(scenario) << scenario.error().text();
  const ContenderSpec& library = scenario->contenders.at(0);
  EXPECT_EQ(library.name, "mine");
  EXPECT_EQ(library.library, std::filesystem::absolute("lib/mine.so"));
  EXPECT_EQ(library.options, "loud");
  EXPECT_EQ(library.rate_class, RateClass::kControlled);
  EXPECT_EQ(library.schedule, scenario->schedule);
  EXPECT_FALSE(library.baseline());
}

TEST(Scenario, BadFilesAreToldWhereAndWhatWasExpected) {
  const struct {
    const char* more;
    const char* place;
    const char* word;
  } kRows[] = {
      {"sample = 3", "test.toml:1:1", "did you mean \"samples\"?"},
      {"[sweep]\ndistence = [\"80 km\"]", "test.toml:14:1", "did you mean \"distance\""},
      {"[sweep]\ndistance = [\"80\"]", "test.toml:14:13", "distance: "},
      {"[sweep]\ndistance = \"80 km\"", "test.toml:13:1", "expected one key of a link"},
      {"[sweep]\nloss = []", "test.toml:13:1", "expected one key of a link"},
      {"[[links]]\na = \"west\"\nb = \"est\"", "test.toml:15:5", "\"east\""},
      {"[[links]]\na = \"west\"\nb = \"west\"", "test.toml:15:5", "two different sites"},
      {"[[links]]\na = \"west\"\nb = \"east\"\nrat = 1", "test.toml:16:1", "\"rate\""},
      {"[[contenders]]\ntransport = \"spam\"", "test.toml:14:13", "did you mean \"span\""},
      {"[[contenders]]\noptions = \"x\"", "test.toml:14:1", "options"},
      {"[[contenders]]\ncongestion = \"fixd\"", "test.toml:14:14", "\"fixed\""},
      {"[[contenders]]\nrecovery = \"hope\"", "test.toml:14:12", "\"auto\""},
      {"[[contenders]]\nwindow = 5", "test.toml:14:10", "5"},
      {"[[contenders]]\n[[contenders]]", "test.toml:14:1", "there already"},
      {"[[contenders]]\nschedule = \"hierarchical\"\n[[sites]]\nname = \"west\"", "test.toml:16:8",
       "taken"},
      {"[[cross]]\nfrom = \"west\"\nto = \"east\"\ncongestion = \"fixed\"", "test.toml:13:1",
       "needs a \"rate\""},
      {"over_time = \"1 us\"", "test.toml:1:13", "expected at least 60 us"},
      {"topology = \"star\"", "test.toml:1:12", "expected \"mesh\", \"uplinks\""},
      {"[[contenders]]\nschedule = \"rign\"", "test.toml:14:12", "did you mean \"ring\""},
  };
  for (const auto& row : kRows) {
    const bool table = std::string_view(row.more).starts_with("[");
    const auto scenario =
        table ? Parse(row.more)
              : ParseScenario(row.more + std::string("\n") + std::string(kTwoSites), "test.toml");
    ASSERT_FALSE(scenario) << row.more;
    EXPECT_EQ(scenario.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(scenario.error().context, row.place) << scenario.error().text();
    EXPECT_NE(scenario.error().message.find(row.word), std::string::npos)
        << scenario.error().text();
  }
}

TEST(Scenario, WithoutSizesTheFileIsNamed) {
  const std::string sites = "[[sites]]\nname = \"a\"\n[[sites]]\nname = \"b\"\n";
  for (const auto& [collective, place] :
       {std::pair{"[collective]\nkind = \"alltoall\"\n", "test.toml:5:1"}, {"", "test.toml:1:1"}}) {
    const auto scenario = ParseScenario(sites + collective, "test.toml");
    ASSERT_FALSE(scenario);
    EXPECT_EQ(scenario.error().context, place) << scenario.error().text();
    EXPECT_NE(scenario.error().message.find("[collective]: has no \"sizes\""), std::string::npos);
  }
}

TEST(Scenario, SizesThatCutElementsAreRefusedWhereTheyStand) {
  const std::string text = R"([[sites]]
name = "a"
[[sites]]
name = "b"
[link]
delay = "1 ms"
rate = "1 Gbps"
[collective]
kind = "alltoall"
sizes = ["6 B"]
)";
  const auto scenario = ParseScenario(text, "test.toml");
  ASSERT_FALSE(scenario);
  EXPECT_EQ(scenario.error().context, "test.toml:10:10");
  EXPECT_NE(scenario.error().message.find("whole elements"), std::string::npos);
}

TEST(Scenario, ALinkNeedsALengthAndARate) {
  for (const auto& [keys, word] :
       {std::pair{"rate = \"1 Gbps\"", "distance, delay, rtt, route"},
        {"delay = \"1 ms\"", "rate"},
        {"delay = \"1 ms\"\nrate = \"1 Gbps\"\nrules = [{protocol = \"udp\", action = \"drop\"}]",
         "virtual time"}}) {
    const auto scenario =
        ParseScenario("[[sites]]\nname = \"a\"\n[[sites]]\nname = \"b\"\n[link]\n" +
                          std::string(keys) + "\n[collective]\nsizes = [\"1 MiB\"]\n",
                      "test.toml");
    ASSERT_FALSE(scenario) << keys;
    EXPECT_NE(scenario.error().message.find(word), std::string::npos) << scenario.error().text();
  }
}

config::EmulatorConfig EngineConfig(const Scenario& scenario, const ScenarioPoint& point) {
  std::string text = scenario.sites.size() > 2 ? "mode = \"mesh\"\n" : "";
  for (size_t i = 0; i < scenario.sites.size(); ++i) {
    const std::string number = std::to_string(i);
    text += "[[sites]]\nname = \"" + scenario.sites[i] + "\"\nport = \"s" + number +
            "\"\nprefixes = [\"10.77." + number + ".0/24\"]\n";
    if (!scenario.cities[i].empty()) text += "city = \"" + scenario.cities[i] + "\"\n";
  }
  const auto loaded = config::LoadText(text + scenario.engine_links, "test", point.engine_sets);
  EXPECT_TRUE(loaded) << loaded.error().text() << "\n" << text << scenario.engine_links;
  return loaded.value_or(config::EmulatorConfig{});
}

void ExpectSame(const link::DirectionSpec& engine, const link::DirectionSpec& scenario) {
  ASSERT_EQ(engine.lanes.size(), scenario.lanes.size());
  for (size_t i = 0; i < engine.lanes.size(); ++i) {
    EXPECT_EQ(engine.lanes[i].rate.bits_per_s, scenario.lanes[i].rate.bits_per_s);
    EXPECT_EQ(link::OneWayDelay(engine.lanes[i].path).ns,
              link::OneWayDelay(scenario.lanes[i].path).ns);
    EXPECT_EQ(engine.lanes[i].loss.kind, scenario.lanes[i].loss.kind);
    EXPECT_EQ(engine.lanes[i].loss.keying, scenario.lanes[i].loss.keying);
    EXPECT_EQ(link::ExpectedLoss(engine.lanes[i].loss, 1538, engine.lanes[i].rate),
              link::ExpectedLoss(scenario.lanes[i].loss, 1538, scenario.lanes[i].rate));
  }
  EXPECT_EQ(engine.bottleneck.classes[0].limit.bytes, scenario.bottleneck.classes[0].limit.bytes);
  EXPECT_EQ(engine.bottleneck.classes[0].limit.time, scenario.bottleneck.classes[0].limit.time);
  EXPECT_EQ(engine.jitter.deviation, scenario.jitter.deviation);
  ASSERT_EQ(engine.timeline.size(), scenario.timeline.size());
  for (size_t i = 0; i < engine.timeline.size(); ++i) {
    EXPECT_EQ(engine.timeline[i].at, scenario.timeline[i].at);
    EXPECT_EQ(engine.timeline[i].change.index(), scenario.timeline[i].change.index());
  }
}

// What the emulator makes of the links is what virtual time runs.
void ExpectSameLinks(const Scenario& scenario) {
  for (const ScenarioPoint& point : scenario.points) {
    const config::EmulatorConfig engine = EngineConfig(scenario, point);
    for (const config::LinkSpec& link : engine.links) {
      const auto site = [&](const std::string& name) {
        const auto at = std::find(scenario.sites.begin(), scenario.sites.end(), name);
        return static_cast<uint32_t>(at - scenario.sites.begin());
      };
      const uint32_t a = site(link.a), b = site(link.b);
      ExpectSame(link.ab, point.links.at({a, b}));
      ExpectSame(link.ba, point.links.at({b, a}));
    }
    EXPECT_EQ(engine.links.size() * 2, point.links.size());
  }
}

TEST(Scenario, TheEmulatorGetsTheSameLinks) {
  for (const auto& entry :
       std::filesystem::directory_iterator(FARSPAN_SOURCE_DIR "/traces/scenarios")) {
    if (entry.path().extension() != ".toml") continue;
    SCOPED_TRACE(entry.path().string());
    const auto scenario = LoadScenario(entry.path());
    ASSERT_TRUE(scenario) << scenario.error().text();
    if (!scenario->shared_uplinks) ExpectSameLinks(*scenario);
  }
}

// Nearer tables come first, with their directions and without: length, loss, limit.
TEST(Scenario, TheEmulatorGetsLayersAsTheScenarioReadsThem) {
  const auto scenario = Parse(R"([[links]]
a = "east"
b = "west"
rtt = "7 ms"
limit = "3 ms"
[links.ab]
loss = "1e-3"
[links.ba]
delay = "9 ms"
[link.ab]
loss = "1e-6"
limit = "1 MiB"
[link.ba]
distance = "80 km"
jitter = "50 us"
[[link.ba.timeline]]
at = "1 ms"
action = "cut"
for = "2 ms"
[sweep]
rate = ["1 Gbps", "2 Gbps"]
)");
  ASSERT_TRUE(scenario) << scenario.error().text();
  ExpectSameLinks(*scenario);
  EXPECT_EQ(link::OneWayDelay(scenario->points[0].links.at({0, 1}).lanes[0].path).ns, 9'000'000);
}

TEST(Scenario, ScalesDownRatesAndSizesAndNothingElse) {
  const std::string text = R"([[sites]]
name = "west"
[[sites]]
name = "east"
[link]
delay = "5 ms"
limit = "64 MiB"
loss = "1e-4"
[sweep]
rate = ["400 Gbps", "100 Gbps"]
[collective]
sizes = ["64 MiB", "4 KiB"]
[[contenders]]
buffsize = "8 MiB"
)";
  const auto scenario = ParseScenario(text, "test.toml", {}, 400);
  ASSERT_TRUE(scenario) << scenario.error().text();
  const link::DirectionSpec& spec = scenario->points[0].links.at({0, 1});
  EXPECT_EQ(spec.lanes[0].rate.bits_per_s, 1'000'000'000u);
  EXPECT_EQ(scenario->points[1].links.at({1, 0}).lanes[0].rate.bits_per_s, 250'000'000u);
  EXPECT_EQ(spec.bottleneck.classes[0].limit.bytes, (64u << 20) / 400);
  EXPECT_EQ(link::OneWayDelay(spec.lanes[0].path).ns, 5'000'000);
  EXPECT_EQ(spec.lanes[0].loss.probability, 1e-4);
  EXPECT_EQ(scenario->payload_bytes, 4096u);
  EXPECT_EQ(scenario->sizes, (std::vector<uint64_t>{(64u << 20) / 400 / 8192 * 8192, 8192}));
  EXPECT_EQ(scenario->contenders[0].buffsize, (8u << 20) / 400);
  ExpectSameLinks(*scenario);
}

TEST(Scenario, NamesAreFoundInTheLibrary) {
  const std::filesystem::path library = FARSPAN_SOURCE_DIR "/traces/scenarios";
  const auto found = FindScenario("two-campuses", library);
  ASSERT_TRUE(found);
  EXPECT_TRUE(std::filesystem::exists(*found));
  EXPECT_EQ(*FindScenario("./my.toml", library), "./my.toml");
  const auto missing = FindScenario("two-campusses", library);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("did you mean \"two-campuses\"?"), std::string::npos);
}

}  // namespace
}  // namespace farspan::testbed
