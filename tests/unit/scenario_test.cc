// Scenarios: what their files come to, and what bad ones are told.
#include "transports/testbed/scenario.h"

#include <gtest/gtest.h>

#include <algorithm>

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
      {"[[contenders]]\ncongestion = \"fixd\"", "test.toml:14:14", "\"fixed\""},
      {"[[contenders]]\nrecovery = \"hope\"", "test.toml:14:12", "\"auto\""},
      {"[[contenders]]\nwindow = 5", "test.toml:14:10", "5"},
      {"[[contenders]]\n[[contenders]]", "test.toml:14:1", "there already"},
      {"[[contenders]]\nschedule = \"hierarchical\"\n[[sites]]\nname = \"west\"", "test.toml:16:8",
       "taken"},
      {"[[cross]]\nfrom = \"west\"\nto = \"east\"\ncongestion = \"fixed\"", "test.toml:13:1",
       "needs a \"rate\""},
      {"topology = \"star\"", "test.toml:1:12", "expected \"mesh\", \"uplinks\""},
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
