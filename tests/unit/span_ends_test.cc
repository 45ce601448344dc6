// How connections begin and end where the path loses, delays and repeats what says so.
#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "emulator/base/units.h"
#include "tests/support/span_wire.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using namespace transport;
using Bytes = std::vector<uint8_t>;

constexpr ListenId kListener{0};  // of SpanWire::connect()

SpanWireOptions OneConnection() {
  SpanWireOptions options;
  options.config.payload_bytes = 500;
  options.config.window_packets = 64;
  options.config.max_connections = 1;
  options.config.controller.rate = {50'000'000};
  options.config.timeout = 2_s;
  return options;
}

PacketType TypeOf(std::span<const uint8_t> bytes) { return static_cast<PacketType>(bytes[0] & 15); }

void Rest(SpanWire& wire, TimeNs until) {
  while (wire.now() < until && wire.step()) {
  }
}

void CloseBoth(SpanWire& wire) {
  for (int i = 0; i < 2; ++i) wire.side[i]->close(wire.now(), wire.comm[i]);
  Rest(wire, wire.now() + 10_s);
}

TEST(SpanEnds, ALateCopyOfAHelloGivesNoCommAndItsPlaceIsFreedAgain) {
  SpanWire wire(OneConnection());
  Bytes hello;
  wire.on_delivered = [&](uint32_t to, std::span<const uint8_t> bytes) {
    if (to == 1 && TypeOf(bytes) == PacketType::kHello) hello.assign(bytes.begin(), bytes.end());
  };
  ASSERT_TRUE(wire.connect(1_s));
  for (int i = 0; i < 2; ++i) wire.side[i]->close(wire.now(), wire.comm[i]);
  Rest(wire, wire.now() + 1_s);
  wire.inject(1, hello);  // with a cookie that is still good
  const TimeNs start = wire.now();
  while (wire.step()) EXPECT_FALSE(wire.side[1]->accept(kListener)) << "a comm without a peer";
  EXPECT_LE(wire.now() - start, 2_s + 100_ms);
  EXPECT_EQ(wire.side[1]->counters().unheard, 1u);
  EXPECT_TRUE(wire.connect(wire.now() + 1_s));
  EXPECT_EQ(wire.side[1]->counters().unheard, 1u);
}

// What the client says first in a connection is said until it is heard.
TEST(SpanEnds, AConnectionWhoseFirstPingsAreLostIsAcceptedAllTheSame) {
  SpanWire wire(OneConnection());
  int pings = 0;
  wire.lose = [&](uint32_t to, std::span<const uint8_t> bytes) {
    return to == 1 && TypeOf(bytes) == PacketType::kPing && ++pings <= 3;
  };
  EXPECT_TRUE(wire.connect(2_s));
  EXPECT_EQ(pings, 4);
  Rest(wire, wire.now() + 10_s);
  EXPECT_EQ(pings, 4);
}

TEST(SpanEnds, AServerThatIsNeverHeardAfterItsAcceptIsAnError) {
  SpanWire wire(OneConnection());
  wire.lose = [&](uint32_t to, std::span<const uint8_t> bytes) {
    return to == 1 && TypeOf(bytes) == PacketType::kPing;
  };
  EXPECT_FALSE(wire.connect(10_s));
  EXPECT_EQ(wire.side[0]->state(wire.comm[0]), CommState::kFailed);
  EXPECT_NE(wire.side[0]->failure(wire.comm[0]).find("does not answer since"),
            std::string_view::npos);
  EXPECT_EQ(wire.side[1]->counters().unheard, 1u);
}

// Whether the server has heard the client in the connection or only accepted it.
TEST(SpanEnds, WhoeverWaitsAtAListenerThatIsClosedIsTold) {
  for (const bool heard : {true, false}) {
    SpanWire wire(OneConnection());
    wire.lose = [&](uint32_t to, std::span<const uint8_t> bytes) {
      return !heard && to == 1 && TypeOf(bytes) == PacketType::kPing;
    };
    uint64_t token = 0;
    const ListenId listener = *wire.side[1]->listen(token);
    const Route route{.peer = {.bytes = {1}, .size = 1}};
    const CommId comm = *wire.side[0]->connect(wire.now(), token, {&route, 1});
    while (wire.side[0]->state(comm) == CommState::kConnecting) ASSERT_TRUE(wire.step());
    Rest(wire, wire.now() + 20_ms);
    ASSERT_EQ(wire.side[0]->state(comm), CommState::kReady);
    wire.side[1]->stop_listening(wire.now(), listener);
    Rest(wire, wire.now() + 20_ms);
    EXPECT_EQ(wire.side[0]->state(comm), CommState::kFailed) << heard;
    EXPECT_NE(wire.side[0]->failure(comm).find("nobody listens"), std::string_view::npos);
    EXPECT_TRUE(wire.side[1]->all_told());
    EXPECT_EQ(wire.side[1]->counters().unheard, 0u);
  }
}

// The receiver has all, and closes; what it says of it, and then that it closes, is lost.
class LostLastAck : public testing::Test {
 protected:
  // Until the sender knows what became of its message; where the send failed, why.
  std::string outcome(TimeNs limit) {
    std::string why;
    while (wire_.now() < limit) {
      const Progress progress = wire_.side[0]->test(*send_).progress;
      if (progress == Progress::kDone) return {};
      if (progress == Progress::kFailed) {
        return std::string(wire_.side[0]->failure(wire_.comm[0]));
      }
      if (!wire_.step()) break;
    }
    return "it never ends";
  }
  void receive_all_and_close() {
    ASSERT_TRUE(wire_.connect(1_s));
    receive_ = wire_.side[1]->post_recv(wire_.now(), wire_.comm[1], {in_.data(), in_.size()}, 0);
    Rest(wire_, wire_.now() + 100_ms);
    wire_.lose = [this](uint32_t to, std::span<const uint8_t> bytes) {
      return to == 0 && lost(TypeOf(bytes));
    };
    send_ = wire_.side[0]->post_send(wire_.now(), wire_.comm[0], {out_.data(), out_.size()}, 0);
    while (wire_.side[1]->test(*receive_).progress == Progress::kPending) {
      ASSERT_TRUE(wire_.step());
    }
    closed_at_ = wire_.now();
    wire_.side[1]->close(wire_.now(), wire_.comm[1]);
  }
  bool lost(PacketType type) {
    if (type == PacketType::kAck) return acks_lost_-- > 0 || wire_.now() < cut_until_;
    return wire_.now() < cut_until_;
  }

  SpanWire wire_{OneConnection()};
  Bytes out_ = Bytes(2'000, 7), in_ = Bytes(2'000);
  std::optional<RequestId> receive_, send_;
  TimeNs closed_at_{}, cut_until_{};
  int acks_lost_ = 0;
};

TEST_F(LostLastAck, IsNoErrorForTheSenderWhoseReceiverCloses) {
  acks_lost_ = 8;
  receive_all_and_close();
  EXPECT_EQ(outcome(closed_at_ + 1_s), "");
  EXPECT_LE(acks_lost_, 0);
  EXPECT_EQ(in_, out_);
}

TEST_F(LostLastAck, IsNoErrorThoughThePathIsCutForASecond) {
  cut_until_ = TimeNs{INT64_MAX};
  receive_all_and_close();
  cut_until_ = closed_at_ + 1_s;
  EXPECT_EQ(outcome(closed_at_ + 2_s), "");
  EXPECT_FALSE(wire_.side[1]->all_told());
  Rest(wire_, wire_.now() + 1_s);
  EXPECT_TRUE(wire_.side[1]->all_told());
}

// The twin: what has not arrived is an error, and not only after a time-out.
TEST_F(LostLastAck, DoesNotHideAReceiverThatClosesBeforeItHasAll) {
  ASSERT_TRUE(wire_.connect(1_s));
  Rest(wire_, wire_.now() + 100_ms);
  send_ = wire_.side[0]->post_send(wire_.now(), wire_.comm[0], {out_.data(), out_.size()}, 0);
  int lost = 2;
  wire_.lose = [&](uint32_t to, std::span<const uint8_t> bytes) {
    return to == 0 && TypeOf(bytes) == PacketType::kAck && lost-- > 0;
  };
  wire_.side[1]->close(wire_.now(), wire_.comm[1]);
  const TimeNs start = wire_.now();
  EXPECT_EQ(outcome(start + 1_s), "closed by the peer");
  EXPECT_LE(wire_.now() - start, 100_ms);
  CloseBoth(wire_);
  EXPECT_TRUE(wire_.side[0]->all_told() && wire_.side[1]->all_told());
}

}  // namespace
}  // namespace farspan::test
