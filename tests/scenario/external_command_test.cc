// farspan external: commands of the user as a contender, bounded in time, leaving nothing behind.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <tuple>

#include "tests/support/execute.h"

namespace farspan {
namespace {

using test::Execute;
using test::Outcome;

const std::string kExternal = std::string(FARSPAN_PROGRAM) + " external -b 1000 -e 1000 -n 1 ";
const std::string kSoon = kExternal + "--settle 50ms ";

std::filesystem::path Temporary(const char* name) {
  return std::filesystem::temp_directory_path() /
         ("farspan-external-" + std::to_string(getpid()) + name);
}

// The process whose number a command has written to `file`: is it gone, within 5 s?
bool IsGone(const std::filesystem::path& file) {
  pid_t pid = 0;
  for (int i = 0; i < 100; ++i) {
    if (pid == 0) std::ifstream(file) >> pid;
    if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH) return true;
    usleep(50'000);
  }
  ADD_FAILURE() << "process " << pid << " is still there";
  kill(pid, SIGKILL);
  return false;
}

std::string Leave(const std::filesystem::path& file) {
  return "setsid -f sh -c \"echo \\$\\$ > " + file.string() + "; exec sleep 60\"";
}

TEST(ExternalCommand, ReadsTheFigureThatTheCommandPrints) {
  const auto file = Temporary(".json");
  for (const auto& [goodput, client, expected] :
       {std::tuple{"json:/end/bps", "echo \"{ \\\"end\\\": { \\\"bps\\\": 2.5e9 }}\"", 2.5e9},
        {"regex:rate ([0-9.]+) G", "echo size {size}, rate 1.5 Gb/s", 1.5}}) {
    const Outcome run = Execute(kExternal + "--ready up --server 'echo up' --client '" + client +
                                "' --goodput '" + goodput + "' --json " + file.string() + " 2>&1");
    ASSERT_EQ(run.exit_code, 0) << run.output;
    std::ifstream in(file);
    const auto json = nlohmann::json::parse(in, nullptr, false);
    ASSERT_TRUE(json.is_object());
    EXPECT_EQ(json["schema"], "farspan.external.v1");
    EXPECT_EQ(json["label"], "measured");
    EXPECT_EQ(json["rows"][0]["goodput_bps"][0], expected);
  }
  std::filesystem::remove(file);
}

// The server's own output, and the wall clock: 1000 B in 0.2 s and a little are below 40 kb/s.
TEST(ExternalCommand, ReadsTheServerOrTheClock) {
  const Outcome server = Execute(
      kExternal +
      "--server 'echo ready at {host} {port}; sleep 0.2; echo 7 bps' --ready 'at 127.0.0.1 [0-9]+'"
      " --client 'test {role} = client' --from server --goodput 'regex:([0-9]+) bps'"
      " --scale 1e6 2>&1");
  EXPECT_EQ(server.exit_code, 0) << server.output;
  EXPECT_NE(server.output.find("7.00"), std::string::npos) << server.output;
  const auto file = Temporary(".json");
  const Outcome clock = Execute(
      kExternal + "--ready up --server 'echo up' --client 'sleep 0.2' --json " + file.string());
  EXPECT_EQ(clock.exit_code, 0) << clock.output;
  std::ifstream in(file);
  const auto json = nlohmann::json::parse(in, nullptr, false);
  std::filesystem::remove(file);
  ASSERT_TRUE(json.is_object());
  EXPECT_GE(json["rows"][0]["wall_s"][0], 0.2);
  EXPECT_LE(json["rows"][0]["goodput_bps"][0], 40e3);
  EXPECT_GT(json["rows"][0]["goodput_bps"][0], 0);
}

TEST(ExternalCommand, FailuresAreReportedInTime) {
  for (const auto& [options, word] :
       {std::pair{"--server 'sleep 60' --client 'echo no route >&2; exit 9'",
                  "exit code 9: no route"},
        {"--ready up --server 'echo in use >&2; exit 3' --client 'sleep 60'",
         "server ended with exit code 3: in"},
        {"--server 'sleep 60' --client 'sleep 60' --limit 200ms", "had not ended after 0.2 s"},
        {"--server 'sleep 60' --client true --ready listening --limit 200ms", "not printed"},
        {"--server 'sleep 60' --client 'kill -9 $$'", "exit code 137"},
        {"--server 'sleep 60' --client 'head -c 9999 /dev/urandom; exit 9'", "exit code 9"},
        {"--server 'sleep 60' --client 'echo none' --goodput 'regex:([0-9]+) bps'", "matches"},
        {"--server 'sleep 60' --client 'echo 1' --goodput json:/end/bps", "no number at"}}) {
    const bool ready = std::string_view(options).find("--ready") != std::string_view::npos;
    const Outcome run = Execute((ready ? kExternal : kSoon) + options + " 2>&1");
    EXPECT_EQ(run.exit_code, 1) << options << run.output;
    EXPECT_NE(run.output.find(word), std::string::npos) << options << run.output;
  }
}

// An engine that backtracks needs the stack for every byte, or for ever.
TEST(ExternalCommand, ReadsMegabytesWithAnyExpression) {
  for (const char* expression : {"(?:a|b)*x([0-9]+)", "^(?:a+)+$|([0-9]+) bps$"}) {
    const Outcome run = Execute(
        "timeout 60 " + kSoon +
        "--server 'sleep 60' --client 'head -c 4000000 /dev/zero | tr \"\\0\" a; echo; echo 7 bps'"
        " --goodput 'regex:" +
        expression + "' 2>&1");
    EXPECT_EQ(run.exit_code, 1) << run.output;
    EXPECT_NE(run.output.find("nothing in the output matches"), std::string::npos) << run.output;
  }
  const Outcome run = Execute(
      kSoon +
      "--server 'sleep 60' --client 'head -c 4000000 /dev/zero | tr \"\\0\" a; echo; echo 7 bps'"
      " --goodput 'regex:^([0-9]+) bps$' --scale 1e6 2>&1");
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_NE(run.output.find("7.00"), std::string::npos) << run.output;
}

// Each would wait for what the other never does.
TEST(ExternalCommand, RanksWithOtherOptionsAreToldSo) {
  const std::string rank = kSoon + "--server 'sleep 60' --client true --root 127.0.0.1:" +
                           std::to_string(20'000 + getpid() % 10'000) + " --rank ";
  const Outcome run = Execute("(" + rank + "1 -f 3 & " + rank + "0 -f 4; wait) 2>&1");
  EXPECT_NE(run.output.find("another run"), std::string::npos) << run.output;
}

TEST(ExternalCommand, BadUsageIsSaidBeforeAnythingRuns) {
  for (const auto& [options, word] :
       {std::pair{"--server true", "--client"},
        {"--server true --client 'x {hots}'", "{hots} is unknown"},
        {"--server true --client true --goodput fast", "json:POINTER"},
        {"--server true --client true --goodput 'regex:[0-9]+'", "(group)"},
        {"--server true --client true --goodput 'regex:('", "regular expression"},
        {"--server true --client true --goodput json:end", "--goodput"},
        {"--server true --client true --goodput 'regex:(?=a)(b)'", "of RE2"},
        {"--server true --client true --rank 0 --root :7000", "--root: ':7000' is no address"},
        {"--server true --client true --goodput json:/x --from both", "client or server"},
        {"--server true --client true --from server", "--from: does nothing with the wall clock"},
        {"--server true --client true --scale 2", "--scale: does nothing with the wall clock"},
        {"--server true --client true --ready up --settle 1s",
         "--settle: does nothing with --ready"}}) {
    const Outcome run = Execute(kExternal + options + " 2>&1");
    EXPECT_EQ(run.exit_code, 2) << options << run.output;
    EXPECT_NE(run.output.find(word), std::string::npos) << options << run.output;
  }
}

TEST(ExternalCommand, NothingIsLeftBehind) {
  const auto by_server = Temporary(".server"), by_client = Temporary(".client");
  const Outcome run =
      Execute(kExternal + "--ready up --server '" + Leave(by_server) +
              "; echo up; sleep 0.4' --client '" + Leave(by_client) + "; sleep 0.2' 2>&1");
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_TRUE(IsGone(by_server));
  EXPECT_TRUE(IsGone(by_client));
  std::filesystem::remove(by_server);
  std::filesystem::remove(by_client);
}

// One that will not end and whose children come and go, each with a signal to its supervisor.
TEST(ExternalCommand, ACommandThatRefusesToEndIsKilledInTime) {
  const Outcome run = Execute(
      "timeout 20 " + kSoon +
      "--server 'trap \"\" TERM; while :; do (sleep 0.1 &); sleep 0.1; done' --client true 2>&1");
  EXPECT_EQ(run.exit_code, 0) << run.output;
}

TEST(ExternalCommand, NothingIsLeftBehindWhenFarspanIsKilled) {
  const auto file = Temporary(".killed");
  Execute(kSoon + "--server '" + Leave(file) + "; sleep 60' --client 'sleep 60' & farspan=$!; " +
          "while [ ! -s " + file.string() + " ]; do sleep 0.05; done; kill -9 $farspan");
  EXPECT_TRUE(IsGone(file));
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace farspan
