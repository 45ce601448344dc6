// Every transport against the conformance suite, and against itself where only it has a rule.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>
#include <tuple>

#include "transports/baselines/tcp_listener.h"
#include "transports/baselines/tcp_transport.h"
#include "transports/congestion/controllers.h"
#include "transports/core/span.h"
#include "transports/drivers/sim/sim_network.h"
#include "transports/drivers/udp/udp_transport.h"
#include "transports/testbed/conform.h"

namespace farspan {
namespace {

using namespace farspan::literals;
using baselines::TcpConfig;
using baselines::TcpTransport;

std::unique_ptr<TcpTransport> OpenTcp(TcpConfig config = {}) {
  if (config.local.length == 0) config.local = *ParseSocketAddress("127.0.0.1:0");
  auto made = TcpTransport::Open(config);
  EXPECT_TRUE(made) << (made ? "" : made.error().text());
  return std::move(*made);
}

void ExpectConforming(transport::Transport& a, transport::Transport& b) {
  const auto pump = [&] {
    a.progress(a.now());
    b.progress(b.now() + 200_us);
  };
  for (const auto& result : testbed::RunConformance({&a, &b, pump, 10_s})) {
    EXPECT_TRUE(result.passed) << result.name << ": " << result.detail;
  }
}

TEST(TcpTransport, ConformsWithOneSocketAndWithMany) {
  for (const uint32_t sockets : {1u, 4u}) {
    TcpConfig config;
    config.sockets = sockets;
    const auto a = OpenTcp(config), b = OpenTcp(config);
    ExpectConforming(*a, *b);
  }
}

TEST(TcpTransport, ConformsOverIpv6AndWithSmallBuffers) {
  TcpConfig config;
  config.local = *ParseSocketAddress("[::1]:0");
  config.send_buffer_bytes = config.receive_buffer_bytes = 16'384;
  const auto a = OpenTcp(config), b = OpenTcp(config);
  ExpectConforming(*a, *b);
}

// One comm from a to b, and another where it is asked for.
struct TcpPair {
  TcpPair() { connect(); }
  void connect() {
    transport::Handle handle;
    const auto listener = b->listen(handle);
    send = *a->connect(handle);
    std::optional<transport::CommId> accepted;
    while (!accepted || a->state(send) != transport::CommState::kReady) {
      a->progress(a->now() + 1_ms);
      b->progress(b->now() + 1_ms);
      if (!accepted) accepted = b->accept(*listener);
    }
    receive = *accepted;
    b->stop_listening(*listener);
  }
  const std::unique_ptr<TcpTransport> a = OpenTcp(), b = OpenTcp();
  transport::CommId send, receive;
};

TEST(TcpTransport, ASendIsDoneWhenTheKernelHasIt) {
  const TcpPair pair;
  TcpTransport* a = pair.a.get();
  // Small: at once, though no receive is posted. Longer than all buffers: not before one is.
  std::vector<uint8_t> data(200'000'000);
  const auto small = a->post_send(pair.send, {data.data(), 1000, 0}, 0);
  EXPECT_EQ(a->test(*small).progress, transport::Progress::kDone);
  const auto large = a->post_send(pair.send, {data.data(), data.size(), 0}, 0);
  for (int i = 0; i < 20; ++i) a->progress(a->now() + 1_ms);
  EXPECT_EQ(a->test(*large).progress, transport::Progress::kPending);
}

struct Told final : transport::ProgressListener {
  void on_progress() override { ++times; }
  int times = 0;
};

// Or a program that posts, tests and waits would wait in vain.
TEST(TcpTransport, AReceiveThatIsCompleteWhenItIsPostedIsTold) {
  const TcpPair pair;
  Told told;
  std::vector<uint8_t> data(1000);
  ASSERT_TRUE(pair.a->post_send(pair.send, {data.data(), data.size(), 0}, 0));
  for (int i = 0; i < 3; ++i) {
    pair.a->progress(pair.a->now() + 10_ms);
    pair.b->progress(pair.b->now() + 10_ms);  // it has come; nothing is posted
  }
  pair.b->set_listener(&told);
  ASSERT_TRUE(pair.b->post_recv(pair.receive, {data.data(), data.size(), 0}, 0));
  pair.b->progress(pair.b->now() + 10_s);
  EXPECT_EQ(told.times, 1);
}

TEST(TcpTransport, AMessageOfNoBytesIsTold) {
  const TcpPair pair;
  Told told;
  pair.b->set_listener(&told);
  const auto receive = pair.b->post_recv(pair.receive, {nullptr, 0, 0}, 0);
  ASSERT_TRUE(pair.a->post_send(pair.send, {nullptr, 0, 0}, 0));
  for (int i = 0; i < 100 && told.times == 0; ++i) pair.b->progress(pair.b->now() + 10_ms);
  EXPECT_EQ(told.times, 1);
  EXPECT_EQ(pair.b->test(*receive).progress, transport::Progress::kDone);
}

// The receive posted ahead fails; the one before it has all its bytes.
TEST(TcpTransport, WhatHasComeIsDoneThoughThePeerHasClosed) {
  const TcpPair pair;
  std::vector<uint8_t> data(1000);
  const auto first = pair.b->post_recv(pair.receive, {data.data(), data.size(), 0}, 0);
  const auto ahead = pair.b->post_recv(pair.receive, {data.data(), data.size(), 0}, 0);
  ASSERT_TRUE(pair.a->post_send(pair.send, {data.data(), data.size(), 0}, 0));
  pair.a->close(pair.send);
  const auto failed = [&] { return pair.b->state(pair.receive) == transport::CommState::kFailed; };
  for (int i = 0; i < 100 && !failed(); ++i) pair.b->progress(pair.b->now() + 10_ms);
  ASSERT_TRUE(failed());
  EXPECT_EQ(pair.b->test(*first).progress, transport::Progress::kDone);
  EXPECT_EQ(pair.b->test(*ahead).progress, transport::Progress::kFailed);
}

TEST(TcpTransport, AClosedCommGivesItsRequestsBack) {
  TcpPair pair;
  std::vector<uint8_t> data(1000);
  const auto pending = pair.b->post_recv(pair.receive, {data.data(), data.size(), 0}, 0);
  pair.b->close(pair.receive);
  pair.connect();
  const auto next = pair.b->post_recv(pair.receive, {data.data(), data.size(), 0}, 0);
  EXPECT_EQ(next->index, pending->index);
}

TEST(TcpTransport, BadConfigurationsAreErrors) {
  TcpConfig config;
  config.local = *ParseSocketAddress("127.0.0.1:0");
  config.congestion = "nosuch";
  const auto unknown = TcpTransport::Open(config);
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().text().find("nosuch"), std::string::npos);
  config.congestion = "cubic";
  config.sockets = 0;
  EXPECT_FALSE(TcpTransport::Open(config));
  config.sockets = 1;
  EXPECT_TRUE(TcpTransport::Open(config));
  config.local = *ParseSocketAddress("192.0.2.1:0");  // not ours
  EXPECT_FALSE(TcpTransport::Open(config));
}

// Says a hello to the listener, and waits until it has come.
baselines::TcpStream SayHello(const TcpConfig& config, const SocketAddress& to,
                              const baselines::TcpHello& hello) {
  auto stream = *baselines::TcpStream::Open(config);
  (void)::connect(stream.fd, to.get(), to.length);
  while (::send(stream.fd, &hello, sizeof hello, MSG_NOSIGNAL) < 0 && baselines::WouldBlock()) {
  }
  return stream;
}

TEST(TcpListener, MakesACommOfHellosThatAgreeAndOfNoOthers) {
  TcpConfig config;
  config.local = *ParseSocketAddress("127.0.0.1:0");
  auto listener = *baselines::TcpListener::Open(config);
  std::vector<baselines::TcpStream> peers;
  const auto say = [&](uint64_t comm, uint32_t sockets, uint32_t index) {
    peers.push_back(
        SayHello(config, listener.address(), {.sockets = sockets, .comm = comm, .index = index}));
  };
  say(7, 2, 1);
  say(7, 2, 1);    // twice the same
  say(7, 64, 40);  // of another number of connections
  say(8, 65, 0);   // too many
  say(8, 1, 1);    // beyond its own number
  peers.push_back(SayHello(config, listener.address(), {.magic = 1, .sockets = 1}));
  EXPECT_FALSE(*listener.take());
  say(7, 2, 0);
  const auto comm = *listener.take();
  ASSERT_TRUE(comm);
  EXPECT_EQ(comm->size(), 2u);
  EXPECT_FALSE(*listener.take());
}

// As long as it lives no descriptor can be had.
struct NoDescriptors {
  NoDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before);
    const int lowest = dup(0);
    close(lowest);
    const rlimit now{static_cast<rlim_t>(lowest), before.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &now), 0);
  }
  ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before); }
  rlimit before{};
};

TEST(TcpListener, WithoutDescriptorsSaysSoOnceAndSleepsUntilThereAreSome) {
  TcpConfig config;
  config.local = *ParseSocketAddress("127.0.0.1:0");
  auto listener = *baselines::TcpListener::Open(config);
  const auto peer = SayHello(config, listener.address(), {.sockets = 1, .comm = 7});
  std::vector<pollfd> watched;
  {
    const NoDescriptors none;
    const auto refused = listener.take();
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("ulimit -n"), std::string::npos)
        << refused.error().message;
    const auto again = listener.take();
    ASSERT_TRUE(again) << "said once";
    EXPECT_FALSE(*again);
    listener.watch(watched);
    EXPECT_TRUE(watched.empty()) << "it would be readable for ever";
  }
  EXPECT_TRUE(*listener.take()) << "it has waited";
  listener.watch(watched);
  EXPECT_EQ(watched.size(), 1u);
}

TEST(TcpTransport, WhoAcceptsIsToldThatDescriptorsHaveRunOut) {
  const auto a = OpenTcp(), b = OpenTcp();
  transport::Handle handle;
  const auto listener = b->listen(handle);
  ASSERT_TRUE(a->connect(handle));
  a->progress(a->now() + 10_ms);
  const NoDescriptors none;
  b->progress(b->now() + 1_s);
  const auto accepted = b->accept(*listener);
  ASSERT_TRUE(accepted);
  EXPECT_EQ(b->state(*accepted), transport::CommState::kFailed);
  EXPECT_NE(b->failure(*accepted).find("ulimit -n"), std::string::npos) << b->failure(*accepted);
}

std::unique_ptr<udp::UdpTransport> OpenUdp(const char* recovery, const char* congestion,
                                           size_t paths, bool gso, uint64_t seed) {
  transport::RegisterControllers();
  transport::SpanConfig config;
  config.payload_bytes = 1400;
  config.recovery = recovery;
  config.congestion = congestion;
  config.controller.rate = 1_gbps;
  config.seed = seed;
  config.granularity = udp::UdpTransport::kGranularity;
  udp::UdpConfig udp;
  udp.local.assign(paths, *ParseSocketAddress("127.0.0.1:0"));
  udp.gso = gso;
  auto span = transport::Span::Create(config);
  EXPECT_TRUE(span) << (span ? "" : span.error().text());
  auto made = udp::UdpTransport::Open(udp, std::move(*span), {"span", 1u << 30, 32, 0, {}});
  EXPECT_TRUE(made) << (made ? "" : made.error().text());
  return std::move(*made);
}

TEST(UdpTransport, ConformsWithEveryRecoveryAndController) {
  for (const auto& [recovery, congestion, paths, gso] : {std::tuple{"sr", "bbr", 1, true},
                                                         {"auto", "cubic", 2, true},
                                                         {"gbn", "fixed", 1, false},
                                                         {"ec", "swift", 1, true},
                                                         {"auto", "dcqcn", 4, true}}) {
    SCOPED_TRACE(std::string(recovery) + " " + congestion);
    const auto a = OpenUdp(recovery, congestion, static_cast<size_t>(paths), gso, 1);
    const auto b = OpenUdp(recovery, congestion, static_cast<size_t>(paths), gso, 2);
    ExpectConforming(*a, *b);
  }
}

std::unique_ptr<udp::UdpTransport> OpenUdpAt(const char* local, uint32_t payload, TimeNs timeout) {
  transport::SpanConfig config;
  config.payload_bytes = payload;
  config.controller.rate = 1_gbps;
  config.granularity = udp::UdpTransport::kGranularity;
  config.timeout = timeout;
  udp::UdpConfig udp;
  udp.local = {*ParseSocketAddress(local)};
  return *udp::UdpTransport::Open(udp, *transport::Span::Create(config),
                                  {"span", 1u << 30, 32, 0, {}});
}

// Control packets fit, so that both sides would go on for ever.
TEST(UdpTransport, DatagramsLongerThanThePathTakesFailTheCommAndAreNamed) {
  const auto a = OpenUdpAt("[::1]:0", 4000, 10_s), b = OpenUdpAt("[::1]:0", 4000, 10_s);
  const int mtu = 1500;
  setsockopt(a->socket(0).descriptor(), IPPROTO_IPV6, IPV6_MTU, &mtu, sizeof mtu);
  transport::Handle handle;
  const auto listener = b->listen(handle);
  const auto send = *a->connect(handle);
  std::optional<transport::CommId> receive;
  const TimeNs end = a->now() + 20_s;
  std::vector<uint8_t> data(100'000);
  bool posted = false;
  while (a->now() < end && a->state(send) != transport::CommState::kFailed) {
    a->progress(a->now() + 1_ms);
    b->progress(b->now() + 1_ms);
    if (!receive) {
      receive = b->accept(*listener);
      if (receive) b->post_recv(*receive, {data.data(), data.size(), 0}, 0);
    }
    if (!posted && a->state(send) == transport::CommState::kReady) {
      posted = a->post_send(send, {data.data(), data.size(), 0}, 0).has_value();
    }
  }
  EXPECT_LT(a->now(), end);
  EXPECT_NE(a->failure(send).find("too long"), std::string::npos) << a->failure(send);
  EXPECT_NE(a->failure(send).find("--payload"), std::string::npos) << a->failure(send);
}

TEST(UdpTransport, APeerWhoseHostSaysThatNobodyReceivesIsNamed) {
  const auto a = OpenUdpAt("127.0.0.1:0", 1400, 300_ms);
  transport::Handle handle;
  ASSERT_TRUE(OpenUdpAt("127.0.0.1:0", 1400, 1_s)->listen(handle));
  const auto send = *a->connect(handle);
  for (int i = 0; i < 100 && a->state(send) != transport::CommState::kFailed; ++i) {
    a->progress(a->now() + 100_ms);
  }
  EXPECT_NE(a->failure(send).find("nobody receives at 127.0.0.1:"), std::string::npos)
      << a->failure(send);
}

TEST(UdpTransport, BadConfigurationsAreErrors) {
  const auto open = [](std::vector<SocketAddress> local) {
    udp::UdpConfig config;
    config.local = std::move(local);
    return udp::UdpTransport::Open(config, *transport::Span::Create({}), {});
  };
  EXPECT_FALSE(open({}));
  EXPECT_FALSE(open({5, *ParseSocketAddress("127.0.0.1:0")}));
  EXPECT_FALSE(open({*ParseSocketAddress("192.0.2.1:0")}));
  EXPECT_TRUE(open({*ParseSocketAddress("127.0.0.1:0")}));
}

TEST(SimTransport, Conforms) {
  transport::SimNetwork network;
  link::DirectionSpec spec;
  spec.lanes[0].rate = 1_gbps;
  spec.lanes[0].path.delay = 2_ms;
  spec.lanes[0].loss.kind = link::LossKind::kBernoulli;
  spec.lanes[0].loss.probability = 0.01;
  const auto host = [&](uint64_t seed) -> transport::SimTransport& {
    transport::SpanConfig config;
    config.controller.rate = 1_gbps;
    config.seed = seed;
    return network.add_host(*transport::Span::Create(config), {"span", 1u << 30, 32, 0, {}});
  };
  transport::SimTransport &a = host(1), &b = host(2);
  network.route(a, b, *network.add_wire(spec, {.direction = 0}, {}));
  network.route(b, a, *network.add_wire(spec, {.direction = 1}, {}));
  const auto pump = [&] { network.run_until(network.now() + 1_ms); };
  for (const auto& result : testbed::RunConformance({&a, &b, pump, 30_s})) {
    EXPECT_TRUE(result.passed) << result.name << ": " << result.detail;
  }
}

}  // namespace
}  // namespace farspan
