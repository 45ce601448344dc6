// The baselines' models against closed forms: go-back-N and selective repeat with their timeouts,
// the retry law, the windows of NCCL and of TCP, TCP's answer to loss.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>

#include "tests/support/endpoint_pair.h"
#include "tests/support/link_support.h"
#include "transports/baselines/model_endpoint.h"
#include "transports/congestion/controllers.h"
#include "transports/testbed/theory.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using baselines::ModelConfig;
using baselines::ModelCounters;
using baselines::ModelEndpoint;
using testbed::MessageOnLink;

constexpr TimeNs kRtt = 25_ms;

struct Case {
  ModelConfig config{};
  Rate rate = 12'500_mbps;
  TimeNs rtt = kRtt;
  double loss = 0;
};

Case Rc(const std::string& model, double loss) {
  Case c{.loss = loss};
  c.config.model = model;
  c.config.rc.selective = model == "rc-sr";
  c.config.rc.adaptive = false;
  c.config.rc.timeout = 13;  // T = 33.6 ms
  c.config.lengths_only = true;
  c.config.controller.rate = c.rate;
  return c;
}

class ModelPair : public EndpointPair {
 public:
  explicit ModelPair(const Case& c) : EndpointPair(Wire(c), Make(c, 1), Make(c, 2)), case_(c) {
    EXPECT_TRUE(connect(5_s));
  }

  const ModelCounters& sender() const {
    return static_cast<ModelEndpoint&>(a->endpoint()).counters();
  }
  const ModelCounters& receiver() const {
    return static_cast<ModelEndpoint&>(b->endpoint()).counters();
  }
  double mean_sender(uint64_t bytes, int messages) {
    double sum = 0;
    for (int i = 0; i < messages; ++i) {
      sum += ToSeconds(exchange(bytes, case_.rtt, 600_s).sender);
    }
    return sum / messages;
  }

 private:
  static std::unique_ptr<ModelEndpoint> Make(const Case& c, uint64_t seed) {
    transport::RegisterControllers();
    ModelConfig config = c.config;
    config.seed = seed;
    return Must(ModelEndpoint::Create(config));
  }
  static WireOptions Wire(const Case& c) {
    WireOptions options;
    options.there = options.back = Plain(c.rate, TimeNs{c.rtt.ns / 2});
    for (auto* direction : {&options.there, &options.back}) {
      direction->lanes[0].loss.kind = link::LossKind::kBernoulli;
      direction->lanes[0].loss.probability = c.loss;
    }
    options.link_seed = 5;
    options.capacity.packets = 600'000;
    options.sim.granularity = 2_us;
    return options;
  }

  const Case case_;
};

constexpr uint64_t kDatagrams = 1'024;

// RETH in front of every packet of selective repeat, of the first otherwise.
MessageOnLink Theory(const Case& c) {
  const double wire = 4096 + 66 + 16 + (c.config.rc.selective ? 16 : 0);
  return {kDatagrams, wire * 8 / static_cast<double>(c.rate.bits_per_s), ToSeconds(c.rtt), c.loss};
}

double MeanWait(const Case& c) {
  return 2.5 * 4.096e-6 * std::ldexp(1, static_cast<int>(c.config.rc.timeout));
}

TEST(BaselinesRc, WithoutLossAMessageTakesItsLosslessBound) {
  for (const char* model : {"rc-gbn", "rc-sr"}) {
    const Case c = Rc(model, 0);
    ModelPair pair(c);
    const auto times = pair.exchange(kDatagrams * 4096, kRtt, 1_s);
    const MessageOnLink theory = Theory(c);
    EXPECT_NEAR(ToSeconds(times.receiver), testbed::LosslessReceiver(theory), 10e-6);
    EXPECT_NEAR(ToSeconds(times.sender), testbed::LosslessSender(theory), 10e-6);
    EXPECT_EQ(pair.sender().data_resent, 0u);
  }
}

// A lost head of a retransmission, a lost NAK and a lost tail wait for the timer, the formula's
// other failures for a NAK. How often: each of the N p / (1 - p) gaps loses its NAK or the packet
// that answers it with probability 2 p, and a message its last packet or its last ACK.
TEST(BaselinesRc, GoBackNCostsWhatItsFormulaSays) {
  for (const auto& [loss, messages] : {std::pair{1e-3, 700}, {1e-2, 250}}) {
    const Case c = Rc("rc-gbn", loss);
    ModelPair pair(c);
    const double mean = pair.mean_sender(kDatagrams * 4096, messages);
    const double timeouts = static_cast<double>(pair.sender().timeouts) / messages;
    const double law = 2 * loss * (kDatagrams * loss / (1 - loss) + 1);
    if (law * messages > 50) {
      EXPECT_NEAR(timeouts, law, 0.3 * law);
    }
    const double expected = testbed::GoBackNMean(Theory(c)) + timeouts * MeanWait(c);
    EXPECT_NEAR(mean, expected, 0.05 * expected) << loss;
  }
}

TEST(BaselinesRc, SelectiveRepeatCostsWhatItsFormulaSays) {
  const Case c = Rc("rc-sr", 1e-3);
  ModelPair pair(c);
  constexpr int kMessages = 800;
  const double mean = pair.mean_sender(kDatagrams * 4096, kMessages);
  const double timeouts = static_cast<double>(pair.sender().timeouts) / kMessages;
  const double expected =
      testbed::SelectiveRepeatMean(Theory(c)) + ToSeconds(kRtt) / 2 + timeouts * MeanWait(c);
  EXPECT_NEAR(mean, expected, 0.05 * expected);
}

// The twin is a NIC as it comes: its adaptive timer sends again before an ACK can have come.
TEST(BaselinesRc, NothingIsSentTwiceWithoutLossUnlessTheNicHurries) {
  for (const bool adaptive : {false, true}) {
    for (const char* model : {"rc-gbn", "rc-sr"}) {
      Case c = Rc(model, 0);
      c.config.rc.adaptive = adaptive;
      ModelPair pair(c);
      pair.exchange(64 * 4096, kRtt, 1_s);
      pair.network.run_until(pair.network.now() + kRtt);
      // At 2, 6 and 14 ms; the next would be at 30.
      EXPECT_EQ(pair.sender().timeouts, adaptive ? 3u : 0u);
      EXPECT_EQ(pair.sender().data_resent, adaptive ? 3u * 64 : 0u);
      EXPECT_EQ(pair.receiver().data_duplicate, pair.sender().data_resent);
    }
  }
}

TEST(BaselinesRc, RetriesEndInAnErrorAfterEightTimeouts) {
  const Case c = Rc("rc-gbn", 0);
  const double timeout = MeanWait(c) / 2.5;
  ModelPair pair(c);
  const auto receive = pair.b->post_recv(*pair.comm_b, {nullptr, 100'000}, 0);
  ASSERT_TRUE(receive);
  pair.network.run_until(pair.network.now() + kRtt);
  pair.b->vanish();
  const auto send = pair.a->post_send(pair.comm_a, {nullptr, 100'000}, 0);
  ASSERT_TRUE(send);
  const TimeNs start = pair.network.now();
  const auto pending = [&] { return pair.a->state(pair.comm_a) == transport::CommState::kReady; };
  ASSERT_TRUE(pair.network.run_while(pending, start + 60_s));
  const double waited = ToSeconds(pair.network.now() - start);
  EXPECT_GE(waited, 8 * timeout);
  EXPECT_LE(waited, 32 * timeout);
  EXPECT_EQ(pair.sender().timeouts, 8u);
  EXPECT_NE(pair.a->failure(pair.comm_a).find("retry count of 7"), std::string_view::npos);
  EXPECT_EQ(pair.a->test(*send).progress, transport::Progress::kFailed);
}

TEST(BaselinesRc, ProgressGivesTheRetriesBack) {
  // Eight times as many failures as there are retries, and yet no error.
  const Case c = Rc("rc-gbn", 0.02);
  ModelPair pair(c);
  pair.mean_sender(kDatagrams * 4096, 4);
  EXPECT_GE(pair.sender().timeouts + pair.receiver().naks, 64u);
  EXPECT_EQ(pair.a->state(pair.comm_a), transport::CommState::kReady);
}

// --- TCP --------------------------------------------------------------------------------------

Case Tcp(const std::string& congestion, double loss) {
  Case c{.rate = 1_gbps, .rtt = 20_ms, .loss = loss};
  c.config.model = "tcp";
  c.config.congestion = congestion;
  c.config.payload_bytes = 1448;
  c.config.lengths_only = true;
  c.config.controller.rate = congestion == "fixed" ? c.rate : Rate{};
  c.config.tcp.send_buffer_bytes = c.config.tcp.receive_buffer_bytes = 16'000'000;
  return c;
}

double Goodput(ModelPair& pair, uint64_t bytes) {
  const auto times = pair.exchange(bytes, kRtt, 600_s);
  return static_cast<double>(bytes) * 8 / ToSeconds(times.receiver);
}

TEST(BaselinesTcp, TheReceiveBufferIsTheWindow) {
  Case c = Tcp("fixed", 0);
  c.config.tcp.receive_buffer_bytes = 2'000'000;
  ModelPair pair(c);
  const double expected = 1'000'000 * 8 / ToSeconds(c.rtt);
  EXPECT_NEAR(Goodput(pair, 100'000'000), expected, 0.03 * expected);
  EXPECT_EQ(pair.sender().data_resent, 0u);
}

TEST(BaselinesTcp, AWindowIsAtMostAGibibyte) {
  Case c = Tcp("fixed", 0);
  c.rate = c.config.controller.rate = 800_gbps;
  c.rtt = kRtt;
  c.config.payload_bytes = 64'000;
  c.config.tcp.send_buffer_bytes = c.config.tcp.receive_buffer_bytes = uint64_t{16} << 30;
  ModelPair pair(c);
  EXPECT_NEAR(Goodput(pair, uint64_t{16} << 30), 343.6e9, 0.05 * 343.6e9);
}

// Linux's CUBIC takes the larger of its curve and of Reno's window, sqrt(1.5 / p) segments with its
// own constants (RFC 9438, 4.3); at 20 ms that is Reno's at 1e-3, and a good part of the curve's at
// 1e-4.
TEST(BaselinesTcp, CubicAnswersLossAsItsLawSays) {
  for (const auto& [loss, more] : {std::pair{1e-4, 1.5}, {1e-3, 1.2}}) {
    ModelPair pair(Tcp("cubic", loss));
    const double law = std::sqrt(1.5 / loss) * 1448 * 8 / 20e-3;
    Goodput(pair, 20'000'000);  // past slow start
    const double goodput = Goodput(pair, static_cast<uint64_t>(60 * law / 8));
    EXPECT_GE(goodput, 0.85 * law) << loss;
    EXPECT_LE(goodput, more * law) << loss;
  }
}

TEST(BaselinesTcp, BbrHardlyMindsLoss) {
  ModelPair pair(Tcp("bbr", 1e-3));
  Goodput(pair, 50'000'000);
  const double goodput = Goodput(pair, 250'000'000);
  EXPECT_GE(goodput, 0.85e9 * 1448 / 1538);
  EXPECT_LE(goodput, 1e9 * 1448 / 1538);
}

}  // namespace
}  // namespace farspan::test
