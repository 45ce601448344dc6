// farspan bench as a user runs it: all ranks on this machine, over the loopback interface.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/execute.h"
#include "transports/testbed/launch.h"

namespace farspan {
namespace {

using test::Execute;

nlohmann::json BenchJson(const std::string& arguments) {
  const auto file = std::filesystem::temp_directory_path() /
                    ("farspan-bench-" + std::to_string(getpid()) + ".json");
  const auto run =
      Execute(std::string(FARSPAN_PROGRAM) + " bench " + arguments + " --json " + file.string());
  EXPECT_EQ(run.exit_code, 0) << run.output;
  std::ifstream in(file);
  const auto json = nlohmann::json::parse(in, nullptr, false);
  std::filesystem::remove(file);
  return json;
}

TEST(BenchCommand, EveryCollectiveIsRightOverTcp) {
  for (const char* arguments :
       {"all_reduce", "all_reduce --schedule direct -d bfloat16 --world 3",
        "all_reduce --schedule hierarchical --world 4 --ranks-per-site 2 -d half",
        "all_gather --world 3", "reduce_scatter --world 3 --sockets 3", "alltoall --world 3",
        "sendrecv", "all_reduce --channels 2 --buffsize 64K"}) {
    const auto json = BenchJson(std::string(arguments) + " -b 1000 -e 1M -f 10 -n 3 -w 2");
    ASSERT_TRUE(json.is_object()) << arguments;
    EXPECT_EQ(json["schema"], "farspan.bench.v1");
    EXPECT_EQ(json["label"], "measured");
    ASSERT_EQ(json["rows"].size(), 4u) << arguments;
    for (const auto& row : json["rows"]) {
      EXPECT_EQ(row["out_of_place"]["wrong"], 0) << arguments << row;
      EXPECT_EQ(row["out_of_place"]["iterations_s"].size(), 3u);
      EXPECT_GT(row["out_of_place"]["time_s"], 0);
      const std::string_view what = arguments;
      const bool in_place = !what.starts_with("alltoall") && !what.starts_with("sendrecv");
      EXPECT_EQ(row.contains("in_place"), in_place) << arguments;
      if (in_place) {
        EXPECT_EQ(row["in_place"]["wrong"], 0) << arguments << row;
      }
    }
  }
}

// A line as people have it, with what means nothing here at its default.
TEST(BenchCommand, TakesNcclTestsOptions) {
  const auto file = std::filesystem::temp_directory_path() /
                    ("farspan-nccl-tests-" + std::to_string(getpid()) + ".json");
  const auto run =
      Execute(FARSPAN_PROGRAM
              " bench reduce_scatter --net sim -b 64K -e 192K -i 64K -n 3 -m 4 -w 1 -c "
              "5 -a 3 -I 1 -o sum -d half -t 1 -g 1 -z 0 -p 0 -G 0 -R 0 -N 1 -J " +
              file.string());
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_NE(run.output.find("i_p99"), std::string::npos) << run.output;
  std::ifstream in(file);
  const auto json = nlohmann::json::parse(in, nullptr, false);
  std::filesystem::remove(file);
  ASSERT_EQ(json["rows"].size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const auto& row = json["rows"][i];
    EXPECT_EQ(row["bytes"], (i + 1) * 65'536);
    for (const char* place : {"out_of_place", "in_place"}) {
      EXPECT_EQ(row[place]["wrong"], 0);
      EXPECT_EQ(row[place]["iterations_s"].size(), 3u);
    }
  }
}

// Times over the ranks: the least is no more than the mean, and so on; of rank 0 it is its own.
TEST(BenchCommand, AveragesOverRanksAsAsked) {
  const auto time_of = [](int average) {
    const auto json = BenchJson(
        "alltoall --net sim -c 0 --world 3 --loss 0.05 -b 1M -e 1M -n 2 -w 0 --seed 5 -a " +
        std::to_string(average));
    return json["rows"][0]["out_of_place"];
  };
  const auto seconds = [](const nlohmann::json& times) { return times["time_s"].get<double>(); };
  const auto first = time_of(0);
  double own = 0;
  for (const double one : first["iterations_s"]) own += one / 2;
  EXPECT_NEAR(seconds(first), own, 1e-9);
  const double least = seconds(time_of(2)), mean = seconds(time_of(1)), most = seconds(time_of(3));
  EXPECT_LT(least, mean);
  EXPECT_LT(mean, most);
  EXPECT_GE(own, least);
  EXPECT_LE(own, most);
}

TEST(BenchCommand, EveryScheduleIsRightOverSpan) {
  for (const char* arguments :
       {"all_reduce --net udp --congestion fixed --rate 1Gbps --recovery sr",
        "all_reduce --net sim --schedule direct --world 3 --rtt 10ms --rate 10Gbps --loss 0.01",
        "all_reduce --net sim --schedule hierarchical --world 6 --ranks-per-site 2 --loss 1e-3",
        "alltoall --net sim --world 3"}) {
    const auto json = BenchJson(std::string(arguments) + " -b 100K -e 100K -n 2 -w 1");
    ASSERT_EQ(json["rows"].size(), 1u) << arguments;
    EXPECT_EQ(json["rows"][0]["out_of_place"]["wrong"], 0) << arguments;
  }
}

// Two sites, 25 ms: the swap takes one one-way delay, the ring two.
TEST(BenchCommand, TwoSitesSaveTheOneWayDelayThatTheorySays) {
  const auto time_of = [](const std::string& schedule) {
    const auto json = BenchJson(
        "all_reduce --net sim -c 0 -b 1M -e 1M -n 3 -w 2 --rtt 25ms --rate "
        "400Gbps --congestion fixed --payload 4096 --schedule " +
        schedule);
    return json["rows"][0]["out_of_place"]["time_s"].get<double>();
  };
  const double direct = time_of("direct"), ring = time_of("ring");
  EXPECT_NEAR(direct, 12.5e-3 + 1048576 * 8 / 400e9, 0.2e-3);
  EXPECT_NEAR(ring - direct, 12.5e-3, 0.2e-3);
  // The label says that it was not measured.
  EXPECT_EQ(BenchJson("sendrecv --net sim -c 0 -b 1M -e 1M -n 1")["label"], "virtual");
}

// Over all nets: the error of quantisation, no more and no less, and a quarter of the bytes.
TEST(BenchCommand, CompressesBetweenSitesAndSaysTheError) {
  struct Row {
    const char* arguments;
    double least, most;
  };
  for (const auto& [arguments, least, most] :
       {Row{"--compress fp8", 0.02, 0.03},
        {"--compress int8 --net udp --congestion fixed --rate 1Gbps -d bfloat16", 0.005, 0.008},
        {"--compress int8 --net sim --world 3 --loss 1e-3", 0.007, 0.011},
        {"--compress fp8 --net sim --world 4 --ranks-per-site 2 --loss 1e-3", 0.02, 0.03},
        {"--compress int8 --world 4 --ranks-per-site 2", 0.005, 0.008}}) {
    const auto json =
        BenchJson("all_reduce -b 480000 -e 480000 -n 2 -w 1 " + std::string(arguments));
    ASSERT_EQ(json["rows"].size(), 1u) << arguments;
    for (const char* place : {"out_of_place", "in_place"}) {
      const auto& times = json["rows"][0][place];
      EXPECT_EQ(times["wrong"], 0) << arguments;
      EXPECT_GT(times["relative_error"], least) << arguments;
      EXPECT_LT(times["relative_error"], most) << arguments;
    }
  }
  const auto wan_bytes = [](const char* how) {
    const auto json = BenchJson(
        "all_reduce --net sim -c 0 --schedule direct -b 1M -e 1M -n 1 "
        "--compress " +
        std::string(how));
    return json["rows"][0]["wan_bytes"].get<double>();
  };
  EXPECT_EQ(wan_bytes("none"), 1048576);
  EXPECT_EQ(wan_bytes("fp8"), 1048576 / 4 * (1 + 4.0 / 128));
}

TEST(BenchCommand, BadUsageIsSaidBeforeAnythingRuns) {
  for (const auto& [arguments, word] :
       {std::pair{"", "which collective"},
        {"all_reduse", "all_reduce"},
        {"alltoall --schedule ring", "direct"},
        {"all_reduce -d double", "bfloat16"},
        {"all_reduce -b 2M -e 1M", "minbytes"},
        {"all_reduce -b 1X", "minbytes"},
        {"all_reduce --rank 1", "--world"},
        {"all_reduce --rank 0 --world 2 --root :7000", "--root: ':7000' is no address by which"},
        {"all_reduce --rank 0 --world 2 --root 127.0.0.1:7000 --local 10.0.0.1", "--local: "},
        {"all_reduce --rank 0 --world 2 --root 127.0.0.1:7000 --timeout 5x", "--timeout: "},
        {"all_reduce --world 0", "at least 2 ranks"},
        {"all_reduce --world -2", "--world -2: expected 0 or more"},
        {"all_reduce --world 100000", "100000 ranks on one machine"},
        {"all_reduce -n -1", "expected 0 or more"},
        {"all_reduce -n 0", "0 iterations of 1 operations"},
        {"all_reduce -i 0", "sizes must grow"},
        {"all_reduce -i 1M -f 2", "a factor or by a step"},
        {"all_reduce -o prod", "sum is the only reduction"},
        {"all_reduce -a 4", "2 (least)"},
        {"all_reduce -g 8", "taken at 1 only: ranks are processes"},
        {"all_reduce -z 1", "taken at 0 only: iterations"},
        {"all_reduce --net quic", "tcp"},
        {"all_reduce --net sim --recovery hope", "auto"},
        {"all_reduce --net sim --loss 1", "%"},
        {"all_reduce --schedule hierarchical --ranks-per-site 2", "two sites"},
        {"all_reduce --ranks-per-site 4", "equally many"},
        {"all_reduce --ranks-per-site 0", "equally many"},
        {"all_reduce --channels 0", "1 channel"},
        {"all_reduce --schedule direct --world 17", "17 ranks at once"},
        {"all_reduce --compress fp4", "int8"},
        {"all_reduce --compress fp8 --schedule ring", "direct"},
        {"all_gather --compress fp8", "all_reduce"},
        {"all_reduce --compress fp8 -d half", "bfloat16"}}) {
    const auto run = Execute(std::string(FARSPAN_PROGRAM) + " bench " + arguments + " 2>&1");
    EXPECT_EQ(run.exit_code, 2) << arguments << run.output;
    EXPECT_NE(run.output.find(word), std::string::npos) << arguments << run.output;
  }
}

TEST(BenchCommand, AnOptionThatWouldDoNothingIsRefused) {
  for (const auto& [arguments, word] :
       {std::pair{"--loss 1e-3", "--loss: does nothing with --net tcp: it is of virtual time"},
        {"--congestion bbr", "--net tcp takes --tcp-congestion"},
        {"--net sim --timeout 1s", "--timeout: does nothing with --net sim"},
        {"--net sim --rank 0", "--world says how many"},
        {"--schedule direct --channels 2", "--channels: does nothing with the direct schedule"},
        {"--compress fp8 --channels 2", "--channels: does nothing with the direct schedule"},
        {"--buffsize 0", "slot"}}) {
    const auto run =
        Execute(std::string(FARSPAN_PROGRAM) + " bench all_reduce " + arguments + " 2>&1");
    EXPECT_EQ(run.exit_code, 2) << arguments << run.output;
    EXPECT_NE(run.output.find(word), std::string::npos) << arguments << run.output;
  }
}

// In virtual time the same options give the same figures: a change is an option's doing.
TEST(BenchCommand, WhatIsTakenChangesTheRun) {
  const auto rows = [](const std::string& arguments) {
    auto json = BenchJson(
        "all_reduce --net sim -c 0 -b 1M -e 1M -n 2 -w 0 --rtt 4ms --rate 2Gbps " + arguments);
    return json["rows"];
  };
  const std::string span = "--loss 1e-2 ", rc = span + "--transport rc-sr ",
                    tcp = span + "--transport tcp ";
  for (const auto& [base, options] :
       {std::pair{span, std::vector<std::string>{"--recovery gbn", "--congestion swift",
                                                 "--payload 1000", "--seed 2", "--channels 4",
                                                 "--buffsize 64K", "--preset default"}},
        {rc,
         {"--qps 4", "--qps 4 --qp-split 1", "--ib-timeout 8", "--adaptive-retrans 0",
          "--congestion dcqcn", "--preset tuned"}},
        {tcp, {"--queue 6us", "--sockets 3", "--tcp-buffer 64K", "--congestion bbr"}}}) {
    const auto without = rows(base);
    EXPECT_EQ(rows(base), without);
    for (const std::string& option : options) EXPECT_NE(rows(base + option), without) << option;
  }
  // The seventh retry is one too many where there are none.
  const auto run = Execute(FARSPAN_PROGRAM
                           " bench sendrecv --net sim --transport rc-gbn --loss 9% --ib-retries 0 "
                           "-c 0 -b 1M -e 1M 2>&1");
  EXPECT_EQ(run.exit_code, 1) << run.output;
}

TEST(BenchCommand, RanksOfThisMachineMeetAtTheRoot) {
  const std::string bench = FARSPAN_PROGRAM " bench sendrecv -b 1K -e 1K -n 1 --timeout 1s --root ";
  const std::string port = std::to_string(20'000 + getpid() % 10'000);
  const auto here = Execute(bench + "127.0.0.9:" + port + " 2>&1");
  EXPECT_EQ(here.exit_code, 0) << here.output;
  const auto elsewhere = Execute(bench + "192.0.2.1:" + port + " 2>&1");
  EXPECT_EQ(elsewhere.exit_code, 3) << elsewhere.output;
  EXPECT_NE(elsewhere.output.find("rank 0 cannot listen at 192.0.2.1"), std::string::npos);
}

TEST(BenchCommand, WhatCannotBeWrittenIsSaidBeforeAnythingRuns) {
  for (const char* net : {"tcp", "sim"}) {
    const auto run = Execute(std::string(FARSPAN_PROGRAM) + " bench all_reduce --net " + net +
                             " -e 1M --json /nonexistent/out.json 2>&1");
    EXPECT_EQ(run.exit_code, 1) << net;
    EXPECT_EQ(run.output,
              "farspan: --json: cannot write '/nonexistent/out.json': No such file or directory\n");
  }
}

TEST(BenchCommand, AMissingRankIsAnErrorInTime) {
  const auto run =
      Execute(std::string(FARSPAN_PROGRAM) +
              " bench all_reduce --rank 0 --world 2 --root 127.0.0.1:0 --timeout 1s 2>&1");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.output.find("rank 1 of 2 had not come"), std::string::npos) << run.output;
}

// Ranks 0 and 1, each started by itself, with what only one of them is told.
std::array<test::Outcome, 2> RunTwo(const std::string& both,
                                    const std::array<std::string, 2>& own) {
  std::array<std::future<test::Outcome>, 2> ranks;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const std::string command = std::string(FARSPAN_PROGRAM) + " bench " + both +
                                " --world 2 --rank " + std::to_string(i) + " " + own[i] + " 2>&1";
    ranks[i] = std::async(std::launch::async, [command] { return Execute(command); });
  }
  return {ranks[0].get(), ranks[1].get()};
}

// Each would wait for what the other never does.
TEST(BenchCommand, RanksWithOtherOptionsAreToldSo) {
  const std::string both = "all_reduce -b 1000 -e 1000 --timeout 5s --root 127.0.0.1:" +
                           std::to_string(20'000 + getpid() % 10'000);
  for (const auto& rank : RunTwo(both, {"-n 7", "-n 7"}))
    EXPECT_EQ(rank.exit_code, 0) << rank.output;
  for (const auto& rank : RunTwo(both, {"-n 8", "-n 7"})) {
    EXPECT_EQ(rank.exit_code, 1);
    EXPECT_NE(rank.output.find("rank 1 was started for another run"), std::string::npos)
        << rank.output;
  }
}

// Rank 0, whose peer is sent `signal` in the midst of the second row.
test::Outcome LosePeer(const std::string& signal, const std::string& net, int port) {
  const std::string rank = std::string(FARSPAN_PROGRAM) +
                           " bench all_reduce -b 1000 -e 4000000 -f 4000 -n 1000 -c 0 --timeout 2s "
                           "--world 2 --root 127.0.0.1:" +
                           std::to_string(port) + " --net " + net;
  return Execute(
      rank + " --rank 1 >/dev/null 2>&1 & peer=$!; out=$(mktemp); timeout 30 " + rank +
      " --rank 0 >$out 2>&1 & left=$!; "
      "until grep -q '^ *1000 ' $out || ! kill -0 $left; do sleep 0.05; done; "
      "sleep 0.2; kill -" +
      signal +
      " $peer; wait $left; code=$?; kill -KILL $peer 2>/dev/null; cat $out; rm $out; exit $code");
}

// On real sockets: a process that dies, and one that stands still with all its connections open.
TEST(BenchCommand, APeerThatVanishesIsAnErrorInTime) {
  std::vector<std::future<test::Outcome>> runs;
  int port = 10'000 + 4 * (getpid() % 2'500);
  for (const char* net : {"tcp", "udp --congestion fixed --rate 200Mbps"}) {
    for (const char* signal : {"KILL", "STOP"}) {
      runs.push_back(std::async(std::launch::async, LosePeer, signal, net, port++));
    }
  }
  for (auto& run : runs) {
    const test::Outcome left = run.get();
    EXPECT_EQ(left.exit_code, 1) << left.output;
    EXPECT_NE(left.output.find("\n        1000 "), std::string::npos) << left.output;
    EXPECT_NE(left.output.find("farspan: "), std::string::npos) << left.output;
  }
}

// What is possible with the ranks that the launcher makes is not judged by those of its own.
TEST(BenchCommand, OptionsAreJudgedByTheLaunchersRanks) {
  const auto run = Execute("OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=4 " FARSPAN_PROGRAM
                           " bench all_reduce --schedule hierarchical --ranks-per-site 2 2>&1");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.output.find("rank 0 of 4: say with --root"), std::string::npos) << run.output;
}

TEST(BenchCommand, AFileThatCannotBeWrittenIsAnError) {
  const auto run = Execute(FARSPAN_PROGRAM
                           " bench sendrecv --net sim -c 0 -b 1K -e 1K -n 1 --json /dev/full 2>&1");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.output.find("cannot write '/dev/full'"), std::string::npos) << run.output;
}

TEST(Launch, RanksOfMpirunAndSrun) {
  using testbed::FindRank;
  const auto in = [](std::string rank, std::string world) {
    return [=](const char* name) -> const char* {
      if (name == rank) return "3";
      return name == world ? "8" : nullptr;
    };
  };
  for (const auto& [rank, world] : {std::pair{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                                    {"PMI_RANK", "PMI_SIZE"},
                                    {"SLURM_PROCID", "SLURM_NTASKS"}}) {
    const auto launched = FindRank({{}, {}, "10.0.0.1:7000"}, in(rank, world));
    ASSERT_TRUE(launched);
    EXPECT_EQ(launched->rank, 3u);
    EXPECT_EQ(launched->world, 8u);
    EXPECT_TRUE(launched->children.empty());
    EXPECT_EQ(testbed::WorldOf({{}, 5, ""}, in(rank, world)), 8u);
    EXPECT_EQ(testbed::WorldOf({1, 5, ""}, in(rank, world)), 5u);
    const auto fewer = FindRank({{}, 2, "10.0.0.1:7000"}, in(rank, world));
    ASSERT_FALSE(fewer);
    EXPECT_NE(fewer.error().text().find("with 8 ranks, where 2 are wanted"), std::string::npos);
    const auto lost = FindRank({}, in(rank, world));
    ASSERT_FALSE(lost);
    EXPECT_NE(lost.error().text().find("--root"), std::string::npos);
  }
}

}  // namespace
}  // namespace farspan
