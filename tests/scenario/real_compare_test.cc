// Comparisons by real hosts, as far as they go without any: what is asked of the lab, what becomes
// of its answer, and what is refused.
#include "transports/testbed/real_compare.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "transports/testbed/compare_case.h"
#include "transports/testbed/compare_record.h"
#include "transports/testbed/gate.h"
#include "transports/testbed/report.h"

namespace farspan::testbed {
namespace {

using nlohmann::json;

constexpr std::string_view kSmall = R"(samples = 2
seed = 7
payload = "1408 B"
[[sites]]
name = "west"
[[sites]]
name = "east"
[link]
delay = "5 ms"
rate = "100 Mbps"
[sweep]
loss = [0, 1e-3]
[collective]
kind = "sendrecv"
sizes = ["1 MiB"]
[[contenders]]
congestion = "bbr"
[[contenders]]
transport = "rc-sr"
[[contenders]]
transport = "tcp"
)";

Scenario Small() {
  auto scenario = ParseScenario(kSmall, "small.toml");
  EXPECT_TRUE(scenario) << scenario.error().text();
  auto real = ForRealTime(std::move(*scenario));
  EXPECT_TRUE(real) << real.error().text();
  return *real;
}

// Takes a second at the first point, two at the second; TCP's second certificate is not valid.
json Answer(const json& plan) {
  json runs = json::array();
  for (const json& run : plan["runs"]) {
    const size_t row = run["row"];
    const bool valid = row % 2 == 0 || run["sample"] == 0;
    runs.push_back({{"row", row},
                    {"sample", run["sample"]},
                    {"seconds", row < 2 ? 1.0 : 2.0},
                    {"cpu_s", 0.25},
                    {"wan_bytes", 2'500'000},
                    {"resent", 1408},
                    {"duplicate", 0},
                    {"parity", 0},
                    {"certificate", {{"valid", valid}, {"seed", run["seed"]}}}});
  }
  return {{"runs", runs}, {"machine", json::object()}};
}

TEST(RealCompare, ThePlanInterleavesContendersAndGivesEachSampleItsSeed) {
  const Scenario scenario = Small();
  ASSERT_EQ(scenario.contenders.size(), 2u) << "rc has nothing to run on";
  const json plan = RealPlan(scenario, {"farspan", "compare", "small.toml"});
  EXPECT_EQ(plan["mtu"], 1500);
  ASSERT_EQ(plan["runs"].size(), 8u);
  const std::vector<std::pair<size_t, uint64_t>> order{{0, 7}, {1, 7}, {0, 8}, {1, 8},
                                                       {2, 7}, {3, 7}, {2, 8}, {3, 8}};
  for (size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(plan["runs"][i]["row"], order[i].first) << i;
    EXPECT_EQ(plan["runs"][i]["seed"], order[i].second) << i;
  }
  EXPECT_EQ(plan["runs"][0]["sets"], json({"link.west-east.loss=0"}));
  EXPECT_EQ(plan["runs"][7]["sets"], json({"link.west-east.loss=0.001"}));
}

TEST(RealCompare, AnswersBecomeRowsWithTheirCertificatesAndCost) {
  const Scenario scenario = Small();
  const auto rows = ReadReal(scenario, Answer(RealPlan(scenario, {})));
  ASSERT_TRUE(rows) << rows.error().text();
  ASSERT_EQ(rows->size(), 4u);
  EXPECT_EQ((*rows)[0].seconds.mean, 1);
  EXPECT_EQ((*rows)[2].seconds.mean, 2);
  // Send/recv moves the size from each of the two sites.
  EXPECT_NEAR((*rows)[0].measured->cpu_s_per_gb, 0.25e9 / (2 << 20), 1e-9);
  EXPECT_EQ((*rows)[0].measured->valid(), 2u);
  EXPECT_EQ((*rows)[1].measured->valid(), 1u);
  EXPECT_EQ((*rows)[1].factor, std::optional<double>(1));

  const std::string text = CompareText(scenario, *rows);
  for (const char* word : {"real time", "CPU s/GB", "2 of 2", "INVALID: 1 of 2"}) {
    EXPECT_NE(text.find(word), std::string::npos) << word << text;
  }
  const json out = CompareJson(scenario, *rows);
  EXPECT_EQ(out["label"], "measured");
  EXPECT_EQ(out["rows"][1]["certificates"][1]["valid"], false);
  EXPECT_EQ(out["rows"][1]["certificates"][1]["seed"], 8);
  const auto record = ParseCompare(out.dump(), "test");
  ASSERT_TRUE(record) << record.error().text();
  EXPECT_NE(ReportHtml({*record}).find("measured"), std::string::npos);
  EXPECT_TRUE(AllPassed(Judge(*record, *record, 0.02)));
}

TEST(RealCompare, ARowThatNoCertificateStandsForPassesNoGate) {
  const Scenario scenario = Small();
  json answer = Answer(RealPlan(scenario, {}));
  for (json& run : answer["runs"]) {
    if (run["row"] == 2) run["certificate"] = run["sample"] == 0 ? json() : json{{"valid", false}};
  }
  const auto rows = ReadReal(scenario, answer);
  ASSERT_TRUE(rows);
  EXPECT_EQ((*rows)[2].measured->valid(), 0u);
  const auto record = ParseCompare(CompareJson(scenario, *rows).dump(), "test");
  ASSERT_TRUE(record);
  const auto verdicts = Judge(*record, *record, 0.02);
  EXPECT_TRUE(verdicts[0].passed);
  EXPECT_FALSE(verdicts[2].passed);
  EXPECT_NE(verdicts[2].verdict.find("no certificate is valid"), std::string::npos);
}

TEST(RealCompare, WhatFailedOrWasNotRunIsARowThatSaysSo) {
  const Scenario scenario = Small();
  json answer = Answer(RealPlan(scenario, {}));
  answer["runs"].erase(7);
  answer["runs"][0] = {
      {"row", 0}, {"sample", 0}, {"failure", "rank 1 is gone"}, {"certificate", nullptr}};
  const auto rows = ReadReal(scenario, answer);
  ASSERT_TRUE(rows) << rows.error().text();
  EXPECT_EQ((*rows)[0].failure, "rank 1 is gone");
  EXPECT_EQ((*rows)[1].failure, "");
  EXPECT_EQ((*rows)[3].failure, "was not run");
  EXPECT_NE(CompareText(scenario, *rows).find("failed: rank 1 is gone"), std::string::npos);
  EXPECT_FALSE(ReadReal(scenario, json::object()));
  answer["runs"][1]["row"] = 4;
  EXPECT_FALSE(ReadReal(scenario, answer));
}

TEST(RealCompare, WhatTheMachineCannotCarryIsRefusedWithTheWayOut) {
  const std::string small(kSmall);
  const auto replaced = [&](const std::string& what, const std::string& with) {
    std::string text = small;
    text.replace(text.find(what), what.size(), with);
    return text;
  };
  const std::map<std::string, std::string> cases{
      {replaced("100 Mbps", "400 Gbps"), "--scale 400"},
      {"topology = \"uplinks\"\n" + small, "virtual time alone"},
      {small + "[[cross]]\nfrom = \"west\"\nto = \"east\"\n", "virtual time alone"}};
  for (const auto& [text, word] : cases) {
    auto scenario = ParseScenario(text, "small.toml");
    ASSERT_TRUE(scenario) << scenario.error().text();
    const auto real = ForRealTime(std::move(*scenario));
    ASSERT_FALSE(real) << text;
    EXPECT_NE(real.error().message.find(word), std::string::npos) << real.error().message;
  }
  Scenario models = Small();
  for (ContenderSpec& contender : models.contenders) contender.transport = "rc-gbn";
  const auto none = ForRealTime(models);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("only span, tcp and libraries"), std::string::npos);
  EXPECT_TRUE(ForRealTime(*ParseScenario(replaced("100 Mbps", "400 Gbps"), "s", {}, 400)));
}

// All-reduce in a direct exchange of two: each sends its values once. A ring of three: four thirds
// of them from each to the next.
TEST(RealCompare, CrossingBytesAreWhatSitesSend) {
  const auto crossing = [](const std::string& text) {
    const auto scenario = ParseScenario(text, "s.toml");
    EXPECT_TRUE(scenario) << scenario.error().text();
    return CrossingBytes(MakeCase(*scenario, RowsOf(*scenario)[0]));
  };
  const std::string two =
      "[[sites]]\nname = \"a\"\n[[sites]]\nname = \"b\"\n[link]\ndelay = \"5 ms\"\nrate = \"1 "
      "Gbps\"\n[collective]\nsizes = [\"3 MiB\"]\n";
  EXPECT_EQ(crossing(two + "[[contenders]]\n"), 2u * 3 << 20);
  EXPECT_EQ(crossing("[[sites]]\nname = \"c\"\n" + two + "[[contenders]]\nschedule = \"ring\"\n"),
            3u * 4 << 20);
}

}  // namespace
}  // namespace farspan::testbed
