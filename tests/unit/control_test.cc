// The control server over real sockets, with a fake engine behind it: every endpoint, every rule of
// who may do what (each beside its twin that must be refused), and bounds on what a client can
// cost.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>
#include <vector>

#include "emulator/control/server.h"
#include "tests/support/fake_engine.h"

namespace farspan::control {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

const std::string kToken = "0123456789abcdef0123456789abcdef";

std::string Body(const httplib::Result& result) { return result ? result->body : "no answer"; }
int Status(const httplib::Result& result) { return result ? result->status : -1; }

class ControlTest : public testing::Test {
 protected:
  ControlTest() {
    char name[] = "/tmp/farspan-control-XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~ControlTest() override {
    server_.reset();
    fs::remove_all(directory_);
  }

  ServerOptions options(std::string address = "127.0.0.1:0") const {
    ServerOptions options;
    options.address = std::move(address);
    options.patience = std::chrono::milliseconds(500);
    return options;
  }
  void start(const ServerOptions& options) {
    auto started = ControlServer::Start(engine_, options);
    ASSERT_TRUE(started) << started.error().text();
    server_ = std::move(*started);
  }
  void start() { start(options()); }

  httplib::Client client() const {
    const Address& address = server_->address();
    httplib::Client client(address.is_unix() ? address.path : "127.0.0.1", address.port);
    if (address.is_unix()) client.set_address_family(AF_UNIX);
    return client;
  }
  httplib::Result get(const std::string& path, const httplib::Headers& headers = {}) const {
    return client().Get(path, headers);
  }
  httplib::Result patch(const std::string& path, const std::string& body) const {
    return client().Patch(path, body, "application/json");
  }
  httplib::Result post(const std::string& path, const std::string& body) const {
    return client().Post(path, body, "application/json");
  }
  std::string path_of(const std::string& file) const { return directory_ + "/" + file; }
  std::string token_file(const std::string& text, mode_t mode) const {
    std::string path = path_of("token");
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
    return path;
  }

  // Sends bytes as they are.
  std::string raw(const std::string& bytes) const {
    const int fd = connect_raw();
    send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return read_all(fd);
  }
  // What comes until the server closes.
  static std::string read_all(int fd) {
    std::string answer;
    char buffer[4096];
    for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
    close(fd);
    return answer;
  }
  int connect_raw() const {
    const SocketAddress to = ToSocketAddress(server_->address());
    const int fd = socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, to.get(), to.length), 0);
    return fd;
  }

  FakeEngine engine_;
  std::string directory_;
  std::unique_ptr<ControlServer> server_;
};

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

// --- Who may ---------------------------------------------------------------------------------

TEST_F(ControlTest, HostMustNameLoopback) {
  start();
  const std::string port = std::to_string(server_->address().port);
  const auto status_of = [&](const std::string& host_lines) {
    return raw("GET /healthz HTTP/1.1\r\n" + host_lines + "\r\n").substr(9, 3);
  };
  for (const std::string host :
       {"localhost", "LocalHost:80", "127.0.0.1", "127.9.9.9:1", "[::1]"}) {
    EXPECT_EQ(status_of("Host: " + host + "\r\n"), "200") << host;
  }
  EXPECT_EQ(status_of("Host: 127.0.0.1:" + port + "\r\n"), "200");
  for (const std::string& host : std::vector<std::string>{
           "evil.example", "evil.example:" + port, "localhost.evil.example",
           "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "localhost.", "127.1"}) {
    EXPECT_EQ(status_of("Host: " + host + "\r\n"), "403") << host;
  }
  EXPECT_EQ(status_of(""), "400");
  EXPECT_EQ(status_of("Host: \r\n"), "400");
  EXPECT_EQ(status_of("Host: localhost\r\nHost: evil.example\r\n"), "400");
}

TEST_F(ControlTest, PagesOfOtherOriginsAreRefused) {
  start();
  const std::string host = server_->address().text();
  for (const auto& [origin, status] :
       std::vector<std::pair<std::string, int>>{{"http://" + host, 200},
                                                {"https://" + host, 200},
                                                {"http://localhost:3000", 403},
                                                {"https://evil.example", 403},
                                                {"null", 403}}) {
    auto c = client();
    EXPECT_EQ(Status(c.Post("/api/v1/epoch", {{"Origin", origin}}, "{}", "application/json")),
              status)
        << origin;
  }
  EXPECT_EQ(engine_.calls().size(), 2u);
}

TEST_F(ControlTest, ChangesNeedJson) {
  start();
  const auto status_of = [&](const std::string& type) {
    return Status(client().Post("/api/v1/epoch", "{}", type));
  };
  EXPECT_EQ(status_of("application/json"), 200);
  EXPECT_EQ(status_of("Application/JSON ; charset=utf-8"), 200);
  for (const char* type : {"text/plain", "application/x-www-form-urlencoded",
                           "multipart/form-data; boundary=b", "", "application/jsonp"}) {
    EXPECT_EQ(status_of(type), 415) << type;
  }
  EXPECT_EQ(engine_.calls().size(), 2u);
}

TEST_F(ControlTest, NoCorsEver) {
  start();
  auto c = client();
  const auto preflight = c.Options("/api/v1/epoch", {{"Origin", "https://evil.example"},
                                                     {"Access-Control-Request-Method", "POST"}});
  EXPECT_EQ(Status(preflight), 403);
  EXPECT_EQ(Status(c.Options("/api/v1/epoch")), 405);
  for (const auto& answer : {c.Options("/api/v1/epoch"), c.Get("/api/v1/links")}) {
    for (const auto& [name, value] : answer->headers) {
      EXPECT_FALSE(name.starts_with("Access-Control")) << name;
    }
  }
}

TEST_F(ControlTest, BeyondLoopbackATokenIsNeeded) {
  const auto without = ControlServer::Start(engine_, options("0.0.0.0:0"));
  ASSERT_FALSE(without);
  EXPECT_EQ(without.error().code, ErrorCode::kInvalid);
  EXPECT_NE(without.error().message.find("token"), std::string::npos);

  ServerOptions with = options("0.0.0.0:0");
  with.token_file = token_file(kToken + "\n", 0600);
  start(with);
  for (const std::string path : {"/", "/metrics", "/healthz", "/api/v1/links", "/none"}) {
    EXPECT_EQ(Status(get(path)), 401) << path;
    EXPECT_EQ(Status(get(path, {{"Authorization", "Bearer " + kToken + "x"}})), 401) << path;
    EXPECT_EQ(Status(get(path, {{"Authorization", "Basic " + kToken}})), 401) << path;
    EXPECT_EQ(Status(get(path, {{"Authorization", kToken}})), 401) << path;
    EXPECT_EQ(Status(get(path, {{"Authorization", "Bearer " + kToken}})),
              path == "/none" ? 404 : 200)
        << path;
  }
  EXPECT_EQ(Status(post("/api/v1/epoch", "{}")), 401);
  EXPECT_TRUE(engine_.calls().empty());
}

TEST_F(ControlTest, ATokenGivenIsAskedForOnLoopbackToo) {
  ServerOptions with = options();
  with.token_file = token_file(kToken, 0400);
  start(with);
  EXPECT_EQ(Status(get("/healthz")), 401);
  EXPECT_EQ(Status(get("/healthz", {{"Authorization", "Bearer " + kToken}})), 200);
}

TEST_F(ControlTest, TokenFilesAreTheirOwnersAlone) {
  EXPECT_EQ(*ReadToken(token_file("  " + kToken + "\r\n", 0600)), kToken);
  for (const mode_t mode : {0640, 0604, 0620, 0666, 0601}) {
    const auto token = ReadToken(token_file(kToken, mode));
    ASSERT_FALSE(token) << mode;
    EXPECT_NE(token.error().message.find("chmod 600"), std::string::npos);
  }
  EXPECT_FALSE(ReadToken(token_file("short", 0600)));
  EXPECT_FALSE(ReadToken(token_file("two words, not one", 0600)));
  EXPECT_EQ(ReadToken(path_of("none")).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(ReadToken(directory_));
}

// --- Addresses -------------------------------------------------------------------------------

TEST(ControlAddress, Texts) {
  struct Row {
    const char* text;
    const char* same;  // nullptr: an error
    bool loopback;
  };
  for (const Row& row : std::vector<Row>{{"127.0.0.1:9464", "127.0.0.1:9464", true},
                                         {"localhost:0", "127.0.0.1:0", true},
                                         {"127.8.8.8:1", "127.8.8.8:1", true},
                                         {"[::1]:65535", "[::1]:65535", true},
                                         {"[::]:80", "[::]:80", false},
                                         {"0.0.0.0:80", "0.0.0.0:80", false},
                                         {"192.168.1.5:80", "192.168.1.5:80", false},
                                         {"unix:/run/f.sock", "unix:/run/f.sock", false},
                                         {"", nullptr, false},
                                         {"127.0.0.1", nullptr, false},
                                         {"9464", nullptr, false},
                                         {":9464", nullptr, false},
                                         {"::1:80", nullptr, false},
                                         {"[127.0.0.1]:80", nullptr, false},
                                         {"127.0.0.1:65536", nullptr, false},
                                         {"127.0.0.1:-1", nullptr, false},
                                         {"127.0.0.1:80x", nullptr, false},
                                         {"example.org:80", nullptr, false},
                                         {"unix:", nullptr, false}}) {
    const auto address = ParseAddress(row.text);
    ASSERT_EQ(address.has_value(), row.same != nullptr) << row.text;
    if (!address) continue;
    EXPECT_EQ(address->text(), row.same);
    EXPECT_EQ(address->is_loopback(), row.loopback) << row.text;
  }
  EXPECT_FALSE(ParseAddress("unix:/" + std::string(200, 'a')));
}

TEST_F(ControlTest, AddressInUse) {
  start();
  const auto second = ControlServer::Start(engine_, options(server_->address().text()));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kMachine);
  EXPECT_NE(second.error().message.find("in use"), std::string::npos);
  const std::string address = server_->address().text();
  server_.reset();
  start(options(address));
}

TEST_F(ControlTest, AddressOfAnotherMachine) {
  ServerOptions elsewhere = options("192.0.2.1:0");
  elsewhere.token_file = token_file(kToken, 0600);
  const auto server = ControlServer::Start(engine_, elsewhere);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, ErrorCode::kMachine);
}

TEST_F(ControlTest, UnixSocketIsItsOwnersAndGoesWithTheServer) {
  const std::string path = path_of("f.sock");
  start(options("unix:" + path));
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(Status(get("/healthz")), 200);
  EXPECT_EQ(Status(post("/api/v1/epoch", "{}")), 200);

  const auto second = ControlServer::Start(engine_, options("unix:" + path));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kMachine);
  EXPECT_EQ(Status(get("/healthz")), 200) << "the first one lives on";
  server_.reset();
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(ControlTest, ADeadServersSocketIsReplacedAFileIsNot) {
  const std::string path = path_of("f.sock");
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  const SocketAddress dead = ToSocketAddress(*ParseAddress("unix:" + path));
  ASSERT_EQ(bind(fd, dead.get(), dead.length), 0);
  close(fd);
  start(options("unix:" + path));
  EXPECT_EQ(Status(get("/healthz")), 200);
  server_.reset();

  std::ofstream(path) << "precious";
  EXPECT_FALSE(ControlServer::Start(engine_, options("unix:" + path)));
  EXPECT_EQ(fs::file_size(path), 8u);
  const auto nowhere = ControlServer::Start(engine_, options("unix:" + path_of("no/f.sock")));
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, ErrorCode::kMachine);
}

// --- Bounds ----------------------------------------------------------------------------------

TEST_F(ControlTest, LongBodiesAreRefusedUnread) {
  start();
  const std::string head =
      "POST /api/v1/epoch HTTP/1.1\r\nHost: localhost\r\n"
      "Content-Type: application/json\r\n";
  EXPECT_TRUE(raw(head + "Content-Length: 999999999999\r\n\r\n{}").starts_with("HTTP/1.1 413"));
  EXPECT_TRUE(raw(head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
                  .starts_with("HTTP/1.1 411"));
  EXPECT_TRUE(raw(head + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")
                  .starts_with("HTTP/1.1 415"));
  EXPECT_TRUE(raw(head + "Content-Length: 2\r\n\r\n{}").starts_with("HTTP/1.1 200"));
  const std::string full = "{}" + std::string((64u << 10) - 2, ' ');
  EXPECT_EQ(Status(post("/api/v1/epoch", full)), 200);
  EXPECT_EQ(Status(post("/api/v1/epoch", full + " ")), 413);
}

TEST_F(ControlTest, LongHeadsAreRefused) {
  start();
  const std::string head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
  EXPECT_EQ(raw(head + "A: " + std::string(1u << 20, 'a') + "\r\n\r\n").find("200 OK"),
            std::string::npos);
  std::string many = head;
  for (int i = 0; i < 50'000; ++i) many += "A: b\r\n";
  EXPECT_EQ(raw(many + "\r\n").find("200 OK"), std::string::npos);
  EXPECT_EQ(
      raw("GET /" + std::string(300, 'a') + " HTTP/1.1\r\nHost: localhost\r\n\r\n").substr(9, 3),
      "414");
  EXPECT_EQ(
      raw("GET /" + std::string(9'000, 'a') + " HTTP/1.1\r\nHost: localhost\r\n\r\n").substr(9, 3),
      "414");
  EXPECT_TRUE(raw(head + "\r\n").starts_with("HTTP/1.1 200"));
}

// The library matches Range by a recursive regular expression.
TEST_F(ControlTest, DeepPatternsDoNotOverflowTheStack) {
  start();
  std::string ranges = "bytes=0-0";
  while (ranges.size() < 8'000) ranges += ",0-0";
  const std::string answer =
      raw("GET /healthz HTTP/1.1\r\nHost: localhost\r\nRange: " + ranges + "\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 ")) << answer;
  EXPECT_EQ(Status(get("/healthz")), 200);
}

TEST_F(ControlTest, GarbageIsAnsweredOrClosed) {
  start();
  for (const std::string& bytes :
       {std::string("\r\n\r\n"), std::string("GET\r\n\r\n"), std::string("\0\0\0\n", 4),
        std::string("GET / HTTP/9.9\r\n\r\n"), std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        std::string("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n"),
        std::string("POST /api/v1/epoch HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                    "application/json\r\nContent-Length: x\r\n\r\n"),
        std::string("GET /%zz%0d%0a HTTP/1.1\r\nHost: localhost\r\n\r\n")}) {
    raw(bytes);
    ASSERT_EQ(Status(get("/healthz")), 200) << bytes;
  }
}

TEST_F(ControlTest, SlowClientsAreBrokenOff) {
  ServerOptions impatient = options();
  impatient.patience = std::chrono::milliseconds(100);
  impatient.threads = 2;
  start(impatient);
  std::vector<int> slow;
  for (int i = 0; i < 6; ++i) {
    slow.push_back(connect_raw());
    send(slow.back(), "GET / HTTP/1.1\r\nHost:", 21, MSG_NOSIGNAL);
  }
  // More of them than threads; each is broken off, and then it is this one's turn.
  EXPECT_EQ(Status(get("/healthz")), 200);
  for (const int fd : slow) {
    EXPECT_EQ(read_all(fd).find("200 OK"), std::string::npos);
  }
}

TEST_F(ControlTest, StopsWhileAClientHesitates) {
  ServerOptions patient = options();
  patient.patience = std::chrono::hours(1);
  start(patient);
  const int fd = connect_raw();
  send(fd, "GET / HT", 8, MSG_NOSIGNAL);
  server_.reset();
  EXPECT_EQ(read_all(fd).find("200 OK"), std::string::npos);
}

TEST_F(ControlTest, ThreadsAreTheirOwn) {
  ServerOptions hooked = options();
  std::atomic<int> started{0};
  std::atomic<int> blocked{0};
  hooked.threads = 3;
  hooked.thread_start = [&] {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked += sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM);
    ++started;
  };
  start(hooked);
  EXPECT_EQ(Status(get("/healthz")), 200);
  server_.reset();
  EXPECT_EQ(started, 3);
  EXPECT_EQ(blocked, 3);
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  EXPECT_FALSE(sigismember(&mask, SIGINT)) << "the caller's mask is as it was";
}

TEST_F(ControlTest, ManyAtOnce) {
  start();
  std::vector<std::thread> threads;
  threads.reserve(6);
  std::atomic<int> good{0};
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 10; ++n) {
        const bool even = (i + n) % 2 == 0;
        good += Status(even ? get("/metrics")
                            : patch("/api/v1/links/metro", R"({"distance":"81 km"})")) == 200;
        engine_.advance(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 60);
}

}  // namespace
}  // namespace farspan::control
