// The window law against the published table, and the command that prints it.
#include "transports/nccl_window.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/execute.h"

namespace farspan::nccl {
namespace {

using namespace farspan::literals;

struct Row {
  TimeNs rtt;
  double simple_gbps;
  double sendrecv_gbps;
  double buffsize_mib;
  double bdp_mb;
};

// 400 Gb/s, 16 channels, 4 MiB: the reference page's table, to its own digits.
TEST(NcclWindow, ReproducesTheTable) {
  for (const Row& row : {Row{1_ms, 33.6, 8.4, 3, 50}, Row{10_ms, 3.36, 0.84, 30, 500},
                         Row{25_ms, 1.34, 0.34, 75, 1'250}, Row{100_ms, 0.34, 0.084, 298, 5'000}}) {
    const Answer a = Ask({.rtt = row.rtt, .rate = 400_gbps});
    const std::string where = farspan::ToText(row.rtt);
    EXPECT_NEAR(a.simple_per_channel * 1e-9 / row.simple_gbps, 1, 0.015) << where;
    EXPECT_NEAR(a.sendrecv_per_channel * 1e-9 / row.sendrecv_gbps, 1, 0.015) << where;
    EXPECT_EQ(std::round(a.needed_buffsize / (1 << 20)), row.buffsize_mib) << where;
    EXPECT_EQ(static_cast<double>(a.bdp_bytes), row.bdp_mb * 1e6) << where;
    EXPECT_GE(static_cast<double>(a.set_buffsize), a.needed_buffsize) << "it must suffice";
    EXPECT_EQ(a.set_buffsize % (1 << 20), 0u);
    EXPECT_EQ(a.ring_per_channel, a.simple_per_channel) << "two ranks: the same limit twice";
  }
}

TEST(NcclWindow, WhatIsSetFillsTheLink) {
  Question q{.rtt = 25_ms, .rate = 400_gbps};
  EXPECT_NEAR(Ask(q).all_channels * 1e-9, 21.5, 0.05);  // 16 x 1.342
  q.buffsize = Ask(q).set_buffsize;
  EXPECT_EQ(Ask(q).all_channels, 400e9);
  q.buffsize -= 1 << 20;
  EXPECT_LT(Ask(q).all_channels, 400e9);
}

TEST(NcclWindow, SocketsAndPackets) {
  const Answer a = Ask({.rtt = 25_ms, .rate = 400_gbps});
  EXPECT_EQ(a.packets_per_qp, 1'024u);
  EXPECT_EQ(a.needed_packets, 305'176u);  // 1.25e9 / 4096, rounded up
  EXPECT_EQ(a.tcp_buffer, 150u << 20);    // 2 x 78.125 MB in whole MiB: 149.01
  EXPECT_NEAR(a.tcp_per_socket * 1e-9, 343.6, 0.1);
  EXPECT_EQ(a.needed_sockets, 1u);
  EXPECT_EQ(Ask({.rtt = 100_ms, .rate = 400_gbps, .channels = 2}).needed_sockets, 3u);
}

// 4.096 us x 2^20 = 4.295 s: enough for the Earth; not for light to the moon and back.
TEST(NcclWindow, TimersOutlastTheRoundTrip) {
  const Answer a = Ask({.rtt = 100_ms, .rate = 400_gbps});
  EXPECT_EQ(a.timeout, 20u);
  EXPECT_EQ(a.timeout_time, 4'294'967'296_ns);
  EXPECT_EQ(a.give_up_time, TimeNs{8 * 4'294'967'296});
  EXPECT_EQ(Ask({.rtt = 5_s, .rate = 1_gbps}).timeout, 21u);
}

test::Outcome Farspan(const std::string& arguments) {
  return test::Execute(std::string(FARSPAN_PROGRAM) + " nccl " + arguments + " 2>&1");
}

TEST(NcclCommand, PrintsTheTableAndJson) {
  const auto text = Farspan("--rtt 25ms --rate 400Gbps");
  EXPECT_EQ(text.exit_code, 0) << text.output;
  for (const char* part : {"1.34 Gb/s   BUFFSIZE / RTT", "0.336 Gb/s   8 x 128 KiB / RTT",
                           "78643200   75 MiB of GPU memory", "1024   BUFFSIZE / 4096 B"}) {
    EXPECT_NE(text.output.find(part), std::string::npos) << part << "\n" << text.output;
  }
  const auto json = nlohmann::json::parse(Farspan("--rtt 25ms --rate 400Gbps --json").output);
  EXPECT_EQ(json["nccl_buffsize"], 75 << 20);
  EXPECT_EQ(json["schema"], "farspan.nccl.v1");
}

TEST(NcclCommand, TakesARouteOrAConfiguration) {
  const auto route =
      nlohmann::json::parse(Farspan("Chicago 'New York' --rate 100Gbps --json").output);
  EXPECT_GT(route["rtt_ns"], 12'000'000);
  EXPECT_LT(route["rtt_ns"], 25'000'000);
  const auto config = nlohmann::json::parse(
      Farspan("--config " FARSPAN_SOURCE_DIR "/traces/links/lossy-isp.toml --link isp --json")
          .output);
  EXPECT_GT(config["rate_bits_per_s"], 0);
  for (const char* bad : {"", "--rtt 25ms", "--rtt 25 --rate 1Gbps", "Chicago --rate 1Gbps",
                          "--rtt 1ms --config x", "--rtt 1ms --rate 1Gbps --channels 0"}) {
    EXPECT_EQ(Farspan(bad).exit_code, 2) << bad;
  }
}

}  // namespace
}  // namespace farspan::nccl
