// Which option of the nets does something where: written down a second time, net by net.
#include "transports/net_options.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace farspan {
namespace {

using Words = std::vector<std::string>;

struct Net {
  Words chosen;
  Words acts;  // its options
};

const Net kNets[] = {
    {{"--net", "tcp"}, {"sockets", "tcp-congestion", "tcp-buffer"}},
    {{"--net", "udp"}, {"recovery", "congestion", "qlog", "payload", "rate"}},
    {{"--net", "verbs"},
     {"verbs-device", "gid-index", "recovery", "congestion", "qlog", "payload", "rate"}},
    {{"--net", "verbs", "--transport", "rc"},
     {"verbs-device", "gid-index", "qps", "ib-timeout", "ib-retries"}},
    {{"--net", "sim"},
     {"recovery", "congestion", "qlog", "payload", "rate", "rtt", "loss", "queue", "seed"}},
    {{"--net", "sim", "--transport", "rc-gbn"},
     {"qps", "ib-timeout", "ib-retries", "adaptive-retrans", "congestion", "payload", "rate", "rtt",
      "loss", "queue", "seed"}},
    {{"--net", "sim", "--transport", "tcp"},
     {"sockets", "tcp-buffer", "congestion", "payload", "rate", "rtt", "loss", "queue", "seed"}},
    {{"--transport", "./mine.so"}, {"transport-options"}},
};

// Values that can be parsed; those of every net are not here: preset, channels, buffsize.
const std::map<std::string, std::string> kValues = {{"transport-options", "x"},
                                                    {"verbs-device", "mlx5_0"},
                                                    {"gid-index", "3"},
                                                    {"sockets", "2"},
                                                    {"tcp-congestion", "bbr"},
                                                    {"tcp-buffer", "1M"},
                                                    {"qps", "2"},
                                                    {"ib-timeout", "18"},
                                                    {"ib-retries", "3"},
                                                    {"adaptive-retrans", "0"},
                                                    {"recovery", "sr"},
                                                    {"congestion", "swift"},
                                                    {"qlog", "/tmp"},
                                                    {"payload", "1000"},
                                                    {"rate", "1 Gbps"},
                                                    {"rtt", "1 ms"},
                                                    {"loss", "1e-3"},
                                                    {"queue", "1 ms"},
                                                    {"seed", "2"}};

// What is wrong, or "".
std::string Parse(Words words) {
  cli::Options options;
  AddNetOptions(options);
  bool help = false;
  const auto values = cli::Parse(options, words, help);
  return values ? "" : values.error().text();
}

Words Joined(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(NetOptions, EachActsOrIsRefusedWithWhatToUseInstead) {
  for (const Net& net : kNets) {
    EXPECT_EQ(Parse(net.chosen), "");
    for (const auto& [option, value] : kValues) {
      const std::string error = Parse(Joined(net.chosen, {"--" + option, value}));
      const bool acts = std::find(net.acts.begin(), net.acts.end(), option) != net.acts.end();
      EXPECT_EQ(error.empty(), acts) << net.chosen.back() << ": " << error;
      if (acts) continue;
      EXPECT_TRUE(error.starts_with("--" + option + ": does nothing with ")) << error;
      EXPECT_GT(error.size(), error.find(": ", option.size() + 4) + 20) << error;
    }
  }
}

TEST(NetOptions, WhatDependsOnOthers) {
  // What a preset is tuned for.
  for (const char* option : {"--rate", "--rtt"}) {
    const Words given{option, option == std::string("--rate") ? "1 Gbps" : "1 ms"};
    EXPECT_NE(Parse(Joined({"--preset", "default"}, given)), "");
    EXPECT_EQ(Parse(Joined({"--preset", "tuned"}, given)), "");
  }
  const Words rc{"--net", "verbs", "--transport", "rc", "--qp-split", "1"};
  EXPECT_NE(Parse(rc), "");
  EXPECT_EQ(Parse(Joined(rc, {"--qps", "2"})), "");
  EXPECT_EQ(Parse(Joined(rc, {"--preset", "tuned"})), "");
  EXPECT_NE(Parse({"--qps", "2", "--qp-split", "1"}), "");
  const Words policy{"--net", "sim", "--policy", "./mine.so"};
  EXPECT_NE(Parse(policy), "");
  EXPECT_EQ(Parse(Joined(policy, {"--congestion", "mine"})), "");
  EXPECT_NE(Parse({"--policy", "./mine.so", "--congestion", "mine"}), "");
  EXPECT_NE(Parse({"--net", "udp", "--transport", "./mine.so"}), "");
}

}  // namespace
}  // namespace farspan
