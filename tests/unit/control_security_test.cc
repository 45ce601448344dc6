// The control server: every rule of who may do what, each beside its twin that must be refused, and
// bounds on what a client can cost.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/control_fixture.h"

namespace farspan::control {
namespace {

namespace fs = std::filesystem;

const std::string kToken = "0123456789abcdef0123456789abcdef";

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
