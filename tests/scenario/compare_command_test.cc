// farspan compare, gate and report as a user runs them.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/execute.h"

namespace farspan {
namespace {

using test::Execute;

class CompareCommand : public ::testing::Test {
 protected:
  CompareCommand()
      : directory_(std::filesystem::temp_directory_path() /
                   ("farspan-compare-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(directory_);
    write("small.toml", R"(title = "Small"
samples = 3
[[sites]]
name = "a"
[[sites]]
name = "b"
[link]
delay = "5 ms"
rate = "10 Gbps"
[sweep]
loss = ["1e-4", "1e-2"]
[collective]
sizes = ["256 KiB"]
[[contenders]]
recovery = "sr"
[[contenders]]
transport = "rc-gbn"
)");
  }
  ~CompareCommand() override { std::filesystem::remove_all(directory_); }

  std::string path(const std::string& name) const { return (directory_ / name).string(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream in(path(name));
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  test::Outcome farspan(const std::string& arguments, const std::string& environment = {}) const {
    return Execute("cd " + directory_.string() + " && " + environment + FARSPAN_PROGRAM + " " +
                   arguments + " 2>&1");
  }

 private:
  const std::filesystem::path directory_;
};

TEST_F(CompareCommand, WritesTheSameFiguresInEveryForm) {
  const auto run =
      farspan("compare ./small.toml --json out.json --markdown out.md --csv out.csv -j 2");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_NE(run.output.find("Small: all_reduce (direct)"), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("virtual time, 3 samples each, seeds 1 to 3"), std::string::npos);
  const auto json = nlohmann::json::parse(read("out.json"));
  EXPECT_EQ(json["schema"], "farspan.compare.v1");
  EXPECT_EQ(json["label"], "virtual");
  ASSERT_EQ(json["rows"].size(), 4u);
  EXPECT_TRUE(json["rows"][0]["p99_s"].is_null());
  EXPECT_NEAR(json["points"][1]["loss"].get<double>(), 1e-2 * 4194 / 1538, 1e-3);
  // Against the only baseline of the class; the baseline against itself.
  EXPECT_EQ(json["rows"][1]["factor"], 1.0);
  EXPECT_NEAR(json["rows"][0]["factor"].get<double>(),
              json["rows"][1]["mean_s"].get<double>() / json["rows"][0]["mean_s"].get<double>(),
              1e-12);
  EXPECT_NE(read("out.md").find("| span sr, fixed | provisioned |"), std::string::npos);
  const std::string csv = read("out.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 5);
  // A second run says the same, byte for byte.
  ASSERT_EQ(farspan("compare ./small.toml --json again.json -j 1").exit_code, 0);
  EXPECT_EQ(read("again.json"), read("out.json"));
}

TEST_F(CompareCommand, AGateSaysWhichRowGotWorse) {
  ASSERT_EQ(farspan("compare ./small.toml --json run.json").exit_code, 0);
  const auto same = farspan("gate run.json --run run.json --junit verdicts.xml");
  EXPECT_EQ(same.exit_code, 0) << same.output;
  EXPECT_NE(read("verdicts.xml").find("failures=\"0\""), std::string::npos);
  EXPECT_NE(read("verdicts.xml").find("<testcase classname=\"run.json\" name=\"256 KiB, loss"),
            std::string::npos);

  // The committed run was faster by a tenth: what we have now is too slow.
  auto json = nlohmann::json::parse(read("run.json"));
  json["rows"][0]["mean_s"] = json["rows"][0]["mean_s"].get<double>() / 1.1;
  write("faster.json", json.dump());
  const auto slower = farspan("gate faster.json --run run.json --junit verdicts.xml");
  EXPECT_EQ(slower.exit_code, 1);
  EXPECT_NE(slower.output.find("FAILED  256 KiB, loss 1e-4, span sr, fixed: mean"),
            std::string::npos)
      << slower.output;
  EXPECT_NE(read("verdicts.xml").find("failures=\"1\""), std::string::npos);
  EXPECT_EQ(farspan("gate faster.json --run run.json --tolerance '11 %'").exit_code, 0);

  // Faster than light is no improvement.
  json["rows"][0]["mean_s"] = json["rows"][0]["bound_s"].get<double>() * 0.99;
  write("impossible.json", json.dump());
  const auto impossible = farspan("gate run.json --run impossible.json");
  EXPECT_EQ(impossible.exit_code, 1);
  EXPECT_NE(impossible.output.find("the bound is"), std::string::npos) << impossible.output;

  json["rows"].erase(1);
  write("fewer.json", json.dump());
  EXPECT_NE(farspan("gate run.json --run fewer.json").output.find("is not in the run"),
            std::string::npos);
}

TEST_F(CompareCommand, AReportDrawsWhatWasCompared) {
  ASSERT_EQ(farspan("compare ./small.toml --json run.json").exit_code, 0);
  const auto run = farspan("report run.json -o page.html --plots plots");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const std::string page = read("page.html");
  EXPECT_NE(page.find("slowdown against loss"), std::string::npos);
  EXPECT_EQ(page.find("goodput against round trip"), std::string::npos);  // one round trip only
  EXPECT_NE(page.find("<polyline points=\""), std::string::npos);
  const std::string csv = read("plots/small-loss-262144.csv");
  EXPECT_EQ(csv.substr(0, csv.find('\n')), "line,x,y,low,high");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 5);
  const auto step = farspan("report run.json --step-compute '1 s'");
  EXPECT_EQ(step.exit_code, 2);
  EXPECT_NE(step.output.find("--step-compute: nothing to draw"), std::string::npos) << step.output;
}

// Four buckets of 256 KiB: with 40 ms to go there and back all-reduces follow each other without a
// gap, with 2 ms of 1 s they are hidden but for the last.
TEST_F(CompareCommand, AReportDrawsAStepOfTraining) {
  std::string toml = read("small.toml");
  toml.replace(toml.find("loss = ["), 23, "delay = [\"1 ms\", \"20 ms\"]");
  write("far.toml", toml);
  ASSERT_EQ(farspan("compare ./far.toml --json far.json").exit_code, 0);
  const auto step = [&](const std::string& options) {
    const auto run = farspan("report far.json --plots plots --step-bytes '1 MiB' " + options);
    EXPECT_EQ(run.exit_code, 0) << run.output;
    const std::string csv = read("plots/far-step-262144.csv");
    const size_t far = csv.find("\"lossless bound\",40,");
    return far == csv.npos ? 0 : std::stod(csv.substr(far + 20));
  };
  EXPECT_GT(step("--step-compute '10 ms'"), 0.3 + 0.17 + 4 * 2);  // of 20 ms each
  EXPECT_NEAR(step("--step-compute '1 s'"), 1.0203, 0.0003);
}

TEST_F(CompareCommand, AReportDrawsASampleOverTime) {
  ASSERT_EQ(farspan("compare ./small.toml --over-time '100 us' --json run.json").exit_code, 0);
  const auto json = nlohmann::json::parse(read("run.json"));
  EXPECT_EQ(json["over_time_s"], 1e-4);
  EXPECT_TRUE(json["rows"][0].contains("over_time"));
  write("recorded.toml", "over_time = \"100 us\"\n" + read("small.toml"));
  ASSERT_EQ(farspan("compare ./recorded.toml --over-time '0 s' --json none.json").exit_code, 0);
  const auto none = nlohmann::json::parse(read("none.json"));
  EXPECT_FALSE(none["rows"][0].contains("over_time"));
  EXPECT_EQ(none["rows"][0]["mean_s"], json["rows"][0]["mean_s"]);
  ASSERT_EQ(farspan("report run.json -o page.html --plots plots").exit_code, 0);
  EXPECT_NE(read("page.html").find("one sample over time"), std::string::npos);
  for (const size_t point : {0u, 1u}) {
    const std::string csv = read("plots/small-time-" + std::to_string(point) + "-262144.csv");
    EXPECT_EQ(csv.substr(0, csv.find('\n')), "panel,line,x,y");
    std::vector<int64_t> intervals;
    for (const auto& row : json["rows"]) {
      if (row["point"] != point) continue;
      intervals.push_back(static_cast<int64_t>(row["over_time"]["received_bytes"].size()));
    }
    // The slower of the two is drawn for three times as long as the faster one takes.
    ASSERT_EQ(intervals.size(), 2u);
    const auto [fast, slow] = std::minmax(intervals[0], intervals[1]);
    EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 3 * (fast + std::min(3 * fast, slow)));
  }
}

TEST_F(CompareCommand, PlotsBecomePdfWhereRsvgConvertIs) {
  ASSERT_EQ(farspan("compare ./small.toml --json run.json").exit_code, 0);
  const auto without = farspan("report run.json --plots plots --pdf", "PATH=/nowhere ");
  EXPECT_EQ(without.exit_code, 3) << without.output;
  EXPECT_NE(without.output.find("apt install librsvg2-bin"), std::string::npos) << without.output;
  if (Execute("command -v rsvg-convert").exit_code != 0) GTEST_SKIP() << "no rsvg-convert here";
  const auto run = farspan("report run.json --plots plots --pdf");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_EQ(read("plots/small-loss-262144.pdf").substr(0, 5), "%PDF-");
}

TEST_F(CompareCommand, WhatCannotBeWrittenIsSaidBeforeAnythingRuns) {
  write("run.json", "{}");
  for (const char* arguments :
       {"compare ./small.toml --json none/out.json", "compare ./small.toml --csv .",
        "gate run.json --run run.json --junit none/out.xml"}) {
    const auto run = farspan(arguments);
    EXPECT_EQ(run.exit_code, 1) << arguments << run.output;
    EXPECT_NE(run.output.find("cannot write"), std::string::npos) << arguments << run.output;
    EXPECT_EQ(run.output.find("virtual time"), std::string::npos) << arguments << run.output;
  }
}

TEST_F(CompareCommand, AGateWithoutRowsHoldsNothing) {
  ASSERT_EQ(farspan("compare ./small.toml -n 1 --json run.json").exit_code, 0);
  auto json = nlohmann::json::parse(read("run.json"));
  json["rows"].clear();
  write("empty.json", json.dump());
  const auto run = farspan("gate empty.json --run run.json");
  EXPECT_EQ(run.exit_code, 2) << run.output;
  EXPECT_NE(run.output.find("has no rows"), std::string::npos) << run.output;
}

TEST_F(CompareCommand, BadUsageIsSaidBeforeAnythingRuns) {
  write("bad.json", "{\"schema\": \"farspan.bench.v1\"}");
  std::filesystem::create_directory(path("empty"));
  write("library.toml", read("small.toml") + "[[contenders]]\ntransport = \"mine.so\"\n");
  for (const auto& [arguments, word] :
       {std::pair{"compare", "which scenario"},
        {"compare two-campusses", "did you mean \"two-campuses\""},
        {"compare ./none.toml", "none.toml: cannot read it: no such file"},
        {"compare ./small.toml -n 0", "--samples"},
        {"compare ./small.toml --sizes 3", "--sizes"},
        {"compare ./small.toml --sizes '3 B'", "whole elements"},
        {"compare ./small.toml --real", "--scale 10 divides"},
        {"compare ./library.toml", "\"mine\" is a library, which runs in real time alone"},
        {"compare ./small.toml --scale 0", "--scale"},
        {"compare ./small.toml --over-time '1 us'", "--over-time"},
        {"compare ./small.toml --over-time '1 ms' --real", "virtual time alone"},
        {"compare ./small.toml --jobs 2 --real", "--jobs: does nothing with --real"},
        {"compare ./small.toml --rank 0", "of one rank that --real starts"},
        {"compare ./small.toml --real --rank 0", "of one rank that --real starts"},
        {"compare ./small.toml --only quic", "there are: span sr, fixed; rc-gbn"},
        {"gate", "which baseline"},
        {"compare ./empty", "empty: cannot read it: it is a directory"},
        {"gate bad.json", "is not what farspan compare --json writes"},
        {"gate empty", "empty: cannot read it: it is a directory"},
        {"gate ./small.toml", "small.toml"},
        {"gate bad.json --run bad.json --jobs 2", "--jobs: does nothing with --run"},
        {"report", "which files"},
        {"report ./small.toml --pdf", "needs --plots"},
        {"report none.json --step-compute 5", "--step-compute: "},
        {"report none.json --step-bytes '0 B'", "more than 0"},
        {"report none.json", "none.json: cannot read it: no such file"},
        {"report empty", "no .json of farspan compare"}}) {
    const auto run = farspan(arguments);
    EXPECT_EQ(run.exit_code, 2) << arguments << run.output;
    EXPECT_NE(run.output.find(word), std::string::npos) << arguments << run.output;
  }
}

}  // namespace
}  // namespace farspan
