// Rules: each field alone with a frame that matches and one that just does not, windows, turns.
#include "emulator/roce/rule_table.h"

#include <gtest/gtest.h>

#include "tests/support/frame_builder.h"

namespace farspan::roce {
namespace {

using namespace farspan::literals;
using test::BuildFrame;
using test::FrameSpec;

FrameView View(const FrameSpec& spec) {
  const test::Bytes frame = BuildFrame(spec);
  return ParseFrame(frame, static_cast<uint32_t>(frame.size()), 1500);
}

RuleTable Table(const std::vector<RuleMatch>& rules, TimeNs start = {}) {
  Result<RuleTable> table = RuleTable::Create(rules, start);
  EXPECT_TRUE(table) << table.error().text();
  return *std::move(table);
}

IpPrefix Prefix(int version, const char* address, uint8_t length) {
  IpPrefix prefix{.length = length, .ip_version = static_cast<uint8_t>(version)};
  const test::Bytes bytes = test::internal::AddressBytes(version, address);
  std::copy(bytes.begin(), bytes.end(), prefix.address.begin());
  return prefix;
}

const FrameSpec kArp{.ip_version = 0, .ethertype = kEtherArp};

TEST(RuleTable, WithoutRulesNothingMatches) {
  RuleTable table;
  EXPECT_EQ(table.match(View({}), 1_s), 0);
  EXPECT_EQ(table.size(), 0u);
}

TEST(RuleTable, AnEmptyRuleMatchesEverything) {
  RuleTable table = Table({{}});
  for (const FrameSpec& spec : {FrameSpec{}, kArp, FrameSpec{.ip_version = 6}}) {
    EXPECT_EQ(table.match(View(spec), 1_s), 1);
  }
  EXPECT_EQ(table.match(ParseFrame({}, 0, 0), 1_s), 1);
  EXPECT_EQ(table.counts(1).picked, 4u);
}

struct FieldCase {
  const char* name;
  RuleMatch rule;
  FrameSpec match;
  FrameSpec miss;
};

TEST(RuleTable, EveryFieldDecides) {
  const FieldCase cases[] = {
      {"src", {.src = Prefix(4, "10.0.0.0", 31)}, {}, {.src = "10.0.0.2"}},
      {"src host", {.src = Prefix(4, "10.0.0.1", 32)}, {}, {.src = "10.0.0.0"}},
      {"dst", {.dst = Prefix(4, "10.0.0.2", 32)}, {}, {.dst = "10.0.0.3"}},
      {"any v4", {.src = Prefix(4, "0.0.0.0", 0)}, {}, {.ip_version = 6}},
      {"any v6", {.src = Prefix(6, "::", 0)}, {.ip_version = 6}, {}},
      {"no ip", {.src = Prefix(4, "0.0.0.0", 0)}, {}, kArp},
      {"v6",
       {.dst = Prefix(6, "fd00::", 127)},
       {.ip_version = 6, .dst = "fd00::1"},
       {.ip_version = 6, .dst = "fd00::2"}},
      {"src port low", {.src_port = {{100, 200}}}, {.src_port = 100}, {.src_port = 99}},
      {"src port high", {.src_port = {{100, 200}}}, {.src_port = 200}, {.src_port = 201}},
      {"dst port", {.dst_port = {{4791, 4791}}}, {}, {.dst_port = 4790}},
      {"ports of fragments", {.dst_port = {{0, 65535}}}, {}, {.fragment = {{9, true}}}},
      {"protocol", {.protocol = 6}, {.protocol = 6}, {}},
      {"protocol 0 needs IP", {.protocol = 0}, {.protocol = 0}, kArp},
      {"dscp", {.dscp = 26}, {.dscp = 26}, {.dscp = 27}},
      {"dscp 0 needs IP", {.dscp = 0}, {}, kArp},
      {"vlan", {.vlan = 7}, {.tags = {{7, 3}}}, {.tags = {{8, 3}}}},
      {"vlan outer", {.vlan = 7}, {.tags = {{7, 3}, {8, 0}}}, {.tags = {{8, 3}, {7, 0}}}},
      {"vlan 0 needs a tag", {.vlan = 0}, {.tags = {{0, 3}}}, {}},
      {"ethertype", {.ethertype = kEtherArp}, kArp, {}},
      {"shortest", {.frame_size = {{.first = 75}}}, {.payload_bytes = 33}, {}},
      {"longest", {.frame_size = {{.last = 74}}}, {}, {.payload_bytes = 33}},
      {"all of them",
       {.src = Prefix(4, "10.0.0.1", 32), .protocol = 17, .dscp = 1},
       {.dscp = 1},
       {.protocol = 6, .dscp = 1}},
  };
  for (const FieldCase& c : cases) {
    SCOPED_TRACE(c.name);
    RuleTable table = Table({c.rule});
    EXPECT_EQ(table.match(View(c.match), 1_s), 1);
    EXPECT_EQ(table.match(View(c.miss), 1_s), 0);
    EXPECT_EQ(table.counts(1).picked, 1u);
  }
}

TEST(RuleTable, WindowsAreHalfOpenAndCountFromTheStart) {
  RuleTable table = Table({{.from = 10_ns, .until = 20_ns}}, 100_ns);
  EXPECT_EQ(table.match(View({}), 109_ns), 0);
  EXPECT_EQ(table.match(View({}), 110_ns), 1);
  EXPECT_EQ(table.match(View({}), 119_ns), 1);
  EXPECT_EQ(table.match(View({}), 120_ns), 0);
}

TEST(RuleTable, TurnsAreCountedAmongMatchingFrames) {
  struct Turn {
    RuleMatch rule;
    std::vector<int> hit;
  };
  const Turn turns[] = {
      {{.start = 3, .count = 1}, {3}},
      {{.every = 4}, {1, 5, 9}},
      {{.start = 2, .every = 4}, {2, 6, 10}},
      {{.start = 5, .count = 2}, {5, 6}},
      {{.count = 3}, {1, 2, 3}},
      {{.start = 5, .every = 5, .count = 1}, {5}},
      {{.start = 13}, {}},
  };
  for (const Turn& turn : turns) {
    RuleMatch rule = turn.rule;
    rule.protocol = 17;
    RuleTable table = Table({rule});
    std::vector<int> hit;
    for (int i = 1; i <= 12; ++i) {
      if (table.match(View({}), 0_ns) != 0) hit.push_back(i);
      EXPECT_EQ(table.match(View({.protocol = 6}), 0_ns), 0);
    }
    EXPECT_EQ(hit, turn.hit);
    EXPECT_EQ(table.counts(1).picked, turn.hit.size());
  }
}

TEST(RuleTable, TheFirstRuleWinsAndOthersStillCount) {
  RuleTable table = Table({{.start = 2, .count = 1}, {.start = 3, .count = 1}, {.dscp = 5}, {}});
  EXPECT_EQ(table.match(View({}), 0_ns), 4);
  EXPECT_EQ(table.match(View({}), 0_ns), 1);
  EXPECT_EQ(table.match(View({}), 0_ns), 2);  // the third, though rule 0 took one of them
  EXPECT_EQ(table.match(View({.dscp = 5}), 0_ns), 3);
  EXPECT_EQ(table.counts(4).picked, 1u);
}

TEST(RuleTable, TakesAsManyRulesAsTheReferenceHoldsAndNoMore) {
  std::vector<RuleMatch> rules(kMaxRules, {.protocol = 6});
  rules.back() = {};
  EXPECT_EQ(Table(rules).match(View({}), 0_ns), 254);
  rules.emplace_back();
  EXPECT_FALSE(RuleTable::Create(rules, {}));
}

// --- Shares, windows, lists ------------------------------------------------------------------

TEST(RuleTable, AShareIsDrawnByTheRulesOwnCount) {
  const auto picked = [](StreamKey key, uint64_t count, int others) {
    Result<RuleTable> table =
        RuleTable::Create({{.protocol = 17, .count = count, .probability = 0.25}}, {}, key);
    std::vector<int> numbers;
    for (int i = 1; i <= 4000; ++i) {
      if (table->match(View({}), 0_ns) != 0) numbers.push_back(i);
      for (int k = 0; k < others; ++k) table->match(View({.protocol = 6}), 0_ns);
    }
    return numbers;
  };
  const std::vector<int> all = picked({1}, 0, 0);
  EXPECT_NEAR(static_cast<double>(all.size()), 1000, 150);  // five standard deviations: 137
  EXPECT_EQ(picked({1}, 0, 3), all);                        // whatever comes between
  EXPECT_NE(picked({2}, 0, 0), all);
  EXPECT_EQ(picked({1}, 3, 0), std::vector<int>(all.begin(), all.begin() + 3));
}

TEST(RuleTable, OneRuleOpensAnothersWindow) {
  RuleTable table = Table({{.dscp = 8, .until = 5_ns, .after = 2}, {.dscp = 46}});
  const auto at = [&](TimeNs now, uint8_t dscp) { return table.match(View({.dscp = dscp}), now); };
  EXPECT_EQ(at(1_ns, 8), 0);
  EXPECT_EQ(at(10_ns, 46), 2);
  EXPECT_EQ(at(10_ns, 8), 1) << "later packets of the same instant are in it";
  EXPECT_EQ(at(14_ns, 8), 1);
  EXPECT_EQ(at(15_ns, 8), 0);
  EXPECT_EQ(at(20_ns, 46), 2) << "every pick opens it again";
  EXPECT_EQ(at(24_ns, 8), 1);
  table.start_epoch();
  EXPECT_EQ(at(24_ns, 8), 0);
}

TEST(RuleTable, AnEpochCountsFromOneAgainAndTotalsGoOn) {
  RuleTable table = Table({{.count = 1}});
  for (int epoch = 1; epoch <= 2; ++epoch) {
    EXPECT_EQ(table.match(View({}), 0_ns), 1);
    EXPECT_EQ(table.match(View({}), 0_ns), 0);
    EXPECT_EQ(table.counts(1).picked, static_cast<uint64_t>(epoch));
    EXPECT_EQ(table.counts(1).matched, 2u * static_cast<uint64_t>(epoch));
    table.start_epoch();
  }
}

TEST(RuleTable, AnotherListKeepsTheCountsOfThoseThatStay) {
  RuleTable table = Table({{.start = 3, .count = 1}, {.dscp = 5}});
  EXPECT_EQ(table.match(View({}), 0_ns), 0);
  EXPECT_EQ(table.match(View({}), 0_ns), 0);
  std::vector<PlacedRule> list{{.match = {.start = 3, .count = 1}, .number = 1, .fresh = false},
                               {.match = {.until = 10_ns}, .number = 9}};
  table.exchange(list, 100_ns);
  EXPECT_EQ(list.size(), 2u) << "the old list is handed back";
  EXPECT_EQ(table.match(View({.dscp = 5}), 109_ns), 1) << "its third packet";
  EXPECT_EQ(table.match(View({}), 109_ns), 9) << "a new rule's time begins with the list";
  EXPECT_EQ(table.match(View({}), 110_ns), 0);
  EXPECT_EQ(table.counts(9).picked, 1u);
  table.give_back(9);
  EXPECT_EQ(table.counts(9).picked, 0u);
}

TEST(RuleTable, RefusesWhatCanNeverMatch) {
  const RuleMatch wrong[] = {
      {.dscp = 64},           {.vlan = 4096},           {.src_port = {{2, 1}}},
      {.dst_port = {{2, 1}}}, {.frame_size = {{2, 1}}}, {.from = 5_ns, .until = 5_ns},
      {.probability = 1.5},
  };
  for (const RuleMatch& rule : wrong) {
    const Result<RuleTable> table = RuleTable::Create({{}, rule}, {});
    ASSERT_FALSE(table);
    EXPECT_EQ(table.error().context, "fault rule 1");
  }
}

}  // namespace
}  // namespace farspan::roce
