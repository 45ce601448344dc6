// `farspan route` as a user runs it: exit codes, text, JSON.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace farspan {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string text;  // stdout and stderr
};

Outcome Farspan(const std::string& args) {
  Outcome outcome;
  FILE* pipe = popen((std::string(FARSPAN_PROGRAM) + " " + args + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> buffer;
  for (size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    outcome.text.append(buffer.data(), n);
  }
  const int status = pclose(pipe);
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  return outcome;
}

TEST(RouteCommand, PrintsTheSumTermByTerm) {
  const Outcome out = Farspan("route Chicago 'New York'");
  EXPECT_EQ(out.exit_code, 0);
  for (const char* part : {"1328 km of glass, group index 1.4682", "6.503731 ms", "13.007462 ms",
                           "class short", "label published: Spread Networks"}) {
    EXPECT_NE(out.text.find(part), std::string::npos) << part << " in\n" << out.text;
  }
}

TEST(RouteCommand, JsonAddsUp) {
  for (const char* pair : {"chi nyc", "abi iad", "fra ams", "mil osa"}) {
    const Outcome out = Farspan(std::string("route --json ") + pair);
    ASSERT_EQ(out.exit_code, 0) << out.text;
    const auto json = nlohmann::json::parse(out.text);
    EXPECT_EQ(json["schema"], "farspan.route.v1");
    int64_t sum = 0;
    for (const auto& term : json["terms"]) sum += term["ns"].get<int64_t>();
    EXPECT_EQ(sum, json["one_way_ns"]);
    EXPECT_EQ(2 * sum, json["rtt_ns"]);
  }
}

TEST(RouteCommand, ListsEveryMetroAndSegment) {
  EXPECT_NE(Farspan("route --list").text.find("ABI  Abilene TX"), std::string::npos);
  EXPECT_EQ(Farspan("route --list Abilene").exit_code, 2);
  EXPECT_EQ(Farspan("nccl Abilene Ashburn --rate 1Gbps --link x").exit_code, 2);
  const auto json = nlohmann::json::parse(Farspan("route --list --json").text);
  EXPECT_EQ(json["schema"], "farspan.route_list.v1");
  EXPECT_GE(json["metros"].size(), 60u);
  EXPECT_GE(json["segments"].size(), 100u);
}

TEST(RouteCommand, BadUsageIsExitTwoAndSaysWhatWasMeant) {
  struct Row {
    const char* args;
    const char* says;
  };
  for (const Row& row :
       {Row{"route Chcago NYC", "did you mean \"Chicago"}, Row{"route Chicago", "needs two places"},
        Row{"route CHI NYC LON", "needs two places"}, Row{"route CHI chicago", "both ends"},
        Row{"route CHI NYC --jsn", "--jsn"}, Row{"rout CHI NYC", "did you mean \"route\""},
        Row{"", "Usage"}}) {
    const Outcome out = Farspan(row.args);
    EXPECT_EQ(out.exit_code, 2) << row.args;
    EXPECT_NE(out.text.find(row.says), std::string::npos) << out.text;
  }
}

TEST(RouteCommand, HelpIsNoError) {
  EXPECT_EQ(Farspan("--help").exit_code, 0);
  EXPECT_EQ(Farspan("route --help").exit_code, 0);
}

}  // namespace
}  // namespace farspan
