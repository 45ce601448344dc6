// `farspan link …` as a user runs it, against a control server with a fake engine behind it.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "emulator/control/metrics.h"
#include "emulator/control/server.h"
#include "tests/support/fake_engine.h"

namespace farspan::control {
namespace {

struct Output {
  int code = -1;
  std::string text;  // both streams
};

Output RunLink(const std::string& arguments) {
  FILE* pipe = popen((FARSPAN_PROGRAM " link " + arguments + " 2>&1").c_str(), "r");
  Output output;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    output.text.append(buffer, n);
  }
  const int status = pclose(pipe);
  output.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return output;
}

bool Has(const Output& output, const std::string& part) {
  return output.text.find(part) != std::string::npos;
}

class LinkCommand : public testing::Test {
 protected:
  LinkCommand() {
    char name[] = "/tmp/farspan-link-XXXXXX";
    directory_ = mkdtemp(name);
    ServerOptions options;
    options.address = "unix:" + directory_ + "/f.sock";
    server_ = std::move(ControlServer::Start(engine_, options).value());
    http_ = " --http " + options.address;
  }
  ~LinkCommand() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  FakeEngine engine_;
  std::string directory_;
  std::unique_ptr<ControlServer> server_;
  std::string http_;
};

TEST_F(LinkCommand, ListShowsEveryDirectionAndTheVerdict) {
  const Output good = RunLink("list" + http_);
  EXPECT_EQ(good.code, 0) << good.text;
  EXPECT_TRUE(Has(good, "chi-nyc  ab   chicago  newyork")) << good.text;
  EXPECT_TRUE(Has(good, "metro    ba   newyork  chicago")) << good.text;
  EXPECT_TRUE(Has(good, "\nVALID, up 91 s")) << good.text;
  engine_.edit([](EngineSnapshot& s) {
    s.valid = false;
    s.reasons = {"the clock is off by 9 ppm"};
  });
  const Output bad = RunLink("list" + http_);
  EXPECT_TRUE(Has(bad, "INVALID")) << bad.text;
  EXPECT_TRUE(Has(bad, "the clock is off by 9 ppm")) << bad.text;
}

TEST_F(LinkCommand, JsonIsTheServers) {
  const Output output = RunLink("show metro --json" + http_);
  EXPECT_EQ(nlohmann::json::parse(output.text)["name"], "metro");
  EXPECT_TRUE(Has(RunLink("show metro" + http_), "delay_ns"));
}

TEST_F(LinkCommand, QpsAreATable) {
  const Output output = RunLink("qps chi-nyc" + http_);
  EXPECT_EQ(output.code, 0) << output.text;
  EXPECT_TRUE(Has(output, "chi-nyc  ab   10.0.0.1  10.0.0.2     ?->0x22")) << output.text;
  EXPECT_TRUE(Has(output, "chi-nyc  ba   10.0.0.2  10.0.0.1     0x22->0x11")) << output.text;
  EXPECT_TRUE(Has(output, "13.01 ms to 13.01 ms")) << output.text;
  const Output json = RunLink("qps chi-nyc --json" + http_);
  EXPECT_EQ(nlohmann::json::parse(json.text)["links"][0]["followed"], 2);
  EXPECT_NE(RunLink("qps" + http_).code, 0);  // metro has none
}

TEST_F(LinkCommand, SetChangesWhatItNames) {
  const Output output = RunLink("set metro distance='90 km' rate=1Gbps --direction ba" + http_);
  EXPECT_EQ(output.code, 0) << output.text;
  EXPECT_EQ(output.text, "ba took effect at 91 s\n");
  const EngineSnapshot state = engine_.snapshot();
  EXPECT_EQ(state.directions[2].spec.lanes[0].path.length, (Length{80'000'000}));
  EXPECT_EQ(state.directions[3].spec.lanes[0].path.length, (Length{90'000'000}));
  EXPECT_EQ(state.directions[3].spec.lanes[0].rate, (Rate{1'000'000'000}));
}

TEST_F(LinkCommand, CutRestoreEpoch) {
  EXPECT_EQ(RunLink("cut chi-nyc --for 50ms --position '120 km' --direction ab" + http_).code, 0);
  EXPECT_EQ(RunLink("restore chi-nyc" + http_).code, 0);
  EXPECT_EQ(RunLink("epoch" + http_).code, 0);
  const auto calls = engine_.calls();
  ASSERT_EQ(calls.size(), 4u);
  const auto& cut = std::get<link::Cut>(calls[0].changes.at(0));
  EXPECT_EQ(cut.duration, TimeNs{50'000'000});
  EXPECT_EQ(cut.position, (Length{120'000'000}));
  EXPECT_TRUE(std::holds_alternative<link::Restore>(calls[2].changes.at(0)));
  EXPECT_TRUE(std::holds_alternative<link::StartEpoch>(calls[3].changes.at(0)));
}

TEST_F(LinkCommand, RulesFromTheShell) {
  const Output added = RunLink(
      "rule add metro --match 'udp dst_port=4791' dscp=26 --action delay "
      "--delay 2ms --count 3 --direction ab" +
      http_);
  EXPECT_EQ(added.code, 0) << added.text;
  EXPECT_EQ(added.text, "rule r1\nab took effect at 91 s\n");
  ASSERT_EQ(engine_.rules().size(), 1u);
  EXPECT_EQ(engine_.rules()[0].fault.delay, TimeNs{2'000'000});
  EXPECT_EQ(engine_.rules()[0].conditions.dscp, 26);
  EXPECT_EQ(engine_.rules()[0].conditions.count, 3u);
  const Output listed = RunLink("rule list metro" + http_);
  EXPECT_TRUE(Has(listed, "r1    ab   udp dst_port=4791 dscp=26  count=3  delay 2 ms"))
      << listed.text;
  EXPECT_TRUE(Has(RunLink("rule list chi-nyc" + http_), "no rules"));
  EXPECT_EQ(RunLink("rule remove metro r1" + http_).code, 0);
  EXPECT_EQ(RunLink("rule remove metro r1" + http_).code, 2);
  const Output cleared = RunLink("rule clear metro" + http_);
  EXPECT_EQ(cleared.code, 0);
  EXPECT_EQ(cleared.text, "there are no rules\n");
  EXPECT_TRUE(Has(RunLink("rule list metro" + http_), "r1 (removed)"));
}

TEST_F(LinkCommand, ExitCodesSayWhoseFaultItIs) {
  struct Row {
    std::string arguments;
    int code;
    std::string message;
  };
  const std::vector<Row> rows = {
      {"", 2, "what to do is missing"},
      {"lst", 2, "farspan: link: unknown word \"lst\"; did you mean \"list\"? Or see --help"},
      {"list metro", 2, "nothing to do with \"metro\""},
      {"list --for 3ms", 2, "does not take --for"},
      {"show", 2, "needs the link's NAME"},
      {"set metro", 2, "needs NAME KEY=VALUE"},
      {"set metro rate", 2, "not KEY=VALUE"},
      {"set metro rate=1Gbps rate=2Gbps", 2, "given twice"},
      {"set metro rate=1", 2, "farspan: rate: \"1\": it has no unit"},
      {"set nope rate=1Gbps", 2, "no link \"nope\""},
      {"show 'a/b?c%'", 2, "no such path"},
      {"cut metro --position '81 km'", 2, "beyond the end"},
      {"rule", 2, "what to do is missing"},
      {"rule ad metro", 2, "did you mean \"add\"?"},
      {"rule add metro udp", 2, "farspan: a rule: has no \"action\""},
      {"rule add metro --action drp", 2, "did you mean \"drop\"?"},
      {"rule add metro dcsp=3 --action drop", 2, "did you mean \"dscp\"?"},
      {"rule remove metro", 2, "needs NAME and the RULE's name"},
      {"rule list metro --action drop", 2, "does not take --action"},
      {"rule list nope", 2, "no link \"nope\""},
      {"cut metro --match udp", 2, "does not take --match"},
      {"list --nonsense", 2, "--help"},
      {"list --http 127.0.0.1", 2, "is not an address"},
      {"list --token-file /none", 2, "cannot read the token"},
  };
  for (const Row& row : rows) {
    const bool elsewhere = row.arguments.find("--http") != std::string::npos;
    const Output output = RunLink(row.arguments + (elsewhere ? "" : http_));
    EXPECT_EQ(output.code, row.code) << row.arguments << ": " << output.text;
    EXPECT_TRUE(Has(output, row.message)) << row.arguments << ": " << output.text;
  }
  EXPECT_TRUE(engine_.calls().empty());

  engine_.refuse_with(Error{ErrorCode::kConflict, "beyond the memory plan", ""});
  const Output refused = RunLink("set metro rate=400Gbps" + http_);
  EXPECT_EQ(refused.code, 1);
  EXPECT_TRUE(Has(refused, "beyond the memory plan"));
  server_.reset();
  const Output silent = RunLink("list" + http_);
  EXPECT_EQ(silent.code, 3);
  EXPECT_TRUE(Has(silent, "farspan-emulator run"));
}

TEST_F(LinkCommand, TokenIsSent) {
  const std::string token = directory_ + "/token";
  std::ofstream(token) << "0123456789abcdef0123456789abcdef\n";
  chmod(token.c_str(), 0600);
  ServerOptions options;
  options.address = "127.0.0.1:0";
  options.token_file = token;
  const auto server = ControlServer::Start(engine_, options);
  ASSERT_TRUE(server);
  const std::string http = " --http " + (*server)->address().text();
  const Output without = RunLink("list" + http);
  EXPECT_EQ(without.code, 2);
  EXPECT_TRUE(Has(without, "--token-file")) << without.text;
  EXPECT_EQ(RunLink("list --token-file " + token + http).code, 0);
}

TEST_F(LinkCommand, MetricsNeedNoEmulator) {
  EXPECT_EQ(RunLink("metrics --json").text, MetricCatalogueJson());
  EXPECT_TRUE(Has(RunLink("metrics"), "farspan_port_lateness_seconds"));
  EXPECT_TRUE(Has(RunLink("metrics" + http_), "--http: does nothing with metrics"));
  EXPECT_TRUE(Has(RunLink("metrics --lane 1"), "metrics does not take --lane"));
}

}  // namespace
}  // namespace farspan::control
