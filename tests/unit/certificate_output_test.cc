// What a certificate says to a reviewer, as JSON and as text; when it is valid, certificate_test
// asks.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "emulator/dpdk/certificate.h"
#include "tests/support/good_run.h"

namespace farspan::dpdk {
namespace {

TEST(Certificate, JsonHasWhatAReviewerNeeds) {
  GoodRun run;
  run.record.ports[0].reading.kernel = KernelCounters{.rx_packets = 1'000, .tx_packets = 990};
  run.record.lcores[0].before.emplace().add(TimeNs{412'000});
  run.out().lateness.add(TimeNs{40'000}, 10);
  run.reading().tx_packets += 10;
  run.ab().counters.duplicated_packets = 10;
  run.ab().counters.forwarded_packets += 10;
  const nlohmann::json json = nlohmann::json::parse(Certify(run.record).json);
  const auto at = [&](const char* pointer) {
    const nlohmann::json::json_pointer p(pointer);
    return json.contains(p) ? json.at(p) : nlohmann::json("absent");
  };
  EXPECT_EQ(at("/schema"), "farspan.certificate.v1");
  EXPECT_EQ(at("/valid"), true);
  EXPECT_EQ(at("/finished"), true);
  EXPECT_EQ(at("/reasons"), nlohmann::json::array());
  EXPECT_TRUE(at("/version").is_string() && at("/version") != "absent");
  EXPECT_EQ(at("/seed"), 7);
  EXPECT_EQ(at("/duration_ns"), 10'000'000'000);
  EXPECT_EQ(at("/clock/error_ppm"), 0.5);
  EXPECT_EQ(at("/clock/tick_hz"), 2.6e9);
  EXPECT_EQ(at("/budgets/software/lateness_p99_ns"), 5'000'000);
  EXPECT_EQ(at("/budgets/clock_ppm"), 5);
  EXPECT_EQ(at("/lcores/0/cpu"), 3);
  EXPECT_EQ(at("/lcores/0/loop_gap/max_ns"), 400);
  EXPECT_EQ(at("/lcores/0/machine_before/max_ns"), 412'000);
  EXPECT_EQ(at("/lcores/0/machine_before/share_of_time_above_1us"), 1);
  EXPECT_EQ(at("/lcores/0/machine_after"), nullptr);
  EXPECT_EQ(at("/ports/1/name"), "eth2");
  EXPECT_EQ(at("/ports/1/left_at"), "handed");
  EXPECT_EQ(at("/ports/1/kind"), "af_packet");
  EXPECT_EQ(at("/ports/1/lateness/count"), 1'000);
  EXPECT_EQ(at("/ports/1/lateness/p50_ns"), 1'023);  // its bucket's bound
  EXPECT_EQ(at("/ports/1/lateness/max_ns"), 40'000);
  EXPECT_EQ(at("/ports/1/lateness/mean_ns"), (990 * 1'000 + 10 * 40'000) / 1'000.0);
  EXPECT_EQ(at("/ports/1/early"), 0);
  EXPECT_EQ(at("/ports/1/arrival_uncertainty/p99_ns"), 1'000);
  EXPECT_EQ(at("/ports/1/own_drops/missed/at_most"), 0);
  EXPECT_EQ(at("/ports/1/own_drops").size(), OwnDropsOf(run.record.ports[1]).size());
  EXPECT_EQ(at("/ports/0/kernel/tx_packets"), 990);
  EXPECT_EQ(at("/ports/1/kernel"), nullptr);
  EXPECT_EQ(at("/ports/1/settled"), true);
  EXPECT_EQ(at("/ports/1/driver/tx_packets"), 1'000);
  EXPECT_EQ(at("/arrivals/balanced"), true);
  EXPECT_EQ(at("/departures/came"), 1'990);
  EXPECT_EQ(at("/directions/0/duplicated_packets"), 10);
  EXPECT_EQ(at("/directions/0/emulated_drops/loss"), 10);
  EXPECT_EQ(at("/directions/0/own_drops/store_full"), 0);
  EXPECT_EQ(at("/directions/0/conservation/balanced"), true);
}

// What was handed over ahead is said to be, and not to have been measured.
TEST(Certificate, ScheduledPacketsAreNotCalledMeasured) {
  GoodRun run;
  const std::string words = "was not measured";
  EXPECT_EQ(Certify(run.record).text.find(words), std::string::npos);
  run.record.ports[1].left = LeftAt::kScheduled;
  run.record.ports[1].lead = TimeNs{50'000};
  run.out().scheduled = 985;
  const Certificate certificate = Certify(run.record);
  EXPECT_TRUE(certificate.valid);
  EXPECT_TRUE(Has(certificate.text, words)) << certificate.text;
  EXPECT_TRUE(Has(certificate.text, "985 packets were handed to the port up to 50 us before"));
  EXPECT_TRUE(Has(certificate.text, "lateness (scheduled)"));
  const nlohmann::json json = nlohmann::json::parse(certificate.json);
  EXPECT_EQ(json["ports"][1]["left_at"], "scheduled");
  EXPECT_EQ(json["ports"][1]["scheduled"], 985);
  EXPECT_EQ(json["ports"][1]["send_ahead_ns"], 50'000);
  EXPECT_EQ(json["ports"][0]["send_ahead_ns"], 0);
}

TEST(Certificate, JsonOfNamesThatAreNotUtf8) {
  GoodRun run;
  run.record.ports[0].name = "net_pcap0,file=\xff\xfe";
  EXPECT_TRUE(nlohmann::json::accept(Certify(run.record).json));
}

TEST(Certificate, TextFitsATerminal) {
  GoodRun run;
  Add(run.out().malformed, 4);
  run.record.lcores[0].before.emplace().add(TimeNs{412'000});
  run.record.lcores[0].after.emplace().add(TimeNs{412'000});
  const std::string text = Certify(run.record).text;
  const auto lines = std::count(text.begin(), text.end(), '\n');
  EXPECT_GE(lines, 10);
  EXPECT_LE(lines, 30);
  EXPECT_TRUE(Has(text, "farspan 0."));
  EXPECT_TRUE(Has(text, "port eth1 (site chicago, af_packet): received 1000, sent 990\n"));
  EXPECT_TRUE(
      Has(text, "port eth2 (site newyork, af_packet): received 1000, sent 990, malformed 4"));
  EXPECT_TRUE(
      Has(text, "link chi-nyc ba (newyork to chicago): offered 1000, forwarded 990, loss "));
}

}  // namespace
}  // namespace farspan::dpdk
