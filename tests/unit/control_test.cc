// The control server: every endpoint, read and changed.
#include <gtest/gtest.h>
#include <httplib.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "tests/support/control_fixture.h"

namespace farspan::control {
namespace {

using nlohmann::json;

// --- Reading ---------------------------------------------------------------------------------

TEST_F(ControlTest, MetricsAreScraped) {
  start();
  const auto answer = get("/metrics");
  ASSERT_EQ(Status(answer), 200);
  EXPECT_EQ(answer->get_header_value("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(
      answer->body.find("\nfarspan_link_held_packets{link=\"chi-nyc\",direction=\"ab\"} 6500\n"),
      std::string::npos);
}

TEST_F(ControlTest, LinksAreListed) {
  start();
  const json links = json::parse(Body(get("/api/v1/links")));
  EXPECT_EQ(links["schema"], "farspan.links.v1");
  EXPECT_EQ(links["valid"], true);
  ASSERT_EQ(links["links"].size(), 2u);
  const json& ab = links["links"][0]["directions"][0];
  EXPECT_EQ(links["links"][0]["name"], "chi-nyc");
  EXPECT_EQ(ab["direction"], "ab");
  EXPECT_EQ(ab["delay_ns"], 6'503'731);
  EXPECT_EQ(ab["lanes"][0]["distance"], "1328 km");
  EXPECT_EQ(ab["lanes"][0]["rate_bits_per_s"], 10'000'000'000);
  uint64_t out = ab["forwarded_packets"].get<uint64_t>() + ab["held_packets"].get<uint64_t>();
  for (const auto& kind : {"emulated_drops", "own_drops"}) {
    for (const auto& [cause, n] : ab[kind].items()) out += n.get<uint64_t>();
  }
  EXPECT_EQ(out, ab["offered_packets"].get<uint64_t>() + ab["duplicated_packets"].get<uint64_t>());
  ASSERT_EQ(links["ports"].size(), 2u);
  EXPECT_EQ(links["ports"][0]["lateness"]["p50_ns"], 512);
}

TEST_F(ControlTest, OneLinkIsShownAnUnknownOneIsNot) {
  start();
  EXPECT_EQ(json::parse(Body(get("/api/v1/links/metro")))["name"], "metro");
  const auto unknown = get("/api/v1/links/metr%00%ff");
  EXPECT_EQ(Status(unknown), 404);
  EXPECT_NE(json::parse(Body(unknown))["error"]["message"].get<std::string>().find("chi-nyc"),
            std::string::npos);
}

TEST_F(ControlTest, QueuePairsAreListedByWhatTheyCarried) {
  start();
  const auto all = nlohmann::json::parse(Body(get("/api/v1/links/chi-nyc/queue_pairs")));
  EXPECT_EQ(all["schema"], "farspan.queue_pairs.v1");
  EXPECT_EQ(all["followed"], 2);
  ASSERT_EQ(all["queue_pairs"].size(), 2u);
  const auto& first = all["queue_pairs"][0];
  EXPECT_EQ(first["direction"], "ab");
  EXPECT_EQ(first["source"], "10.0.0.1");
  EXPECT_EQ(first["destination_qp"], 0x22);
  EXPECT_TRUE(first["source_qp"].is_null());
  EXPECT_EQ(first["ingress"]["repeated_packets"], 12);
  EXPECT_EQ(first["egress"]["goodput_bytes"], 999'000);
  EXPECT_EQ(first["recovery"]["mean_ns"], 13'010'000);
  const auto& second = all["queue_pairs"][1];
  EXPECT_EQ(second["source_qp"], 0x22);
  EXPECT_EQ(second["ingress"]["acknowledgements"]["psn_sequence_error"], 3);
  EXPECT_EQ(second["recovery"]["count"], 0);

  const auto one = nlohmann::json::parse(Body(get("/api/v1/links/chi-nyc/queue_pairs?limit=1")));
  EXPECT_EQ(one["followed"], 2);
  EXPECT_EQ(one["queue_pairs"].size(), 1u);
  EXPECT_EQ(Status(get("/api/v1/links/nowhere/queue_pairs")), 404);
  for (const char* limit : {"0", "x", "1x", "-1", "99999999999999999999"}) {
    EXPECT_EQ(Status(get(std::string("/api/v1/links/chi-nyc/queue_pairs?limit=") + limit)), 400);
  }
}

TEST_F(ControlTest, HealthAndCertificate) {
  engine_.edit([](EngineSnapshot& s) { s.valid = false; });
  start();
  EXPECT_EQ(json::parse(Body(get("/healthz")))["status"], "ok");
  EXPECT_EQ(json::parse(Body(get("/healthz")))["valid"], false);
  EXPECT_EQ(Body(get("/api/v1/certificate")), engine_.certificate());
}

TEST_F(ControlTest, UnknownPathsAreJsonErrorsToo) {
  start();
  for (const std::string path : {"/api/v1/link", "/api", "/metrics/", "/../etc/passwd"}) {
    const auto answer = get(path);
    EXPECT_EQ(Status(answer), 404) << path;
    EXPECT_EQ(json::parse(Body(answer))["error"]["code"], "not_found") << path;
  }
}

TEST_F(ControlTest, PageRunsOnlyItsOwnScript) {
  start();
  const auto first = get("/");
  const auto second = get("/");
  ASSERT_EQ(Status(first), 200);
  EXPECT_EQ(first->get_header_value_count("Content-Security-Policy"), 1u);
  const std::string policy = first->get_header_value("Content-Security-Policy");
  std::smatch nonce;
  ASSERT_TRUE(std::regex_search(policy, nonce, std::regex("script-src 'nonce-([0-9a-f]{32})'")));
  EXPECT_NE(first->body.find("<script nonce=\"" + nonce[1].str() + "\">"), std::string::npos);
  EXPECT_EQ(first->body.find("NONCE"), std::string::npos);
  EXPECT_EQ(Body(second).find(nonce[1].str()), std::string::npos) << "a nonce is used once";
  for (const char* foreign : {"src=", "@import", "url(", "https://", "innerHTML", " style="}) {
    EXPECT_EQ(first->body.find(foreign), std::string::npos) << foreign;
  }
  EXPECT_EQ(first->get_header_value("X-Frame-Options"), "DENY");
}

// --- Changing --------------------------------------------------------------------------------

TEST_F(ControlTest, SettingsReachBothDirectionsOrOne) {
  start();
  const auto both = patch("/api/v1/links/chi-nyc", R"({"distance":"700 km","rate":"1 Gbps"})");
  ASSERT_EQ(Status(both), 200) << Body(both);
  EXPECT_EQ(json::parse(both->body)["applied"].size(), 2u);
  const auto one = patch("/api/v1/links/chi-nyc", R"({"rate":"2 Gbps","direction":"ba"})");
  ASSERT_EQ(Status(one), 200) << Body(one);

  const json link = json::parse(Body(get("/api/v1/links/chi-nyc")));
  const json& ab = link["directions"][0]["lanes"][0];
  const json& ba = link["directions"][1]["lanes"][0];
  EXPECT_EQ(ab["distance"], "700 km");
  EXPECT_EQ(ba["distance"], "700 km");
  EXPECT_EQ(ab["rate"], "1 Gbps");
  EXPECT_EQ(ba["rate"], "2 Gbps");
  EXPECT_EQ(json::parse(Body(get("/api/v1/links/metro")))["directions"][0]["lanes"][0]["rate"],
            "10 Gbps");
}

TEST_F(ControlTest, LaneIsPassedOn) {
  engine_.edit([](EngineSnapshot& s) {
    for (DirectionSnapshot& d : s.directions) d.spec.lanes.resize(2, d.spec.lanes.front());
  });
  start();
  ASSERT_EQ(Status(patch("/api/v1/links/metro", R"({"rate":"2 Gbps","lane":1})")), 200);
  EXPECT_EQ(std::get<link::SetRate>(engine_.calls().back().changes.at(0)).lane, 1);
  EXPECT_EQ(Status(patch("/api/v1/links/metro", R"({"rate":"2 Gbps","lane":2})")), 400);
  EXPECT_EQ(Status(post("/api/v1/links/metro/restore", R"({"lane":"1"})")), 200);
  EXPECT_EQ(std::get<link::Restore>(engine_.calls().back().changes.at(0)).lane, 1);
}

TEST_F(ControlTest, BadBodiesSayWhatWasExpected) {
  struct Row {
    const char* path;
    const char* body;
    const char* message;  // part of it
  };
  const std::vector<Row> rows = {
      {"", "{", "not JSON"},
      {"", "[1]", "must be a JSON object"},
      {"", "7", "must be a JSON object"},
      {"", "", "no setting"},
      {"", "{}", "no setting"},
      {"", R"({"direction":"ab"})", "no setting"},
      {"", R"({"rate":"1 Gbps","rate":"2 Gbps"})", "twice"},
      {"", R"({"rate":{"a":1}})", "must be a text"},
      {"", R"({"rate":null})", "must be a text"},
      {"", R"({"rate":"1"})", "rate"},
      {"", R"({"distance":"-3 km"})", "distance"},
      {"", R"({"distnce":"3 km"})", "distance"},
      {"", R"({"rate":"1 Gbps","direction":"up"})", "expected \"ab\" or \"ba\""},
      {"", R"({"rate":"1 Gbps","lane":-1})", "lanes 0 to 0"},
      {"", R"({"rate":"1 Gbps","lane":"0x"})", "lanes 0 to 0"},
      {"/cut", R"({"for":"50"})", "for"},
      {"/cut", R"({"for":"0 ms"})", "longer than nothing"},
      {"/cut", R"({"position":"-1 km"})", "position"},
      {"/cut", R"({"position":"2000 km"})", "beyond the end of lane 0 at 1328 km"},
      {"/cut", R"({"until":"50 ms"})", "unknown key \"until\"; expected for, position"},
      {"/restore", R"({"for":"50 ms"})", "unknown key \"for\""},
      {"/cut", "\xff\xfe", "not JSON"},
  };
  start();
  for (const Row& row : rows) {
    const std::string path = std::string("/api/v1/links/chi-nyc") + row.path;
    const auto answer = *row.path == '\0' ? patch(path, row.body) : post(path, row.body);
    EXPECT_EQ(Status(answer), 400) << row.body;
    const json error = json::parse(Body(answer))["error"];
    EXPECT_EQ(error["code"], "invalid") << row.body;
    EXPECT_NE(error["message"].get<std::string>().find(row.message), std::string::npos)
        << row.body << " -> " << error["message"];
  }
  EXPECT_TRUE(engine_.calls().empty());
}

// Whoever may change a link need not be allowed to read what the emulator can.
TEST_F(ControlTest, ChangesNameNoFiles) {
  const std::string file = path_of("normal.dist");
  std::ofstream(file) << "-1 0 1\n";
  start();
  const std::string jitter = R"({deviation = \"20 us\", table = \")" + file + R"(\"})";
  const auto answer = patch("/api/v1/links/metro", R"({"jitter":")" + jitter + R"("})");
  EXPECT_EQ(Status(answer), 400);
  EXPECT_NE(Body(answer).find("may name files"), std::string::npos) << Body(answer);
  const auto twin = patch("/api/v1/links/metro",
                          R"({"jitter":"{deviation = \"20 us\", distribution = \"uniform\"}"})");
  EXPECT_EQ(Status(twin), 200) << Body(twin);
}

TEST_F(ControlTest, UnknownLinksCannotBeChanged) {
  start();
  EXPECT_EQ(Status(patch("/api/v1/links/none", R"({"rate":"1 Gbps"})")), 404);
  EXPECT_EQ(Status(post("/api/v1/links/none/cut", "{}")), 404);
  EXPECT_EQ(Status(post("/api/v1/links/none/restore", "{}")), 404);
  EXPECT_TRUE(engine_.calls().empty());
}

TEST_F(ControlTest, CutPositionsCountFromTheFirstSite) {
  start();
  ASSERT_EQ(Status(post("/api/v1/links/chi-nyc/cut", R"({"for":"50 ms","position":"128 km"})")),
            200);
  const auto calls = engine_.calls();
  ASSERT_EQ(calls.size(), 2u);
  const auto& ab = std::get<link::Cut>(calls[0].changes.at(0));
  const auto& ba = std::get<link::Cut>(calls[1].changes.at(0));
  EXPECT_EQ(calls[0].direction, Direction::kAb);
  EXPECT_EQ(calls[1].direction, Direction::kBa);
  EXPECT_EQ(ab.position, (Length{128'000'000}));
  EXPECT_EQ(ba.position, (Length{1'200'000'000}));
  EXPECT_EQ(ab.duration, TimeNs{50'000'000});
  EXPECT_EQ(ba.duration, TimeNs{50'000'000});
}

TEST_F(ControlTest, CutWithoutBodyLastsUntilRestored) {
  start();
  ASSERT_EQ(Status(post("/api/v1/links/chi-nyc/cut", R"({"direction":"ab"})")), 200);
  ASSERT_EQ(engine_.calls().size(), 1u);
  EXPECT_EQ(std::get<link::Cut>(engine_.calls()[0].changes.at(0)).duration, kNever);
  const std::string answer =
      raw("POST /api/v1/links/chi-nyc/restore HTTP/1.1\r\nHost: localhost\r\n"
          "Content-Type: application/json\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
  EXPECT_TRUE(std::holds_alternative<link::Restore>(engine_.calls().back().changes.at(0)));
}

TEST_F(ControlTest, EveryLaneIsCutAtThePlace) {
  engine_.edit([](EngineSnapshot& s) {
    for (DirectionSnapshot& d : s.directions) {
      d.spec.lanes.resize(2, d.spec.lanes.front());
      d.spec.lanes[1].path.length = {2'000'000'000};
    }
  });
  start();
  ASSERT_EQ(Status(post("/api/v1/links/chi-nyc/cut", R"({"position":"1000 km","direction":"ba"})")),
            200);
  const auto changes = engine_.calls().at(0).changes;
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(std::get<link::Cut>(changes[0]).position, (Length{328'000'000}));
  EXPECT_EQ(std::get<link::Cut>(changes[1]).position, (Length{1'000'000'000}));
  EXPECT_EQ(std::get<link::Cut>(changes[1]).lane, 1);
}

TEST_F(ControlTest, EpochStartsOnEveryLink) {
  start();
  EXPECT_EQ(Status(post("/api/v1/epoch", "")), 200);
  EXPECT_EQ(Status(post("/api/v1/epoch", "{}")), 200);
  EXPECT_EQ(engine_.calls().size(), 2u);
  EXPECT_EQ(Status(post("/api/v1/epoch", R"({"link":"metro"})")), 400);
  EXPECT_EQ(Status(get("/api/v1/epoch")), 404);
  EXPECT_EQ(engine_.calls().size(), 2u);
}

// --- Rules -----------------------------------------------------------------------------------

TEST_F(ControlTest, RulesAreAddedListedAndRemoved) {
  start();
  const std::string rules = "/api/v1/links/chi-nyc/rules";
  const auto added =
      post(rules, R"({"match":"udp dst_port=4791","action":"drop","count":1,"direction":"ab"})");
  ASSERT_EQ(Status(added), 200) << Body(added);
  EXPECT_EQ(json::parse(added->body)["rule"], "r1");
  EXPECT_EQ(json::parse(added->body)["applied"].size(), 1u);
  EXPECT_EQ(json::parse(added->body)["applied"][0]["at_ns"], engine_.snapshot().uptime.ns);
  ASSERT_EQ(Status(post(rules, R"({"action":"mark","probability":"1 %"})")), 200);
  ASSERT_EQ(engine_.rules().size(), 3u);
  EXPECT_EQ(engine_.rules()[0].conditions.count, 1u);
  EXPECT_EQ(engine_.rules()[0].conditions.dst_port, (roce::PortRange{4791, 4791}));
  EXPECT_EQ(engine_.rules()[1].conditions.probability, 0.01);

  const json all = json::parse(Body(get(rules)));
  EXPECT_EQ(all["schema"], "farspan.rules.v1");
  ASSERT_EQ(all["rules"].size(), 3u);
  EXPECT_EQ(all["rules"][0]["match"], "udp dst_port=4791");
  EXPECT_EQ(all["rules"][0]["limits"], "count=1");
  EXPECT_EQ(all["rules"][0]["action"], "drop");
  EXPECT_EQ(all["rules"][0]["hit_packets"], 2);
  EXPECT_EQ(json::parse(Body(get(rules + "/r2")))["rules"].size(), 2u);
  EXPECT_NE(Body(get("/metrics"))
                .find("farspan_link_rule_hit_packets_total{link=\"chi-nyc\","
                      "direction=\"ab\",rule=\"r1\"} 2\n"),
            std::string::npos);

  const auto remove = [&](const std::string& path, const std::string& body) {
    return client().Delete(path, body, "application/json");
  };
  EXPECT_EQ(Status(remove(rules + "/r2", R"({"direction":"ba"})")), 200);
  EXPECT_EQ(json::parse(Body(get(rules + "/r2")))["rules"][0]["in_force"], true);
  EXPECT_EQ(json::parse(Body(get(rules + "/r2")))["rules"][1]["in_force"], false);
  EXPECT_EQ(Status(remove(rules + "/r9", "")), 404);
  EXPECT_EQ(Status(remove(rules, "")), 200);
  EXPECT_EQ(Status(remove(rules + "/r1", "")), 404);
  EXPECT_EQ(Status(remove("/api/v1/links/none/rules", "")), 404);
  EXPECT_EQ(Status(get("/api/v1/links/none/rules")), 404);
  EXPECT_EQ(Status(get(rules + "/r9")), 404);
  ASSERT_EQ(Status(post(rules, R"({"action":"pass"})")), 200);
  EXPECT_EQ(engine_.rules().back().name, "r3") << "names are not used again";
}

TEST_F(ControlTest, BadRulesSayWhatWasExpected) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"({})", "has no \"action\""},
      {R"({"match":"udp"})", "has no \"action\""},
      {R"({"action":"dorp"})", "did you mean \"drop\"?"},
      {R"({"action":"drop","mach":"udp"})", "unknown key \"mach\""},
      {R"({"action":"drop","match":"dscp=99"})", "dscp"},
      {R"({"action":"drop","match":"dcsp=9"})", "did you mean \"dscp\"?"},
      {R"({"action":"drop","match":"upd"})", "did you mean \"udp\"?"},
      {R"({"action":"drop","match":"udp protocol=6"})", "gives \"protocol\" twice"},
      {R"({"action":"drop","match":"udp","protocol":"tcp"})", "given by itself too"},
      {R"({"action":"drop","match":"count=1"})", "\"count\" is no condition"},
      {R"({"action":"drop","match":"udp=\u0000"})", "control characters"},
      {R"({"action":"drop","match":"qp=0x1000000"})", "a queue pair number such as 0x11"},
      {R"({"action":"drop","psn":"9-x"})", "a PSN such as 1000"},
      {R"({"action":"drop","match":"opcode=akc"})", "did you mean \"ack\""},
      {R"({"action":"drop","match":"opcode=0x100"})", "256 is out of range; expected 0 to 255"},
      {R"({"action":"drop","match":"part=lst"})", "did you mean \"last\"?"},
      {R"({"action":"drop","match":"message=0"})", "message: 0 is out of range"},
      {R"({"action":"drop","match":"retransmision"})", "did you mean \"retransmission\""},
      {R"({"action":"drop","match":"ecn=ecx"})", "ecn: unknown word"},
      {R"({"action":"drop","count":0})", "count: 0 is out of range"},
      {R"({"action":"drop","count":"-1"})", "count: -1 is out of range"},
      {R"({"action":"drop","probability":0.5})", "probability"},
      {R"({"action":"drop","for":"0 ms"})", "longer than nothing"},
      {R"({"action":"drop","for":"1 ms","until":"2 ms"})", "excludes"},
      {R"({"action":"drop","after":"r7"})", "no rule of this direction is called \"r7\""},
      {R"({"action":"drop","delay":"1 ms"})", "goes with action"},
      {R"({"action":"delay"})", "goes with action"},
      {R"({"action":"trigger","event":"x"})", "no timeline event"},
      {R"({"action":"drop","lane":0})", "all lanes"},
      {R"({"action":"drop","name":"a/b"})", "letters, digits"},
      {R"({"action":"drop","direction":"up"})", "expected \"ab\" or \"ba\""},
      {"{", "not JSON"},
  };
  start();
  for (const auto& [body, message] : rows) {
    const auto answer = post("/api/v1/links/chi-nyc/rules", body);
    EXPECT_EQ(Status(answer), 400) << body;
    EXPECT_NE(Body(answer).empty()
                  ? std::string::npos
                  : json::parse(Body(answer))["error"]["message"].get<std::string>().find(message),
              std::string::npos)
        << body << " -> " << Body(answer);
  }
  EXPECT_TRUE(engine_.rules().empty());
  EXPECT_EQ(Status(post("/api/v1/links/none/rules", R"({"action":"drop"})")), 404);
  ASSERT_EQ(Status(post("/api/v1/links/chi-nyc/rules", R"({"action":"drop","name":"x"})")), 200);
  EXPECT_EQ(Status(post("/api/v1/links/chi-nyc/rules", R"({"action":"drop","name":"x"})")), 409);
}

TEST_F(ControlTest, RulesAreGuardedAsAllChangesAre) {
  start();
  const std::string rules = "/api/v1/links/chi-nyc/rules";
  EXPECT_EQ(Status(client().Post(rules, R"({"action":"drop"})", "text/plain")), 415);
  EXPECT_EQ(Status(client().Delete(rules)), 415);
  const auto status_of = [&](const std::string& method, const std::string& host) {
    return raw(method + " " + rules + " HTTP/1.1\r\nHost: " + host +
               "\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n")
        .substr(9, 3);
  };
  for (const char* method : {"GET", "POST", "DELETE"}) {
    EXPECT_EQ(status_of(method, "evil.example"), "403") << method;
  }
  EXPECT_EQ(status_of("DELETE", "localhost"), "200");
  EXPECT_EQ(status_of("PUT", "localhost"), "405");
  auto c = client();
  EXPECT_EQ(Status(c.Delete(rules, {{"Origin", "https://evil.example"}}, "{}", "application/json")),
            403);
  EXPECT_TRUE(engine_.rules().empty());
}

TEST_F(ControlTest, RefusalsOfTheEngineKeepTheirKind) {
  start();
  const std::vector<std::pair<ErrorCode, int>> rows = {{ErrorCode::kConflict, 409},
                                                       {ErrorCode::kInvalid, 400},
                                                       {ErrorCode::kNotFound, 404},
                                                       {ErrorCode::kMachine, 503},
                                                       {ErrorCode::kIo, 500}};
  for (const auto& [code, status] : rows) {
    engine_.refuse_with(Error{code, "beyond the memory plan", "link chi-nyc"});
    const auto answer = patch("/api/v1/links/chi-nyc", R"({"distance":"9000 km"})");
    EXPECT_EQ(Status(answer), status);
    EXPECT_EQ(json::parse(Body(answer))["error"]["message"],
              "link chi-nyc: beyond the memory plan");
  }
  engine_.refuse_with(std::nullopt);
  EXPECT_EQ(Status(patch("/api/v1/links/chi-nyc", R"({"distance":"900 km"})")), 200);
}

class HalfRefusingEngine : public FakeEngine {
 public:
  Result<Applied> change(std::string_view link, std::optional<Direction> direction,
                         const std::vector<link::Change>& changes) override {
    if (direction == Direction::kBa) return Fail(ErrorCode::kConflict, "no room");
    return FakeEngine::change(link, direction, changes);
  }
};

TEST_F(ControlTest, HalfAChangeIsSaidSo) {
  HalfRefusingEngine engine;
  const auto server = ControlServer::Start(engine, options());
  ASSERT_TRUE(server);
  httplib::Client client("127.0.0.1", (*server)->address().port);
  const auto answer =
      client.Patch("/api/v1/links/metro", R"({"rate":"1 Gbps"})", "application/json");
  EXPECT_EQ(Status(answer), 409);
  EXPECT_NE(Body(answer).find("direction ab has been changed, ba has not"), std::string::npos);
}

}  // namespace
}  // namespace farspan::control
