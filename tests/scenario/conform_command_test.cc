// farspan conform, as a user runs it on libraries that keep the rules and on those that do not.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>

#include "tests/support/execute.h"

namespace farspan {
namespace {

using test::Execute;
using test::Outcome;

Outcome Conform(const std::string& library, const std::string& options = {}) {
  return Execute(std::string(FARSPAN_PROGRAM) + " conform " + LIBRARIES "/" + library + ".so " +
                 options + " 2>&1");
}

Outcome ConformFaulty(const std::string& fault, const std::string& only) {
  return Conform("faulty_transport",
                 "--timeout 200ms --transport-options '" + fault + "' --only '" + only + "'");
}

TEST(ConformCommand, ALibraryThatKeepsTheRulesConforms) {
  const auto file = std::filesystem::temp_directory_path() /
                    ("farspan-conform-" + std::to_string(getpid()) + ".json");
  const Outcome run = Conform("faulty_transport", "--json " + file.string());
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_NE(run.output.find("conforms"), std::string::npos);
  std::ifstream in(file);
  const auto json = nlohmann::json::parse(in, nullptr, false);
  std::filesystem::remove(file);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["schema"], "farspan.conform.v1");
  EXPECT_EQ(json["transport"], "faulty");
  EXPECT_EQ(json["conforms"], true);
  EXPECT_GE(json["cases"].size(), 12u);
  for (const auto& one : json["cases"]) EXPECT_EQ(one["verdict"], "passed") << one;
  // A library with threads of its own need not be driven.
  EXPECT_EQ(Conform("without_progress").exit_code, 0);
}

// One broken rule each: the case that must see it, and a word of its reason.
TEST(ConformCommand, EveryBrokenRuleIsSeen) {
  for (const auto& [fault, name, word] :
       {std::tuple{"order", "matches in posting order", "another length"},
        {"twice", "delivers nothing twice", "nobody sent"},
        {"corrupt", "delivers every size", "other bytes"},
        {"short", "delivers every size", "was told as"},
        {"overflow", "matches in posting order", "after the end"},
        {"lost", "delivers every size", "waited in vain"},
        {"mute", "a closed peer is an error", "says nothing"},
        {"any-tag", "a wrong tag is an error", "tag 0"},
        {"any-handle", "a foreign handle is refused", "0xff"}}) {
    const Outcome run = ConformFaulty(fault, name);
    EXPECT_EQ(run.exit_code, 1) << fault << run.output;
    const size_t line = run.output.find(name);
    ASSERT_NE(line, std::string::npos) << fault << run.output;
    const std::string verdict = run.output.substr(line, run.output.find('\n', line) - line);
    EXPECT_NE(verdict.find("FAILED"), std::string::npos) << fault << run.output;
    EXPECT_NE(verdict.find(word), std::string::npos) << fault << verdict;
  }
}

// A buffer is the library's until its comm is closed: written after its case has failed, it is
// still there, and the case fails for its own reason.
TEST(ConformCommand, BuffersOutliveTheLibrary) {
  for (const char* name : {"every size", "both directions", "posting order"}) {
    const Outcome run = ConformFaulty("late", name);
    EXPECT_EQ(run.exit_code, 1) << run.output;
    EXPECT_NE(run.output.find("waited in vain"), std::string::npos) << run.output;
  }
}

// What ends or stops the process is a failure of its case, not of farspan.
TEST(ConformCommand, CrashesExitsAndHangsFailTheirCase) {
  for (const auto& [fault, word] :
       {std::pair{"crash", "signal 6"}, {"exit", "exit code 7"}, {"hang", "does not return"}}) {
    const Outcome run = ConformFaulty(fault, "nothing twice");
    EXPECT_EQ(run.exit_code, 1) << fault;
    EXPECT_NE(run.output.find(word), std::string::npos) << run.output;
    EXPECT_NE(run.output.find("does not conform"), std::string::npos) << run.output;
  }
}

TEST(ConformCommand, AFailedCallIsSaid) {
  const Outcome run = ConformFaulty("no-request", "every size");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.output.find("breaks the ABI"), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("0 without a request"), std::string::npos) << run.output;
  for (const auto& [call, expected] :
       {std::pair{"test", "FARSPAN_OK (0), FARSPAN_AGAIN (1) or FARSPAN_FAILED (-1)"},
        {"state", "FARSPAN_OK (0), FARSPAN_AGAIN (1) or FARSPAN_FAILED (-1)"},
        {"accept", "FARSPAN_OK (0) or FARSPAN_AGAIN (1)"},
        {"progress", "FARSPAN_OK (0) or FARSPAN_AGAIN (1)"},
        {"listen", "FARSPAN_OK (0) or FARSPAN_FAILED (-1)"},
        {"connect", "FARSPAN_OK (0) or FARSPAN_FAILED (-1)"}}) {
    const bool progress = call == std::string("progress");
    const Outcome odd =
        ConformFaulty(std::string("odd-") + call, progress ? "nothing twice" : "every size");
    EXPECT_EQ(odd.exit_code, 1) << call << odd.output;
    const std::string said = std::string("faulty_transport.so) breaks the ABI: ") + call +
                             " answered 7, expected " + expected;
    EXPECT_NE(odd.output.find("faulty (" LIBRARIES "/" + said), std::string::npos) << odd.output;
  }
  const Outcome posted = ConformFaulty("odd-post", "every size");
  EXPECT_NE(posted.output.find("post_send answered 7"), std::string::npos) << posted.output;
  const Outcome few = ConformFaulty("few-requests", "");
  EXPECT_EQ(few.exit_code, 2);
  EXPECT_NE(few.output.find("max_requests 7, expected at least 8"), std::string::npos)
      << few.output;
  const Outcome refused = ConformFaulty("no-open", "");
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_NE(refused.output.find("told not to"), std::string::npos) << refused.output;
}

TEST(ConformCommand, WhatIsNoTransportIsRefusedWithTheReason) {
  for (const auto& [library, word] : {std::pair{"ANOTHER_VERSION", "version 2"},
                                      {"ANOTHER_SIZE", "bytes"},
                                      {"FUNCTIONS_MISSING", "lacks: open properties listen"},
                                      {"NO_DOOR", "neither farspan_transport_plugin"},
                                      {"OLD_NCCL", "stops at ncclNetPlugin_v6"},
                                      {"EMPTY_NCCL", "ncclNetPlugin_v12 lacks: name init"},
                                      {"no_such_library", "cannot be loaded"}}) {
    const Outcome run = Conform(library);
    EXPECT_EQ(run.exit_code, 2) << library << run.output;
    EXPECT_NE(run.output.find(word), std::string::npos) << library << run.output;
  }
  EXPECT_EQ(Conform("faulty_transport", "--only colours").exit_code, 2);
  EXPECT_EQ(Execute(std::string(FARSPAN_PROGRAM) + " conform 2>&1").exit_code, 2);
}

Outcome ConformPlugin(const std::string& net, const std::string& options) {
  return Execute("FARSPAN_LOCAL=127.0.0.1 FARSPAN_NET=" + net +
                 " " FARSPAN_PROGRAM " conform " NCCL_PLUGIN " " + options + " 2>&1");
}

// Farspan's own plugin, loaded as any other: NCCL's interface from both sides.
TEST(NcclPlugin, ConformsInTheOldestAndTheNewestVersion) {
  for (const auto& [net, version] : {std::pair{"tcp", "8"}, {"tcp", "12"}, {"udp", "12"}}) {
    const Outcome run = ConformPlugin(net, std::string("--transport-options version=") + version);
    EXPECT_EQ(run.exit_code, 0) << net << run.output;
    EXPECT_NE(run.output.find(std::string("ncclNetPlugin_v") + version + " conforms"),
              std::string::npos)
        << run.output;
  }
}

TEST(NcclPlugin, EveryVersionMovesMessages) {
  for (const char* version : {"9", "10", "11"}) {
    const Outcome run =
        ConformPlugin("tcp", std::string("--only order --transport-options version=") + version);
    EXPECT_EQ(run.exit_code, 0) << version << run.output;
  }
}

TEST(NcclPlugin, WhatCannotBeUsedIsRefusedWithTheReason) {
  for (const auto& [net, options, code, word] :
       {std::tuple{"quic", "", 3, "it logged: NET/Farspan: FARSPAN_NET: 'quic'"},
        {"tcp", "--transport-options device=1", 3, "there is no device 1"},
        {"tcp", "--transport-options version=7", 2, "version=8 to 12"},
        {"tcp", "--transport-options device", 2, "device=N"}}) {
    const Outcome run = ConformPlugin(net, options);
    EXPECT_EQ(run.exit_code, code) << run.output;
    EXPECT_NE(run.output.find(word), std::string::npos) << run.output;
  }
}

TEST(NcclPlugin, CollectivesRunOverIt) {
  const Outcome run = Execute(
      "FARSPAN_LOCAL=127.0.0.1 FARSPAN_NET=tcp " FARSPAN_PROGRAM
      " bench all_reduce -b 100K -e 100K -n 2 -w 1 --world 3 --transport " NCCL_PLUGIN " 2>&1");
  EXPECT_EQ(run.exit_code, 0) << run.output;
}

Outcome BenchWith(const std::string& policy, const std::string& congestion) {
  return Execute(std::string(FARSPAN_PROGRAM) +
                 " bench all_reduce --net sim -b 1M -e 1M -n 2 -w 1" + " --loss 1e-3 --policy " +
                 policy + " --congestion " + congestion + " 2>&1");
}

TEST(Policies, AControllerFromALibraryIsChosenByName) {
  const Outcome run = BenchWith(SCALABLE, "scalable");
  EXPECT_EQ(run.exit_code, 0) << run.output;
  const Outcome unknown = BenchWith(SCALABLE, "scaleable");
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_NE(unknown.output.find("dcqcn scalable"), std::string::npos) << unknown.output;
  const Outcome none = BenchWith(LIBRARIES "/faulty_transport.so", "scalable");
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_NE(none.output.find("farspan_register_policies"), std::string::npos) << none.output;
}

}  // namespace
}  // namespace farspan
