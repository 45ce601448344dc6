// How many ACKs a stream takes, exactly: one for 64 packets, or one for those that come within
// RTT / 32 of the first that waits; and the last one three times.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <vector>

#include "tests/support/link_support.h"
#include "tests/support/span_pair.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using namespace transport;

constexpr uint64_t kPackets = 9'600;

struct Case {
  Rate rate;  // 33.552 us for a packet at 1 Gb/s
  TimeNs rtt;
  uint64_t packets_per_ack;
  uint32_t ack_packets = 64;
  uint32_t ack_per_rtt = 32;
};

struct Acks {
  std::vector<TimeNs> all;
  TimeNs end{};  // the last packet arrives
};

Acks Stream(const Case& c) {
  PairOptions options;
  options.there = options.back = Plain(c.rate, TimeNs{c.rtt.ns / 2});
  options.config.recovery = "sr";
  options.config.lengths_only = true;
  options.config.window_packets = 1u << 14;
  options.config.controller.rate = c.rate;
  options.config.ack_packets = c.ack_packets;
  options.config.ack_per_rtt = c.ack_per_rtt;
  SpanPair pair(options);
  EXPECT_TRUE(pair.connect(1_s));
  const uint64_t bytes = kPackets * options.config.payload_bytes;
  const auto receive = pair.b->post_recv(*pair.comm_b, {nullptr, bytes}, 0);
  pair.network.run_until(1_s);
  Acks acks;
  pair.network.on_departure = [&](TimeNs at, std::span<const uint8_t> header) {
    const auto type = static_cast<PacketType>(header[0] & 15);
    if (type == PacketType::kAck) acks.all.push_back(at);
  };
  EXPECT_TRUE(pair.a->post_send(pair.comm_a, {nullptr, bytes}, 0));
  pair.network.run_while([&] { return pair.b->test(*receive).progress == Progress::kPending; },
                         2_s);
  acks.end = pair.network.now();
  pair.network.run_until(3_s);
  return acks;
}

TEST(SpanAck, CountsPacketsWhereTheyAreManyAndTimeWhereTheyAreFew) {
  for (const Case& c : {Case{100_gbps, 10_ms, 64},
                        {100_gbps, 10_ms, 32, 32},
                        {100_gbps, 10_ms, 128, 128},
                        {1_gbps, 10_ms, 10},  // 312.5 us
                        {1_gbps, 10_ms, 5, 64, 64},
                        {1_gbps, 40_ms, 38},
                        {1_gbps, 100_ms, 64}}) {
    const Acks acks = Stream(c);
    const uint64_t whole = (kPackets + c.packets_per_ack - 1) / c.packets_per_ack;
    EXPECT_EQ(acks.all.size(), whole + 2) << ToText(c.rate) << " " << ToText(c.rtt);
  }
}

TEST(SpanAck, RepeatsTheLastTwice) {
  const Acks acks = Stream({1_gbps, 10_ms, 10});
  const auto last = std::find(acks.all.begin(), acks.all.end(), acks.end);
  ASSERT_EQ(acks.all.end() - last, 3);
  const TimeNs apart{(10_ms).ns / 64};
  EXPECT_NEAR((last[1] - last[0]).ns, apart.ns, apart.ns / 50);
  EXPECT_NEAR((last[2] - last[1]).ns, apart.ns, apart.ns / 50);
}

}  // namespace
}  // namespace farspan::test
