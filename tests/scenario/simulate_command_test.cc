// farspan-emulator simulate, as a person or the quickstart runs it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/execute.h"

namespace farspan {
namespace {

test::Outcome Simulate(const std::string& arguments) {
  return test::Execute(std::string(FARSPAN_PROGRAM) + " simulate " + arguments + " 2>&1");
}

TEST(SimulateCommand, TheQuickstartsScenario) {
  const std::string file = ::testing::TempDir() + "simulate.json";
  const test::Outcome run = Simulate(
      "--distance '1000 km' --rate '100 Mbps' --limit '20 ms' --loss 1e-3 --jitter '200 us' "
      "--seconds 10 --json " +
      file);
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_NE(run.output.find("virtual"), std::string::npos);
  const auto json = nlohmann::json::parse(std::ifstream(file));
  std::filesystem::remove(file);
  EXPECT_EQ(json["schema"], "farspan.simulate.v1");
  EXPECT_EQ(json["pass"], true);
  EXPECT_EQ(json["rows"].size(), 17u);
}

TEST(SimulateCommand, EveryExamplePasses) {
  for (const auto& entry :
       std::filesystem::directory_iterator(FARSPAN_SOURCE_DIR "/traces/links")) {
    if (entry.path().extension() != ".toml") continue;
    const test::Outcome run = Simulate("--seconds 1 --config '" + entry.path().string() + "'");
    EXPECT_EQ(run.exit_code, 0) << entry.path() << "\n" << run.output;
  }
}

TEST(SimulateCommand, BadUsage) {
  const struct {
    const char* arguments;
    const char* expected;
  } kRows[] = {
      {"--distance 500", "it has no unit"},           {"--delay 5ms --seconds 0", "--seconds"},
      {"--delay 5ms --seconds many", "--seconds"},    {"--delay 5ms --config x.toml", "--config"},
      {"--config /nonexistent.toml", "no such file"}, {"--delay 5ms --loss 1", "a bare number"},
  };
  for (const auto& row : kRows) {
    const test::Outcome run = Simulate(row.arguments);
    EXPECT_EQ(run.exit_code, 2) << row.arguments << "\n" << run.output;
    EXPECT_NE(run.output.find(row.expected), std::string::npos) << run.output;
  }
  EXPECT_EQ(Simulate("--delay 5ms --seconds 1 --json /nonexistent/file").exit_code, 1);
  EXPECT_EQ(Simulate("--help").exit_code, 0);
}

}  // namespace
}  // namespace farspan
