// Fault rules as configurations say them.
#include <gtest/gtest.h>

#include "emulator/config/loader.h"
#include "tests/support/config_text.h"

namespace farspan::config {
namespace {

using namespace farspan::literals;
using test::LoadLink;
using test::Wire;

TEST(Config, RulesPickPackets) {
  const LinkSpec link = LoadLink(R"(
delay = "1 ms"
unmatched = "bypass"
[[links.timeline]]
name = "break"
after = "1 ms"
action = "cut"
for = "10 ms"
[[links.rules]]
src = "10.0.1.0/24"
dst = "fd00::1"
dst_port = "4791"
src_port = "1000-2000"
protocol = "udp"
dscp = "AF31"
vlan = 7
ethertype = "ipv6"
frame_size = ["64 B", "1518 B"]
nth = 5
from = "1 s"
until = "2 s"
action = "trigger"
event = "break"
[[links.rules]]
every = 100
count = 3
action = "delay"
delay = "1 ms"
probability = "50 %"
)");
  EXPECT_EQ(link.unmatched, Unmatched::kBypass);
  ASSERT_EQ(link.ab_rules.size(), 2u);
  ASSERT_EQ(link.ab.faults.size(), 2u);
  const roce::RuleMatch& match = link.ba_rules[0].conditions;
  EXPECT_EQ(match.src->length, 24);
  EXPECT_EQ(match.dst->ip_version, 6);
  EXPECT_EQ(match.dst->length, 128);
  EXPECT_EQ(*match.dst_port, (roce::PortRange{4791, 4791}));
  EXPECT_EQ(*match.src_port, (roce::PortRange{1000, 2000}));
  EXPECT_EQ(match.protocol, 17);
  EXPECT_EQ(match.dscp, 26);
  EXPECT_EQ(match.vlan, 7);
  EXPECT_EQ(match.ethertype, 0x86dd);
  EXPECT_EQ(*match.frame_size, (roce::SizeRange{64, 1518}));
  EXPECT_EQ(match.start, 5u);
  EXPECT_EQ(match.count, 1u);
  EXPECT_EQ(match.from, 1_s);
  EXPECT_EQ(match.until, 2_s);
  EXPECT_EQ(link.ab.faults[0].kind, link::FaultKind::kTrigger);
  EXPECT_EQ(link.ab.faults[0].event, 0u);
  EXPECT_TRUE(link.ab.timeline[0].triggered);
  EXPECT_EQ(link.ab_rules[1].conditions.start, 100u);
  EXPECT_EQ(link.ab_rules[1].conditions.every, 100u);
  EXPECT_EQ(link.ab_rules[1].conditions.count, 3u);
  EXPECT_EQ(link.ab.faults[1].delay, 1_ms);
  EXPECT_EQ(link.ab_rules[1].conditions.probability, 0.5);
}

TEST(Config, RulesInOneLine) {
  const LinkSpec link = LoadLink(R"(delay = "1 ms"
[[links.rules]]
name = "voice"
match = "udp dst_port=4791 dscp=AF31"
action = "pass"
[[links.rules]]
match = "tcp"
frame_size = ["64 B", "1518 B"]
after = "voice"
from = "1 ms"
for = "5 ms"
action = "drop"
)");
  ASSERT_EQ(link.ab_rules.size(), 2u);
  const Rule& voice = link.ab_rules[0];
  EXPECT_EQ(voice.name, "voice");
  EXPECT_EQ(voice.match, "udp dst_port=4791 dscp=AF31");
  EXPECT_EQ(voice.limits, "");
  EXPECT_EQ(voice.action, "pass");
  EXPECT_EQ(voice.conditions,
            (roce::RuleMatch{.dst_port = {{4791, 4791}}, .protocol = 17, .dscp = 26}));
  const Rule& after = link.ba_rules[1];
  EXPECT_EQ(after.name, "r2");
  EXPECT_EQ(after.match, "tcp frame_size=\"64 B,1518 B\"");
  EXPECT_EQ(after.limits, "after=voice for=\"5 ms\" from=\"1 ms\"");
  EXPECT_EQ(after.conditions.after, 1);
  EXPECT_EQ(after.conditions.from, 1_ms);
  EXPECT_EQ(after.conditions.until, 6_ms);
}

}  // namespace
}  // namespace farspan::config
