// What a Span writes as qlog: read back record by record, and counted against its own counters.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "tests/support/endpoint_pair.h"
#include "tests/support/link_support.h"
#include "transports/congestion/controllers.h"
#include "transports/drivers/qlog/qlog_endpoint.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using namespace transport;
using nlohmann::json;

// RFC 7464: each record stands between 0x1e and a line feed.
std::vector<json> Records(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::vector<json> records;
  std::string line;
  while (std::getline(in, line)) {
    EXPECT_EQ(line[0], '\x1e');
    records.push_back(json::parse(line.substr(1)));
  }
  return records;
}

std::map<std::string, uint64_t> CountNames(const std::vector<json>& records) {
  std::map<std::string, uint64_t> count;
  for (size_t i = 1; i < records.size(); ++i) ++count[records[i].at("name").get<std::string>()];
  return count;
}

uint64_t SentOf(const SpanCounters& c) {
  return c.data_sent + c.data_resent + c.parity_sent + c.control_sent;
}
uint64_t ReceivedOf(const SpanCounters& c) {
  return c.data_received + c.parity_received + c.control_received;
}
uint64_t DroppedOf(const SpanCounters& c) {
  return std::accumulate(c.dropped.begin(), c.dropped.end(), uint64_t{0});
}

class Qlog : public ::testing::Test {
 protected:
  Qlog()
      : directory_(std::filesystem::temp_directory_path() /
                   ("farspan-qlog-" + std::to_string(getpid()))) {
    RegisterControllers();
    std::filesystem::create_directories(directory_);
  }
  ~Qlog() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path file(const std::string& name) const { return directory_ / name; }

  // 2,000 datagrams over a wire that loses, corrupts and duplicates; the endpoints' counters.
  std::pair<SpanCounters, SpanCounters> exchange(const std::string& congestion) const {
    WireOptions wire;
    wire.there = wire.back = Plain(1_gbps, 5_ms);
    wire.there.lanes[0].loss.kind = link::LossKind::kBernoulli;
    wire.there.lanes[0].loss.probability = 0.02;
    wire.there.duplicate = 0.01;
    SpanConfig config;
    config.congestion = congestion;
    config.controller.rate = 1_gbps;
    config.lengths_only = true;
    config.window_packets = 4096;
    auto first = Must(QlogEndpoint::Create(config, file("a.sqlog")));
    config.seed = 2;
    auto second = Must(QlogEndpoint::Create(config, file("b.sqlog")));
    const Span& a = first->span();
    const Span& b = second->span();
    EndpointPair pair(wire, std::move(first), std::move(second));
    EXPECT_TRUE(pair.connect(1_s));
    EXPECT_NE(pair.exchange(uint64_t{2'000} * config.payload_bytes, 10_ms, 60_s).sender, kNever);
    return {a.counters(), b.counters()};
  }

 private:
  const std::filesystem::path directory_;
};

TEST_F(Qlog, EventsAreWhatTheCountersCount) {
  for (const std::string congestion : {"fixed", "cubic", "bbr"}) {
    const auto [a, b] = exchange(congestion);
    ASSERT_GT(a.lost, 0u);
    for (const auto& [name, counters] : {std::pair{"a.sqlog", a}, {"b.sqlog", b}}) {
      auto count = CountNames(Records(file(name)));
      EXPECT_EQ(count["quic:packet_sent"], SentOf(counters)) << name << congestion;
      EXPECT_EQ(count["quic:packet_received"], ReceivedOf(counters)) << name << congestion;
      EXPECT_EQ(count["quic:packet_dropped"], DroppedOf(counters)) << name << congestion;
      EXPECT_EQ(count["quic:packet_lost"], counters.lost) << name << congestion;
    }
    auto sender = CountNames(Records(file("a.sqlog")));
    EXPECT_GT(sender["quic:recovery_metrics_updated"], 10u) << congestion;
    EXPECT_EQ(sender["quic:congestion_state_updated"] >= 2, congestion != "fixed") << congestion;
  }
}

TEST_F(Qlog, TheFileSaysWhatItIsAndEventsWhatHappened) {
  exchange("bbr");
  const auto records = Records(file("a.sqlog"));
  EXPECT_EQ(records[0]["file_schema"], "urn:ietf:params:qlog:file:sequential");
  EXPECT_EQ(records[0]["serialization_format"], "application/qlog+json-seq");
  EXPECT_EQ(records[0]["trace"]["common_fields"]["reference_time"]["clock_type"], "monotonic");
  std::map<uint64_t, uint64_t> sent;  // numbers of data and parity, how often
  double rtt = 0;
  for (size_t i = 1; i < records.size(); ++i) {
    const json& data = records[i].at("data");
    const std::string name = records[i].at("name");
    if (name == "quic:packet_sent" && data["frames"][0]["frame_type"] == "span_data") {
      EXPECT_EQ(data["header"]["packet_type"], "1RTT");
      EXPECT_GT(data["raw"]["length"], 4096);
      ++sent[data["header"]["packet_number"].get<uint64_t>()];
    }
    if (name == "quic:packet_sent" && data["frames"][0]["frame_type"] == "span_parity") {
      ++sent[data["header"]["packet_number"].get<uint64_t>()];
    }
    if (name == "quic:packet_lost") {
      EXPECT_EQ(sent[data["header"]["packet_number"].get<uint64_t>()], 1u);
    }
    if (name == "quic:packet_received" && data["frames"][0]["frame_type"] == "ack") {
      for (const json& range : data["frames"][0]["ack_ranges"]) EXPECT_LE(range[0], range[1]);
    }
    if (name == "quic:recovery_metrics_updated") rtt = data["smoothed_rtt"];
  }
  EXPECT_GE(rtt, 10);
  EXPECT_LE(rtt, 40);  // the port's queue is in it
}

TEST_F(Qlog, AFileThatCannotBeWrittenIsAnError) {
  const auto made = QlogEndpoint::Create({}, file("none/a.sqlog"));
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().text().find("cannot be written"), std::string::npos);
}

}  // namespace
}  // namespace farspan::test
