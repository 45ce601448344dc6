// What a session must do besides delivering: refuse, fail in time, tell sizes and tags apart, keep
// strangers out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/link_support.h"
#include "tests/support/span_pair.h"
#include "tests/support/span_wire.h"
#include "transports/core/loss_estimate.h"
#include "transports/core/recoveries.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using namespace transport;

PairOptions Quiet() {
  PairOptions options;
  options.there = options.back = Plain(1_gbps, 5_ms);
  options.config.controller.rate = 1_gbps;
  options.config.lengths_only = true;
  options.config.window_packets = 256;
  options.config.timeout = 2_s;
  options.config.max_connections = 2;
  return options;
}

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

TEST(SpanSession, APeerThatVanishesIsAnErrorInBoundedTime) {
  for (const bool sender_dies : {true, false}) {
    SpanPair pair(Quiet());
    ASSERT_TRUE(pair.connect(1_s));
    const auto receive = pair.b->post_recv(*pair.comm_b, {nullptr, 100'000'000}, 0);
    const auto send = pair.a->post_send(pair.comm_a, {nullptr, 100'000'000}, 0);
    pair.network.run_until(pair.network.now() + 100_ms);
    (sender_dies ? pair.a : pair.b)->vanish();
    SimTransport& left = sender_dies ? *pair.b : *pair.a;
    const RequestId request = sender_dies ? *receive : *send;
    const CommId comm = sender_dies ? *pair.comm_b : pair.comm_a;
    const TimeNs start = pair.network.now();
    ASSERT_TRUE(pair.network.run_while([&] { return left.state(comm) == CommState::kReady; },
                                       start + 10_s));
    EXPECT_GE(pair.network.now() - start, 1_s + 900_ms);
    EXPECT_LE(pair.network.now() - start, 2_s + 100_ms);
    EXPECT_EQ(left.test(request).progress, Progress::kFailed);
    EXPECT_TRUE(Contains(left.failure(comm), "has not answered for 2 s")) << left.failure(comm);
  }
}

TEST(SpanSession, ADriversTroubleEndsOnlyTheCommsOfItsRoute) {
  for (const bool everywhere : {false, true}) {
    SpanPair pair(Quiet());
    ASSERT_TRUE(pair.connect(1_s));
    const Route own = pair.span_a->path(0).route();
    Route other = own;
    other.local = 7;
    pair.span_a->on_trouble(pair.network.now(), {&other, "elsewhere", true});
    pair.span_a->on_trouble(pair.network.now(), {&own, "for a while", false});
    EXPECT_EQ(pair.a->state(pair.comm_a), CommState::kReady);
    pair.span_a->on_trouble(pair.network.now(), {everywhere ? nullptr : &own, "a reason", true});
    EXPECT_EQ(pair.a->state(pair.comm_a), CommState::kFailed);
    EXPECT_EQ(pair.a->failure(pair.comm_a), "a reason");
  }
}

// But what was before the peer was last heard of is no reason any more.
TEST(SpanSession, ASilentPeersFailureSaysWhatTheDriverCouldNotSend) {
  for (const bool heard_since : {false, true}) {
    SpanPair pair(Quiet());
    ASSERT_TRUE(pair.connect(1_s));
    const auto trouble = [&] {
      const Route route = pair.span_a->path(0).route();
      pair.span_a->on_trouble(pair.network.now(), {&route, "a firewall", false});
    };
    if (heard_since) trouble();
    ASSERT_TRUE(pair.b->post_recv(*pair.comm_b, {nullptr, 100'000'000}, 0));
    ASSERT_TRUE(pair.a->post_send(pair.comm_a, {nullptr, 100'000'000}, 0));
    pair.network.run_until(pair.network.now() + 100_ms);
    pair.b->vanish();
    pair.network.run_until(pair.network.now() + 100_ms);
    if (!heard_since) trouble();
    pair.network.run_until(pair.network.now() + 5_s);
    EXPECT_EQ(Contains(pair.a->failure(pair.comm_a), "a firewall"), !heard_since)
        << pair.a->failure(pair.comm_a);
    EXPECT_TRUE(Contains(pair.a->failure(pair.comm_a), "has not answered for 2 s"));
  }
}

TEST(SpanSession, AnIdleConnectionIsNotGivenUp) {
  SpanPair pair(Quiet());
  ASSERT_TRUE(pair.connect(1_s));
  pair.b->post_recv(*pair.comm_b, {nullptr, 100}, 0);  // waits for a sender with nothing to say
  pair.network.run_until(60_s);
  EXPECT_EQ(pair.a->state(pair.comm_a), CommState::kReady);
  EXPECT_EQ(pair.b->state(*pair.comm_b), CommState::kReady);
  pair.a->post_send(pair.comm_a, {nullptr, 100}, 0);
  pair.network.run_until(61_s);
  EXPECT_EQ(pair.span_b->counters().data_received, 1u);
}

TEST(SpanSession, NobodyListensAndNobodyAnswers) {
  SpanPair pair(Quiet());
  Handle handle;
  const ListenId listener = *pair.b->listen(handle);
  pair.b->stop_listening(listener);
  const CommId refused = *pair.a->connect(handle);
  pair.network.run_until(1_s);
  EXPECT_EQ(pair.a->state(refused), CommState::kFailed);
  EXPECT_TRUE(Contains(pair.a->failure(refused), "nobody listens"));
  pair.b->vanish();
  const CommId unheard = *pair.a->connect(handle);
  pair.network.run_until(3_s + 100_ms);
  EXPECT_EQ(pair.a->state(unheard), CommState::kFailed);
  EXPECT_TRUE(Contains(pair.a->failure(unheard), "does not answer"));
  EXPECT_FALSE(pair.a->connect(handle).has_value());  // both are in use until they are closed
  pair.a->close(refused);
  EXPECT_TRUE(pair.a->connect(handle).has_value());
}

TEST(SpanSession, UnequalSizesAndTagsAreErrorsOnBothSides) {
  for (const bool too_long : {true, false}) {
    SpanPair pair(Quiet());
    ASSERT_TRUE(pair.connect(1_s));
    const auto receive = pair.b->post_recv(*pair.comm_b, {nullptr, 1'000}, 7);
    const auto send =
        pair.a->post_send(pair.comm_a, {nullptr, too_long ? 1'001u : 1'000u}, too_long ? 7 : 8);
    pair.network.run_until(pair.network.now() + 1_s);
    EXPECT_EQ(pair.a->test(*send).progress, Progress::kFailed);
    EXPECT_EQ(pair.b->test(*receive).progress, Progress::kFailed);
    const std::string_view part = too_long ? "longer than the receive" : "tag was not";
    EXPECT_TRUE(Contains(pair.a->failure(pair.comm_a), part));
    EXPECT_TRUE(Contains(pair.b->failure(*pair.comm_b), part));
  }
}

TEST(SpanSession, ClosingTellsThePeerAndFreesTheComm) {
  SpanPair pair(Quiet());
  ASSERT_TRUE(pair.connect(1_s));
  ASSERT_NE(pair.exchange(10'000, 10_ms, 1_s).sender, kNever);
  const auto receive = pair.b->post_recv(*pair.comm_b, {nullptr, 1'000}, 0);
  pair.a->close(pair.comm_a);
  EXPECT_EQ(pair.a->state(pair.comm_a), CommState::kClosed);
  pair.network.run_until(pair.network.now() + 1_s);
  EXPECT_EQ(pair.b->state(*pair.comm_b), CommState::kFailed);
  EXPECT_EQ(pair.b->test(*receive).progress, Progress::kFailed);
  pair.b->close(*pair.comm_b);
  pair.network.run_until(pair.network.now() + 1_s);
  for (int i = 0; i < 5; ++i) {  // more often than there are places
    pair.comm_b.reset();
    ASSERT_TRUE(pair.connect(1_s)) << i;
    ASSERT_NE(pair.exchange(10'000, 10_ms, 1_s).sender, kNever);
    pair.a->close(pair.comm_a);
    pair.b->close(*pair.comm_b);
    pair.network.run_until(pair.network.now() + 1_s);
  }
}

// The payload of a datagram that a driver has taken and not sent yet is the connection's.
TEST(SpanSession, AClosedConnectionStaysUntilTheDriverHasSentAllThatItTook) {
  SpanWireOptions options;
  options.config.payload_bytes = 500;
  options.config.max_connections = 1;
  options.config.controller.rate = 1_gbps;
  SpanWire wire(options);
  ASSERT_TRUE(wire.connect(1_s));
  for (int i = 0; i < 100; ++i) wire.step();
  std::vector<TxSlot> slots(16);
  const auto leave = [&](uint32_t from) {
    wire.side[from]->on_timeout(wire.now());
    return std::span(slots).first(wire.side[from]->poll_transmit(wire.now(), wire.now(), slots));
  };
  const auto carry = [&](uint32_t from) {
    for (const TxSlot& slot : leave(from)) {
      wire.inject(1 - from, std::span(slot.header).first(slot.header_bytes));
    }
  };
  std::vector<uint8_t> bytes(500);
  wire.side[1]->post_recv(wire.now(), wire.comm[1], {bytes.data(), bytes.size()}, 0);
  carry(1);
  wire.side[0]->post_send(wire.now(), wire.comm[0], {bytes.data(), bytes.size()}, 0);
  const auto taken = leave(0);
  ASSERT_EQ(taken.size(), 1u);
  const Sent sent{taken[0].id, wire.now()};
  ASSERT_NE(sent.id, 0u);
  wire.side[1]->close(wire.now(), wire.comm[1]);
  carry(1);
  wire.side[0]->close(wire.now(), wire.comm[0]);
  carry(0);  // CLOSED
  const Route route{};
  EXPECT_FALSE(wire.side[0]->connect(wire.now(), 1, {&route, 1})) << "its place is still taken";
  wire.side[0]->on_sent(wire.now(), {&sent, 1});
  EXPECT_TRUE(wire.side[0]->connect(wire.now(), 1, {&route, 1}));
}

TEST(SpanSession, NothingIsSentBeforeItsReceiveIsPosted) {
  SpanPair pair(Quiet());
  ASSERT_TRUE(pair.connect(1_s));
  const auto send = pair.a->post_send(pair.comm_a, {nullptr, 10'000}, 0);
  pair.network.run_until(pair.network.now() + 1_s);
  EXPECT_EQ(pair.span_a->counters().data_sent, 0u);
  pair.b->post_recv(*pair.comm_b, {nullptr, 10'000}, 0);
  pair.network.run_until(pair.network.now() + 1_s);
  EXPECT_EQ(pair.a->test(*send).progress, Progress::kDone);
}

// Everything that crossed once is replayed, and replayed damaged: nothing changes.
TEST(SpanSession, WithAKeyForgedAndReplayedDatagramsAreDropped) {
  PairOptions options = Quiet();
  options.config.mac = MacKey{{7}};
  options.config.lengths_only = false;
  SpanPair pair(options);
  std::vector<std::vector<uint8_t>> headers;
  ASSERT_TRUE(pair.connect(1_s));
  pair.network.on_departure = [&](TimeNs, std::span<const uint8_t> header) {
    headers.emplace_back(header.begin(), header.end());
  };
  std::vector<uint8_t> out(10'000, 3), in(10'000);
  const auto receive = pair.b->post_recv(*pair.comm_b, {in.data(), in.size()}, 0);
  pair.a->post_send(pair.comm_a, {out.data(), out.size()}, 0);
  pair.network.run_until(pair.network.now() + 1_s);
  ASSERT_EQ(pair.b->test(*receive).progress, Progress::kDone);
  EXPECT_EQ(in, out);
  const uint64_t received = pair.span_b->counters().data_received;
  uint64_t macs = 0;
  for (std::vector<uint8_t>& bytes : headers) {
    Header header;
    uint32_t size = 0;
    ASSERT_EQ(ParseHeader(bytes, header, size), Drop::kNone);
    const uint64_t before = pair.span_b->counters().dropped[static_cast<size_t>(Drop::kMac)];
    if (header.type == PacketType::kData) {  // an attacker's own, the checksum right, no MAC
      header.number += 1'000;
      EncodeHeader(header, bytes);
      bytes.resize(size + 8);
      SealCrc(std::span(bytes).first(size), {});
      RxView view{.at = pair.network.now(), .route = {}, .bytes = bytes, .lengths_only = true};
      pair.span_b->on_datagrams(pair.network.now(), {&view, 1});
      macs += pair.span_b->counters().dropped[static_cast<size_t>(Drop::kMac)] - before;
    }
  }
  EXPECT_EQ(macs, 3u);
  EXPECT_EQ(pair.span_b->counters().data_received, received);
}

TEST(SpanSession, UnknownNamesAndSizesAreErrorsThatSayWhatIsPossible) {
  SpanConfig config;
  config.recovery = "hope";
  auto made = Span::Create(config);
  ASSERT_FALSE(made.has_value());
  EXPECT_TRUE(Contains(made.error().message, "gbn sr ec auto")) << made.error().message;
  config.recovery = "sr";
  config.congestion = "luck";
  made = Span::Create(config);
  ASSERT_FALSE(made.has_value());
  EXPECT_TRUE(Contains(made.error().message, "fixed")) << made.error().message;
  config.congestion = "fixed";
  config.window_packets = 1'000;
  made = Span::Create(config);
  ASSERT_FALSE(made.has_value());
  EXPECT_TRUE(Contains(made.error().message, "power of two")) << made.error().message;
}

// The figures of the design: 128 + 5 holds to 1e-3, 128 + 10 to 1e-2, for messages of 256 blocks.
TEST(SpanParity, IsAsMuchAsTheDesignSays) {
  const double target = 1e-4 / 256;
  EXPECT_LE(ParityFor(128, 1e-3, target, 64), 5u);
  EXPECT_GE(ParityFor(128, 1e-3, target, 64), 4u);
  EXPECT_LE(ParityFor(128, 1e-2, target, 64), 11u);
  EXPECT_GE(ParityFor(128, 1e-2, target, 64), 10u);
  EXPECT_EQ(ParityFor(128, 0, target, 64), 0u);
  EXPECT_EQ(ParityFor(1, 1e-2, 1e-4, 64), 1u);
}

TEST(SpanParity, ABurstIsSpreadOverBlocks) {
  const QueueView queue{
      .message_datagrams = 32'768, .message_left = 32'768, .loss = 1e-3, .burst = 20};
  const GroupPlan plan = PlanParity({}, queue);
  EXPECT_GE(plan.blocks * plan.parity, 20u);
  EXPECT_LT((plan.blocks - 1) * plan.parity, 20u);
}

// No fewer copies than make all of them as rare to be lost as a block, and no more; and where much
// is lost, two, or an outage would be answered with several times what it took.
TEST(SpanRepairs, WhatWouldBeMissedGoesInEnoughCopies) {
  const RecoveryConfig config;
  const RecoveryPtr recovery = MakeAuto(config);
  const auto copies = [&](double loss, uint64_t inflight, TimeNs until_dry, bool again) {
    LostPacket lost;
    lost.until_dry = until_dry;
    lost.smoothed_rtt = 25_ms;
    lost.again = again;
    lost.loss = loss;
    lost.inflight = inflight;
    return recovery->on_lost(lost).copies;
  };
  for (const double loss : {1e-4, 1e-3, 1e-2}) {
    for (const uint64_t inflight : {3'000, 30'000, 300'000}) {
      const double repairs = std::max(1.0, loss * static_cast<double>(inflight));
      const uint32_t n = copies(loss, inflight, 0_ms, false);
      EXPECT_LE(repairs * std::pow(loss, n), config.fallback_target) << loss << " " << inflight;
      EXPECT_TRUE(n == 2 || repairs * std::pow(loss, n - 1) > config.fallback_target)
          << loss << " " << inflight;
      EXPECT_EQ(copies(loss, inflight, 26_ms, true), n);
      EXPECT_EQ(copies(loss, inflight, 26_ms, false), 1u);
    }
  }
  EXPECT_EQ(copies(1e-2, 300'000, 0_ms, false), 4u);
  EXPECT_EQ(copies(1e-6, 300'000, 0_ms, false), 2u);
  EXPECT_EQ(copies(0.1, 300'000, 0_ms, false), 2u);
  EXPECT_EQ(copies(0.5, 300'000, 0_ms, true), 2u);
}

TEST(SpanParity, TheLossEstimateIsAnUpperBoundThatLearns) {
  LossEstimate estimate;
  EXPECT_NEAR(estimate.upper(), 4.6e-3, 0.3e-3);  // the prior's 99 %
  estimate.on_delivered(1'000'000);
  EXPECT_LT(estimate.upper(), 1e-5);
  LossEstimate lossy;
  for (uint64_t n = 0; n < 100'000; ++n) {
    if (n % 100 == 0) {
      lossy.on_lost(n);
    } else {
      lossy.on_delivered(1);
    }
  }
  EXPECT_GT(lossy.upper(), 0.01);
  EXPECT_LT(lossy.upper(), 0.012);
  EXPECT_EQ(lossy.burst(), 1u);
}

}  // namespace
}  // namespace farspan::test
