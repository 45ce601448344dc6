// The transports over verbs, on a device that is none (fake_verbs.h): the conformance suite, and
// what they do where the device fails. tests/vm runs them on the kernel's RoCE.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/fake_verbs.h"
#include "transports/baselines/rc_transport.h"
#include "transports/core/span.h"
#include "transports/drivers/verbs/verbs_transport.h"
#include "transports/testbed/conform.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using transport::CommId;
using transport::CommState;

using Opened = std::unique_ptr<transport::Transport>;

Opened OpenSpan(uint64_t seed) {
  transport::SpanConfig config;
  config.payload_bytes = 3584;
  config.controller.rate = 1_gbps;
  config.granularity = verbs::VerbsTransport::kGranularity;
  config.seed = seed;
  config.timeout = 1_s;
  return *verbs::VerbsTransport::Open(*verbs::Device::Open({}), *transport::Span::Create(config),
                                      {"span", 1u << 30, 32, 0, {}});
}

Opened OpenRc(uint64_t) {
  baselines::RcTransportConfig config;
  config.local = *ParseSocketAddress("127.0.0.1:0");
  return *baselines::RcTransport::Open(config);
}

class VerbsTransports : public testing::TestWithParam<Opened (*)(uint64_t)> {
 protected:
  VerbsTransports() { Fake().numbers.clear(); }
  ~VerbsTransports() override {
    Fake().arm_error = Fake().resolve_error = 0;
    Fake().resolve_ms = 0;
  }
};
INSTANTIATE_TEST_SUITE_P(SpanAndRc, VerbsTransports, testing::Values(&OpenSpan, &OpenRc));

struct Connected {
  explicit Connected(Opened (*open)(uint64_t)) : a(open(1)), b(open(2)) {
    transport::Handle handle;
    const auto listener = *b->listen(handle);
    send = *a->connect(handle);
    std::optional<CommId> accepted;
    for (int i = 0; i < 1000 && (!accepted || a->state(send) != CommState::kReady); ++i) {
      move();
      if (!accepted) accepted = b->accept(listener);
    }
    EXPECT_TRUE(accepted) << a->failure(send);
    receive = accepted.value_or(CommId{});
  }
  void move() const {
    a->progress(a->now() + 1_ms);
    b->progress(b->now() + 1_ms);
  }
  Opened a, b;
  CommId send, receive;
  std::vector<uint8_t> data = std::vector<uint8_t>(100'000);
};

TEST_P(VerbsTransports, Conform) {
  const Opened a = GetParam()(1), b = GetParam()(2);
  const auto pump = [&] {
    a->progress(a->now());
    b->progress(b->now() + 200_us);
  };
  for (const auto& result : testbed::RunConformance({a.get(), b.get(), pump, 10_s})) {
    EXPECT_TRUE(result.passed) << result.name << ": " << result.detail;
  }
}

void ExpectSaid(std::string_view text, const std::string& what) {
  EXPECT_NE(text.find(what), std::string_view::npos) << text;
}

// Well before any timeout; the cause, though the receives that it flushed come first.
TEST_P(VerbsTransports, AQueuePairThatFailsFailsItsCommAndSaysWhy) {
  for (const bool of_send : {false, true}) {
    Fake().numbers.clear();
    Connected pair(GetParam());
    const auto sent = pair.a->post_send(pair.send, {pair.data.data(), pair.data.size()}, 0);
    ASSERT_TRUE(sent);
    const uint32_t number = Fake().numbers[0];
    Fake().fail(number, IBV_WC_LOC_QP_OP_ERR, of_send);
    const TimeNs end = pair.a->now() + 1_s;
    while (pair.a->state(pair.send) == CommState::kReady && pair.a->now() < end) {
      pair.a->progress(pair.a->now() + 10_ms);
    }
    ASSERT_EQ(pair.a->state(pair.send), CommState::kFailed);
    EXPECT_EQ(pair.a->test(*sent).progress, transport::Progress::kFailed);
    const std::string_view why = pair.a->failure(pair.send);
    ExpectSaid(why, "queue pair " + std::to_string(number) + " of fake0:1");
    ExpectSaid(why, ibv_wc_status_str(IBV_WC_LOC_QP_OP_ERR));
    ExpectSaid(why, "dmesg");
  }
}

// A completion that comes then is not told: to sleep would be to miss it.
TEST_P(VerbsTransports, ADeviceThatNotifiesOfNothingFailsTheComm) {
  Connected pair(GetParam());
  Fake().arm_error = EIO;
  ASSERT_TRUE(pair.b->post_recv(pair.receive, {pair.data.data(), pair.data.size()}, 0));
  ASSERT_TRUE(pair.a->post_send(pair.send, {pair.data.data(), pair.data.size()}, 0));
  const TimeNs end = pair.a->now() + 1_s;
  const auto failed = [&] { return pair.a->state(pair.send) == CommState::kFailed; };
  while (!failed() && pair.a->now() < end) pair.move();
  ASSERT_TRUE(failed());
  const std::string why(pair.a->failure(pair.send));
  const std::string other(pair.b->failure(pair.receive));
  ExpectSaid(why + other, "notifies of no completion");
}

class SpanOverVerbs : public VerbsTransports {};
INSTANTIATE_TEST_SUITE_P(Span, SpanOverVerbs, testing::Values(&OpenSpan));

// Where a peer's address does not resolve, nobody but those who ask for it waits.
TEST_P(SpanOverVerbs, AddressesAreResolvedBesideTheTraffic) {
  Connected pair(GetParam());
  Fake().resolve_ms = 60'000;
  Fake().released = false;
  transport::Handle nowhere;
  ASSERT_TRUE(pair.b->listen(nowhere));
  nowhere[13 + 15] = 9;  // 127.0.0.9
  const TimeNs start = pair.a->now();
  const auto lost = pair.a->connect(nowhere);
  ASSERT_TRUE(lost);
  const auto receive = pair.b->post_recv(pair.receive, {pair.data.data(), pair.data.size()}, 0);
  ASSERT_TRUE(pair.a->post_send(pair.send, {pair.data.data(), pair.data.size()}, 0));
  transport::Completion done;
  while (done.progress == transport::Progress::kPending && pair.a->now() - start < 30_s) {
    pair.move();
    done = pair.b->test(*receive);
  }
  EXPECT_EQ(done.progress, transport::Progress::kDone);
  EXPECT_LT(pair.a->now() - start, 30_s) << "of the 60 that resolving takes";
  EXPECT_EQ(pair.a->state(*lost), CommState::kConnecting);
  Fake().released = true;
}

TEST_P(SpanOverVerbs, AnAddressWithoutAWayIsNamed) {
  const Opened a = GetParam()(1), b = GetParam()(2);
  transport::Handle handle;
  ASSERT_TRUE(b->listen(handle));
  Fake().resolve_error = EHOSTUNREACH;
  const auto comm = *a->connect(handle);
  for (int i = 0; i < 500 && a->state(comm) != CommState::kFailed; ++i) {
    a->progress(a->now() + 10_ms);
  }
  ExpectSaid(a->failure(comm), "fake0:1 finds no way to ::ffff:127.0.0.1: No route to host");
}

}  // namespace
}  // namespace farspan::test
