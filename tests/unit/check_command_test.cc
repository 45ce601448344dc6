// farspan-emulator check, as a person or a script runs it: output and exit codes.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/execute.h"

namespace farspan {
namespace {

using test::Outcome;

Outcome Execute(const std::string& arguments) {
  return test::Execute(std::string(FARSPAN_PROGRAM) + " " + arguments);
}

TEST(CheckCommand, TheGoldenCase) {
  const Outcome text =
      Execute("check --wire eth1,eth2 --distance '1328 km' --rate 1Gbps --limit 1ms");
  EXPECT_EQ(text.exit_code, 0) << text.output;
  EXPECT_NE(text.output.find("1328 km of glass, group index 1.4682"), std::string::npos);
  EXPECT_NE(text.output.find("round trip 13.007462 ms"), std::string::npos);
  const Outcome json =
      Execute("check --json --wire eth1,eth2 --distance '1328 km' --rate 1Gbps --limit 1ms");
  EXPECT_EQ(json.exit_code, 0);
  const auto plan = nlohmann::json::parse(json.output);
  EXPECT_EQ(plan["schema"], "farspan.plan.v1");
  EXPECT_EQ(plan["directions"][0]["round_trip_ns"], 13'007'462);
  EXPECT_EQ(plan["memory"].is_null(), FARSPAN_HAS_ENGINE == 0);
}

TEST(CheckCommand, FilesAndOverrides) {
  const std::string file =
      std::string("check --json --config ") + FARSPAN_SOURCE_DIR "/traces/links";
  const Outcome plain = Execute(file + "/lossy-isp.toml");
  EXPECT_EQ(plain.exit_code, 0) << plain.output;
  const Outcome set = Execute(file + "/lossy-isp.toml --set link.isp.rtt=10ms --set seed=5");
  const auto plan = nlohmann::json::parse(set.output);
  EXPECT_EQ(plan["directions"][1]["lanes"][0]["delay_ns"], 5'000'000);
  EXPECT_EQ(plan["seed"], 5);
}

TEST(CheckCommand, BadUsageAndConfiguration) {
  const struct {
    const char* arguments;
    const char* expected;
  } kRows[] = {
      {"check", "expected either --config FILE or --wire A,B"},
      {"check --wire eth1,eth2 --config x", "expected either --config FILE or --wire A,B"},
      {"check --wire eth1,eth2 --distance 500",
       "--distance 500: distance: \"500\": it has no unit"},
      {"check --wire eth1,eth2 --delay 5ms --loss 1", "--loss 1: loss: \"1\": a bare number"},
      {"check --wire eth1,eth2 --delay 5ms --rtt 5ms", "excludes \"delay\""},
      {"check --wire eth1 --delay 5ms", "expected two ports, A,B"},
      {"check --config /nonexistent.toml", "/nonexistent.toml: cannot read it: no such file"},
      {"check --dleay 5ms", "unrecognised option '--dleay'; did you mean \"delay\"? Or see --help"},
      {"check --quux", "unrecognised option '--quux'; see --help"},
      {"check ---", "see --help"},
      {"chekc", "did you mean \"check\"?"},
  };
  for (const auto& row : kRows) {
    const Outcome outcome = Execute(std::string(row.arguments) + " 2>&1");
    EXPECT_EQ(outcome.exit_code, 2) << row.arguments;
    EXPECT_NE(outcome.output.find(row.expected), std::string::npos) << row.arguments << "\n"
                                                                    << outcome.output;
  }
}

TEST(CheckCommand, MoreThanMemoryHolds) {
  if (FARSPAN_HAS_ENGINE == 0) GTEST_SKIP() << "this build has no engine to plan memory for";
  const Outcome outcome = Execute(
      "check --wire eth1,eth2 --delay 1s --rate 1Tbps --set engine.memory=1GiB "
      "--set engine.plan_frame='64 B' 2>&1");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_NE(outcome.output.find("DOES NOT FIT"), std::string::npos) << outcome.output;
  const Outcome twin = Execute("check --wire eth1,eth2 --delay 1ms --rate 1Gbps --limit 1ms");
  EXPECT_EQ(twin.exit_code, 0) << twin.output;
}

TEST(CheckCommand, Help) {
  const Outcome help = Execute("check --help");
  EXPECT_EQ(help.exit_code, 0);
  for (const char* option : {"--config", "--wire", "--distance", "--set", "--json"}) {
    EXPECT_NE(help.output.find(option), std::string::npos) << option;
  }
  EXPECT_EQ(Execute("--version").exit_code, 0);
}

}  // namespace
}  // namespace farspan
