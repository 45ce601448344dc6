// The certificate: each reason has a run that has exactly it, and a twin just inside the budget.
#include "emulator/dpdk/certificate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/good_run.h"

namespace farspan::dpdk {
namespace {

using link::Cause;

using Change = std::function<void(GoodRun&)>;
struct Row {
  const char* name;
  const char* where;  // the reason names it, ...
  const char* says;   // ... what was measured, ...
  const char* mend;   // ... and what to do
  Change breaks;
  Change twin;
};

const Row kTimeRows[] = {
    {"lateness p50", "port eth2 of site newyork", "median lateness of what left is 100 us",
     "engine.budgets.software.lateness_p50",
     [](GoodRun& r) {
       r.record.budgets.software.lateness_p50 = TimeNs{99'999};
       r.out().lateness.add(TimeNs{100'000}, 1'100);
     },
     [](GoodRun& r) { r.out().lateness.add(TimeNs{100'000}, 1'100); }},
    {"lateness p99", "port eth2 of site newyork", "is 5.5 ms, the budget is 5 ms",
     "engine.budgets.software.lateness_p99",
     [](GoodRun& r) { r.out().lateness.add(TimeNs{5'500'000}, 11); },
     [](GoodRun& r) { r.out().lateness.add(TimeNs{5'500'000}, 10); }},
    {"lateness max", "port eth2 of site newyork", "is 50 ms, the budget is 50 ms",
     "engine.budgets.software.lateness_max",
     [](GoodRun& r) { r.out().lateness.add(TimeNs{50'000'001}); },
     [](GoodRun& r) { r.out().lateness.add(TimeNs{50'000'000}); }},
    {"the budget of hardware", "port eth2 of site newyork", "is 2 ms, the budget is 2 ms",
     "engine.budgets.pci.lateness_max",
     [](GoodRun& r) {
       r.record.ports[1].kind = config::PortKind::kPci;
       r.out().lateness.add(TimeNs{2'000'001});
     },
     [](GoodRun& r) {
       r.record.ports[1].kind = config::PortKind::kPci;
       r.out().lateness.add(TimeNs{2'000'000});
     }},
    {"early", "port eth2 of site newyork", "3 packets left before they were due", "report",
     [](GoodRun& r) { r.out().lateness.add(TimeNs{-1}, 3); },
     [](GoodRun& r) { r.out().lateness.add(TimeNs{0}, 3); }},
    {"scheduling", "port eth2 of site newyork", "counted 1 errors of its send scheduling",
     "send_ahead",
     [](GoodRun& r) {
       r.record.ports[1].lead = TimeNs{50'000};
       r.reading().pace_errors = 1;
     },
     [](GoodRun& r) { r.out().scheduled = 990; }},
    {"arrival", "port eth2 of site newyork", "uncertainty of when packets arrived, p99, is 5.5 ms",
     "engine.budgets.software.arrival_p99",
     [](GoodRun& r) { r.out().arrival_uncertainty.add(TimeNs{5'500'000}, 11); },
     [](GoodRun& r) { r.out().arrival_uncertainty.add(TimeNs{5'500'000}, 10); }},
    {"standstill", "CPU 3", "stood still for 200 ms, the budget is 50 ms", "engine.lcores",
     [](GoodRun& r) { r.loop.add(TimeNs{200'000'000}); },
     [](GoodRun& r) { r.loop.add(TimeNs{50'000'000}); }},
    {"clock", "clock", "5.01 ppm, the budget is 5 ppm", "engine.budgets.clock_ppm",
     [](GoodRun& r) { r.record.clock.slew_ppm = -4.51; },
     [](GoodRun& r) { r.record.clock.slew_ppm = -4.5; }},
    {"clock not known", "clock", "nan ppm", "engine.budgets.clock_ppm",
     [](GoodRun& r) { r.record.clock.rate_uncertainty_ppm = std::nan(""); },
     [](GoodRun& r) { r.record.clock.slew_ppm_max = 100; }},
    {"clock not calibrated", "clock", "never calibrated", "bug",
     [](GoodRun& r) { r.record.clock.tick_hz = 0; },
     [](GoodRun& r) { r.record.clock.tick_hz = 1; }},
};

// Twins: the same packets dropped by the emulated link, or books that may still close.
const Row kDropRows[] = {
    {"missed", "port eth2 of site newyork", "12 frames arrived that the engine never got",
     "engine.lcores",
     [](GoodRun& r) { r.reading().own_missed = r.reading().own_missed_bound = 12; },
     [](GoodRun& r) {
       r.reading().own_missed_bound = 12;
       r.record.finished = false;
     }},
    {"unsent", "port eth2 of site newyork", "2 packets were taken by the driver and not sent",
     "peer", [](GoodRun& r) { r.reading().own_unsent = r.reading().own_unsent_bound = 2; },
     [](GoodRun& r) {
       r.reading().own_unsent_bound = 2;
       r.record.finished = false;
     }},
    {"no buffer on arrival", "port eth2 of site newyork", "1 frames arrived when no buffer",
     "engine.plan_frame", [](GoodRun& r) { r.reading().own_no_buffer = 1; }, [](GoodRun&) {}},
    {"no buffer on departure", "port eth2 of site newyork", "1 packets were due to leave when no",
     "engine.plan_frame",
     [](GoodRun& r) {
       r.one_not_sent();
       Add(r.out().no_buffer, 1);
     },
     [](GoodRun& r) {
       r.one_not_forwarded();
       ++GoodRun::drops(r.ab(), Cause::kTailDrop);
     }},
    {"no buffer for a copy", "port eth2 of site newyork", "1 packets were due to leave when no",
     "engine.plan_frame",
     [](GoodRun& r) {
       Add(r.out().no_buffer, 1);
       Add(r.out().broadcasts, 1);
       ++r.reading().rx_packets;
     },
     [](GoodRun& r) {
       Add(r.out().broadcasts, 1);
       Add(r.out().copies, 1);
     }},
    {"handover full", "port eth2 of site newyork", "1 frames arrived faster", "more CPUs",
     [](GoodRun& r) {
       ++r.reading().rx_packets;
       Add(r.out().handover_full, 1);
     },
     [](GoodRun& r) {
       ++r.reading().rx_packets;
       Add(r.out().unroutable, 1);
     }},
    {"egress full", "port eth2 of site newyork", "1 packets were due to leave and the port did not",
     "egress",
     [](GoodRun& r) {
       r.one_not_sent();
       Add(r.out().egress_full, 1);
     },
     [](GoodRun& r) {
       r.one_not_sent();
       Add(r.out().egress_dropped, 1);
     }},
    {"oversize", "port eth2 of site newyork", "1 packets were longer than the port can send", "MTU",
     [](GoodRun& r) {
       r.one_not_sent();
       r.reading().own_oversize = 1;
     },
     [](GoodRun& r) {
       r.one_not_forwarded();
       ++GoodRun::drops(r.ab(), Cause::kEgressDrop);
     }},
    {"store full", "link chi-nyc ab (chicago to newyork)",
     "1 packets found no room in the link (store_full)", "engine.max_packet_rate",
     [](GoodRun& r) {
       r.one_not_forwarded();
       ++GoodRun::drops(r.ab(), Cause::kStoreFull);
     },
     [](GoodRun& r) {
       r.one_not_forwarded();
       ++GoodRun::drops(r.ab(), Cause::kAqm);
     }},
    {"hardware errors", "port eth2 of site newyork", "2 receive and 1 transmit errors", "cable",
     [](GoodRun& r) {
       r.record.ports[1].kind = config::PortKind::kPci;
       r.reading().rx_errors = 2;
       r.reading().tx_errors = 1;
     },
     [](GoodRun& r) {
       r.record.ports[1].kind = config::PortKind::kVhost;
       r.reading().tx_errors = 1;
     }},
    {"super-frames", "port eth2 of site newyork", "4 super-frames",
     "ethtool -K DEV tso off gso off tx off", [](GoodRun& r) { Add(r.out().super_frames, 4); },
     [](GoodRun& r) { Add(r.out().malformed, 4); }},
    {"truncated", "port eth2 of site newyork", "5 frames were cut short", "engine.mtu",
     [](GoodRun& r) { Add(r.out().truncated, 5); }, [](GoodRun& r) { Add(r.out().malformed, 5); }},
};

const Row kBookRows[] = {
    {"arrival not settled", "port eth2 of site newyork", "0 to 3 frames may have been lost on arr",
     "stop the hosts' traffic", [](GoodRun& r) { r.reading().own_missed_bound = 3; },
     [](GoodRun& r) {
       r.reading().own_missed_bound = 3;
       r.record.finished = false;
     }},
    {"departure not settled", "port eth2 of site newyork", "and 0 to 4 on departure",
     "stop the hosts' traffic", [](GoodRun& r) { r.reading().own_unsent_bound = 4; },
     [](GoodRun& r) {
       r.reading().own_unsent_bound = 4;
       r.record.finished = false;
     }},
    {"an arrival too many", "2001 packets arrived at the ports", "2000 are accounted for", "report",
     [](GoodRun& r) { ++r.reading().rx_packets; },
     [](GoodRun& r) {
       ++r.reading().rx_packets;
       ++r.record.ports[0].reading.tx_packets;
       Add(r.seen[0].bypassed, 1);
     }},
    {"an arrival too few", "1999 packets arrived at the ports", "2000 are accounted for", "report",
     [](GoodRun& r) { --r.reading().rx_packets; },
     [](GoodRun& r) {
       // Hardware's count includes what nobody polled any more.
       r.record.ports[1].kind = config::PortKind::kPci;
       ++r.reading().rx_packets;
     }},
    {"a departure too few", "1980 packets were to leave", "1979 are accounted for", "report",
     [](GoodRun& r) { r.one_not_sent(); },
     [](GoodRun& r) {
       r.one_not_sent();
       r.reading().tx_errors = 1;
     }},
    {"a departure too many", "1980 packets were to leave", "1981 are accounted for", "report",
     [](GoodRun& r) { ++r.reading().tx_packets; },
     [](GoodRun& r) {
       ++r.reading().tx_packets;
       ++r.ab().counters.duplicated_packets;
       ++r.ab().counters.forwarded_packets;
     }},
    // Pause frames are neither forwarded packets nor lost ones.
    {"a pause frame sent, and not counted", "1980 packets were to leave", "1981 are accounted for",
     "report", [](GoodRun& r) { ++r.reading().tx_packets; },
     [](GoodRun& r) {
       ++r.reading().tx_packets;
       Add(r.seen[0].pause_sent, 1);
     }},
    {"a pause frame kept, and not counted", "2001 packets arrived at the ports",
     "2000 are accounted for", "report", [](GoodRun& r) { ++r.reading().rx_packets; },
     [](GoodRun& r) {
       ++r.reading().rx_packets;
       Add(r.seen[0].pause_received, 1);
     }},
    {"a late pause", "port eth1 of site chicago", "the headroom is made for 1 ms",
     "raise pfc.poll_gap",
     [](GoodRun& r) {
       r.late_pause();
       r.drop_at_the_limit();
     },
     [](GoodRun& r) { r.late_pause(); }},
    {"conservation", "link chi-nyc ab (chicago to newyork)",
     "1000 packets came (duplicates included) and 999 were", "report",
     [](GoodRun& r) { r.one_not_forwarded(); },
     [](GoodRun& r) {
       r.one_not_forwarded();
       ++GoodRun::drops(r.ab(), Cause::kCut);
     }},
    {"conservation, live", "link chi-nyc ab (chicago to newyork)",
     "1000 packets came (duplicates included) and 1001 were", "report",
     [](GoodRun& r) {
       r.record.finished = false;
       ++r.ab().counters.held_packets;
     },
     [](GoodRun& r) {
       r.record.finished = false;
       ++r.ab().counters.held_packets;
       ++r.ab().counters.offered_packets;
     }},
    {"held at the end", "link chi-nyc ab (chicago to newyork)", "1 packets were still in the link",
     "drain",
     [](GoodRun& r) {
       r.one_not_forwarded();
       ++r.ab().counters.held_packets;
     },
     [](GoodRun& r) {
       r.one_not_forwarded();
       ++r.ab().counters.held_packets;
       r.record.finished = false;
     }},
    {"waiting at the end", "port eth2 of site newyork", "1 packets were still waiting to leave",
     "other end",
     [](GoodRun& r) {
       r.one_not_sent();
       Add(r.out().backlog, 1);
     },
     [](GoodRun& r) {
       r.one_not_sent();
       Add(r.out().backlog, 1);
       r.record.finished = false;
     }},
};

void Check(const Row& row) {
  SCOPED_TRACE(row.name);
  const auto broken = std::make_unique<GoodRun>();
  row.breaks(*broken);
  const Certificate bad = Certify(broken->record);
  EXPECT_FALSE(bad.valid);
  ASSERT_EQ(bad.reasons.size(), 1u) << bad.text;
  const std::string& reason = bad.reasons[0];
  EXPECT_TRUE(Has(reason, row.where)) << reason;
  EXPECT_TRUE(Has(reason, row.says)) << reason;
  EXPECT_TRUE(Has(reason, row.mend)) << reason;
  EXPECT_TRUE(bad.text.starts_with("INVALID: " + reason)) << bad.text;
  const nlohmann::json json = nlohmann::json::parse(bad.json);
  EXPECT_EQ(json["valid"], false);
  EXPECT_EQ(json["reasons"], nlohmann::json(bad.reasons));

  const auto twin = std::make_unique<GoodRun>();
  row.twin(*twin);
  const Certificate good = Certify(twin->record);
  EXPECT_TRUE(good.valid) << good.text;
  EXPECT_TRUE(good.text.starts_with("VALID\n"));
}

TEST(Certificate, JudgesTimes) {
  for (const Row& row : kTimeRows) Check(row);
}
TEST(Certificate, JudgesOwnDropsAndNeverEmulatedOnes) {
  for (const Row& row : kDropRows) Check(row);
}
TEST(Certificate, JudgesBooks) {
  for (const Row& row : kBookRows) Check(row);
}

TEST(Certificate, EveryOwnDropIsReported) {
  // A cause without words would be a programmer error; this run has them all.
  GoodRun run;
  PortReading& reading = run.reading();
  reading.own_no_buffer = reading.own_oversize = 1;
  reading.own_missed = reading.own_missed_bound = 1;
  reading.own_unsent = reading.own_unsent_bound = 1;
  Add(run.out().no_buffer, 1);
  Add(run.out().egress_full, 1);
  Add(run.out().handover_full, 1);
  run.record.finished = false;
  const std::vector<OwnDropCount> drops = OwnDropsOf(run.record.ports[1]);
  EXPECT_TRUE(std::all_of(drops.begin(), drops.end(), [](auto& d) { return d.packets == 1; }));
  EXPECT_EQ(ReasonsAgainst(run.record).size(), drops.size());
}

TEST(Certificate, BoundsOfOwnDropsAreSaid) {
  GoodRun run;
  run.record.finished = false;
  run.reading().own_missed = 12;
  run.reading().own_missed_bound = 20;
  const Certificate certificate = Certify(run.record);
  ASSERT_EQ(certificate.reasons.size(), 1u);
  EXPECT_TRUE(Has(certificate.reasons[0], "at least 12 and at most 20 frames"));
  EXPECT_TRUE(Has(certificate.text, "own drops: missed 12 to 20"));
}

TEST(Certificate, StandstillIsJudgedByThePortsOfTheLcore) {
  GoodRun run;
  run.record.lcores.push_back(run.record.lcores[0]);
  run.record.lcores.push_back(run.record.lcores[0]);
  run.record.ports[1].kind = config::PortKind::kPci;
  run.record.ports[1].lcore = 1;
  EXPECT_EQ(LoopBudget(run.record, 0), run.record.budgets.software.lateness_max);
  EXPECT_EQ(LoopBudget(run.record, 1), run.record.budgets.pci.lateness_max);
  EXPECT_EQ(LoopBudget(run.record, 2), run.record.budgets.pci.lateness_max);  // has no port
}

TEST(Certificate, LatenessIsSetBesideTheMachines) {
  GoodRun run;
  run.loop.add(TimeNs{200'000'000});
  run.record.lcores[0].before.emplace().add(TimeNs{412'000});
  run.record.lcores[0].after.emplace().add(TimeNs{3'000});
  run.out().lateness.add(TimeNs{5'500'000}, 11);
  for (const std::string& reason : ReasonsAgainst(run.record)) {
    EXPECT_TRUE(Has(reason, "a bare spin loop on its CPU, before and after: 412 us")) << reason;
  }
  EXPECT_EQ(ReasonsAgainst(run.record).size(), 2u);
}

}  // namespace
}  // namespace farspan::dpdk
