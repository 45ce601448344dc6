// Parsing, by a table of built frames; every prefix of each of them, alone and as a first segment;
// the flow hash's determinism and spread.
#include "emulator/roce/frame_view.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/support/frame_builder.h"

namespace farspan::roce {
namespace {

using test::BuildFrame;
using test::Bytes;
using test::FrameSpec;

FrameView Parse(const Bytes& frame, uint32_t mtu = 1500) {
  return ParseFrame(frame, static_cast<uint32_t>(frame.size()), mtu);
}

IpAddress Address(int version, const char* text) {
  IpAddress address{};
  const Bytes bytes = test::internal::AddressBytes(version, text);
  std::copy(bytes.begin(), bytes.end(), address.begin());
  return address;
}

struct Expected {
  uint16_t ethertype = kEtherIpv4;
  uint16_t l3_offset = 14;
  uint32_t ip_bytes = 60;
  uint8_t ip_version = 4;
  uint8_t protocol = 17;
  bool has_ports = true;
  uint16_t payload_offset = 42;
  uint32_t payload_bytes = 32;
  bool fragment = false;
};

struct Case {
  const char* name;
  FrameSpec frame;
  Expected expected;
};

const std::vector<Case> kCases{
    {"udp", {}, {}},
    {"padded", {.payload_bytes = 3, .pad_to = 60}, {.ip_bytes = 31, .payload_bytes = 3}},
    {"tcp", {.protocol = 6}, {.ip_bytes = 72, .protocol = 6, .payload_offset = 54}},
    {"tcp options",
     {.protocol = 6, .tcp_option_bytes = 12},
     {.ip_bytes = 84, .protocol = 6, .payload_offset = 66}},
    {"tcp ack",
     {.protocol = 6, .payload_bytes = 0, .pad_to = 60},
     {.ip_bytes = 40, .protocol = 6, .payload_offset = 54, .payload_bytes = 0}},
    {"icmp",
     {.protocol = 1},
     {.ip_bytes = 52, .protocol = 1, .has_ports = false, .payload_offset = 34}},
    {"ip options", {.ipv4_option_bytes = 40}, {.ip_bytes = 100, .payload_offset = 82}},
    {"first fragment", {.fragment = {{0, true}}}, {.fragment = true}},
    {"last fragment",
     {.fragment = {{185, false}}},
     {.ip_bytes = 52, .has_ports = false, .payload_offset = 34, .fragment = true}},
    {"vlan", {.tags = {{100, 5}}}, {.l3_offset = 18, .payload_offset = 46}},
    {"qinq", {.tags = {{100, 5, 0x88a8}, {7, 1}}}, {.l3_offset = 22, .payload_offset = 50}},
    {"three tags",
     {.tags = {{100, 5, 0x9100}, {7, 1}, {8, 1}}},
     {.ethertype = kEtherVlan,
      .l3_offset = 22,
      .ip_bytes = 0,
      .ip_version = 0,
      .protocol = 0,
      .has_ports = false,
      .payload_offset = 0,
      .payload_bytes = 0}},
    {"ipv6 udp",
     {.ip_version = 6},
     {.ethertype = kEtherIpv6, .ip_bytes = 80, .ip_version = 6, .payload_offset = 62}},
    {"ipv6 tcp vlan",
     {.tags = {{100, 5}}, .ip_version = 6, .protocol = 6},
     {.ethertype = kEtherIpv6,
      .l3_offset = 18,
      .ip_bytes = 92,
      .ip_version = 6,
      .protocol = 6,
      .payload_offset = 78}},
    {"ipv6 extensions",
     {.ip_version = 6, .extensions = {{0, 8}, {60, 16}, {43, 24}, {60, 8}}},
     {.ethertype = kEtherIpv6, .ip_bytes = 136, .ip_version = 6, .payload_offset = 118}},
    {"ipv6 as many extensions as are walked",
     {.ip_version = 6, .extensions = std::vector<test::Ipv6Extension>(8, {60, 8})},
     {.ethertype = kEtherIpv6, .ip_bytes = 144, .ip_version = 6, .payload_offset = 126}},
    {"ipv6 first fragment",
     {.ip_version = 6, .extensions = {{0, 8}, {44, 8}}, .fragment = {{0, true}}},
     {.ethertype = kEtherIpv6,
      .ip_bytes = 96,
      .ip_version = 6,
      .payload_offset = 78,
      .fragment = true}},
    {"ipv6 later fragment",
     {.ip_version = 6, .extensions = {{44, 8}}, .fragment = {{181, false}}},
     {.ethertype = kEtherIpv6,
      .ip_bytes = 80,
      .ip_version = 6,
      .has_ports = false,
      .payload_offset = 62,
      .fragment = true}},
    {"ipv6 atomic fragment",
     {.ip_version = 6, .extensions = {{44, 8}}, .fragment = {{0, false}}},
     {.ethertype = kEtherIpv6, .ip_bytes = 88, .ip_version = 6, .payload_offset = 70}},
    {"ipv6 no next header",
     {.ip_version = 6, .protocol = 59, .payload_bytes = 0},
     {.ethertype = kEtherIpv6,
      .ip_bytes = 40,
      .ip_version = 6,
      .protocol = 59,
      .has_ports = false,
      .payload_offset = 54,
      .payload_bytes = 0}},
    {"arp",
     {.ip_version = 0, .ethertype = kEtherArp, .payload_bytes = 28, .pad_to = 60},
     {.ethertype = kEtherArp,
      .ip_bytes = 0,
      .ip_version = 0,
      .protocol = 0,
      .has_ports = false,
      .payload_offset = 0,
      .payload_bytes = 0}},
    {"lldp",
     {.ip_version = 0, .ethertype = kEtherLldp, .payload_bytes = 200},
     {.ethertype = kEtherLldp,
      .ip_bytes = 0,
      .ip_version = 0,
      .protocol = 0,
      .has_ports = false,
      .payload_offset = 0,
      .payload_bytes = 0}},
    {"llc",
     {.tags = {{100, 5}}, .ip_version = 0, .ethertype = 39, .payload_bytes = 39, .pad_to = 60},
     {.ethertype = 0,
      .l3_offset = 18,
      .ip_bytes = 0,
      .ip_version = 0,
      .protocol = 0,
      .has_ports = false,
      .payload_offset = 0,
      .payload_bytes = 0}},
};

TEST(FrameView, ReadsEveryKindOfFrame) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    const Bytes frame = BuildFrame(c.frame);
    const FrameView view = Parse(frame);
    const Expected& e = c.expected;
    EXPECT_EQ(view.frame_bytes, frame.size());
    EXPECT_EQ(view.ethertype, e.ethertype);
    EXPECT_EQ(view.l3_offset, e.l3_offset);
    EXPECT_EQ(view.ip_bytes, e.ip_bytes);
    EXPECT_EQ(view.ip_version, e.ip_version);
    EXPECT_EQ(view.protocol, e.protocol);
    EXPECT_EQ(view.payload_offset, e.payload_offset);
    EXPECT_EQ(view.payload_bytes(), e.payload_bytes);
    EXPECT_EQ(view.fragment, e.fragment);
    EXPECT_EQ(view.has_ports, e.has_ports);
    EXPECT_EQ(view.src_port, e.has_ports ? 49152 : 0);
    EXPECT_EQ(view.dst_port, e.has_ports ? 4791 : 0);
    EXPECT_EQ(view.tagged, !c.frame.tags.empty());
    EXPECT_EQ(view.vlan, view.tagged ? 100 : 0);
    EXPECT_EQ(view.pcp, view.tagged ? 5 : 0);
    EXPECT_FALSE(view.malformed);
    EXPECT_FALSE(view.truncated);
    EXPECT_FALSE(view.super_frame);
    const bool v6 = e.ip_version == 6;
    const IpAddress src =
        e.ip_version == 0 ? IpAddress{} : Address(e.ip_version, v6 ? "fd00::1" : "10.0.0.1");
    const IpAddress dst =
        e.ip_version == 0 ? IpAddress{} : Address(e.ip_version, v6 ? "fd00::2" : "10.0.0.2");
    EXPECT_EQ(view.src, src);
    EXPECT_EQ(view.dst, dst);
  }
}

TEST(FrameView, ReadsDscpAndEcn) {
  for (const int version : {4, 6}) {
    for (int dscp = 0; dscp < 64; ++dscp) {
      for (int ecn = 0; ecn < 4; ++ecn) {
        const FrameView view = Parse(BuildFrame({.ip_version = version,
                                                 .dscp = static_cast<uint8_t>(dscp),
                                                 .ecn = static_cast<uint8_t>(ecn)}));
        EXPECT_EQ(view.dscp, dscp);
        EXPECT_EQ(view.ecn, ecn);
      }
    }
  }
}

// Each prefix lives in a heap block of its own size, so that AddressSanitizer sees a read behind
// its end.
TEST(FrameView, CutFramesAreFlaggedAndStayInside) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    const Bytes frame = BuildFrame(c.frame);
    const FrameView whole = Parse(frame);
    for (size_t size = 0; size < frame.size(); ++size) {
      const Bytes prefix(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(size));
      const FrameView cut = Parse(prefix);
      EXPECT_LE(cut.payload_offset + cut.payload_bytes(), size);
      const size_t packet_end = whole.l3_offset + whole.ip_bytes;
      if (whole.ip_version != 0 && size < packet_end) {
        EXPECT_TRUE(cut.truncated || cut.malformed) << size;
      }
      EXPECT_EQ(cut.truncated && cut.ip_version != 0, cut.ip_version != 0 && size < packet_end);
      // The same bytes as the first segment of the whole frame: nothing is missing, but headers
      // must be in it.
      const FrameView segment = ParseFrame(prefix, whole.frame_bytes, 1500);
      EXPECT_FALSE(segment.truncated);
      if (whole.payload_offset != 0 && size >= whole.payload_offset) {
        EXPECT_FALSE(segment.malformed) << size;
        EXPECT_EQ(segment.payload_bytes(), whole.payload_bytes());
      } else if (whole.payload_offset != 0) {
        EXPECT_TRUE(segment.malformed) << size;
      }
    }
  }
}

struct Broken {
  const char* name;
  FrameSpec frame;
  size_t offset;
  uint8_t value;
  bool keeps_ip;  // the IP header itself could still be read
};

TEST(FrameView, ContradictionsAreMalformed) {
  const Broken broken[] = {
      {"version 5 in IPv4", {}, 14, 0x55, false},
      {"version 4 in IPv6", {.ip_version = 6}, 14, 0x40, false},
      {"header length 16", {}, 14, 0x44, false},
      {"header longer than the packet", {.payload_bytes = 0}, 14, 0x4f, false},
      {"total length 19", {}, 17, 19, false},
      {"total length 0", {}, 17, 0, false},
      {"packet ends in UDP's header", {}, 17, 27, true},
      {"packet ends in TCP's header", {.protocol = 6}, 17, 39, true},
      {"TCP header of 16", {.protocol = 6}, 46, 0x40, true},
      {"TCP header longer than the packet", {.protocol = 6, .payload_bytes = 0}, 46, 0x60, true},
      {"IPv6 packet ends in UDP's header", {.ip_version = 6}, 19, 7, true},
      {"extension longer than the packet", {.ip_version = 6, .extensions = {{60, 8}}}, 55, 6, true},
      {"IPv6 packet ends in an extension", {.ip_version = 6, .extensions = {{60, 8}}}, 19, 7, true},
  };
  for (const Broken& b : broken) {
    SCOPED_TRACE(b.name);
    Bytes frame = BuildFrame(b.frame);
    EXPECT_FALSE(Parse(frame).malformed);
    frame[b.offset] = b.value;
    const FrameView view = Parse(frame);
    EXPECT_TRUE(view.malformed);
    EXPECT_FALSE(view.has_ports);
    EXPECT_EQ(view.payload_bytes(), 0u);
    EXPECT_EQ(view.ip_version != 0, b.keeps_ip);
  }
  const std::vector<test::Ipv6Extension> nine(9, {60, 8});
  EXPECT_TRUE(Parse(BuildFrame({.ip_version = 6, .extensions = nine})).malformed);
}

TEST(FrameView, SuperFramesAreLongerThanTheMtu) {
  for (const int version : {4, 6}) {
    const size_t headers = version == 4 ? 28 : 48;
    const Bytes full =
        BuildFrame({.tags = {{1}}, .ip_version = version, .payload_bytes = 1500 - headers});
    EXPECT_FALSE(Parse(full, 1500).super_frame);
    EXPECT_TRUE(Parse(full, 1499).super_frame);
    EXPECT_FALSE(Parse(full, 0).super_frame);
    // As af_packet delivers one: cut to the port's frame size, the IP length tells.
    const Bytes super = BuildFrame({.ip_version = version, .payload_bytes = 60'000});
    const Bytes cut(super.begin(), super.begin() + 1514);
    EXPECT_TRUE(Parse(cut, 1500).super_frame);
    EXPECT_TRUE(Parse(cut, 1500).truncated);
    EXPECT_FALSE(Parse(cut, 1500).malformed);
  }
  // BIG TCP writes 0 where a length does not fit.
  for (const auto& [version, length_at, length_zero] : {std::tuple{4, 16, 0}, {6, 18, 0}}) {
    Bytes big = BuildFrame({.ip_version = version, .payload_bytes = 60'000});
    big[static_cast<size_t>(length_at)] = length_zero;
    big[static_cast<size_t>(length_at) + 1] = length_zero;
    const FrameView view = ParseFrame(big, 200'000, 1500);
    EXPECT_TRUE(view.super_frame);
    EXPECT_FALSE(view.truncated);
    EXPECT_EQ(view.ip_bytes, 200'000u - 14);
  }
}

// Values of an implementation in another language.
TEST(FlowHash, IsTheDocumentedFunction) {
  EXPECT_EQ(FlowHash(Parse(BuildFrame({}))), 0xae1bd95au);
  EXPECT_EQ(FlowHash(Parse(BuildFrame({.ip_version = 6}))), 0x44f75b2cu);
}

TEST(FlowHash, DependsOnTheFiveTupleAlone) {
  const uint32_t base = FlowHash(Parse(BuildFrame({})));
  EXPECT_EQ(base, FlowHash(Parse(BuildFrame(
                      {.tags = {{9, 1}}, .dscp = 5, .ecn = 2, .ttl = 3, .payload_bytes = 900}))));
  const FrameSpec others[] = {{.src = "10.0.0.3"}, {.dst = "10.0.0.3"},      {.protocol = 6},
                              {.src_port = 1},     {.dst_port = 1},          {.ip_version = 6},
                              {.protocol = 1},     {.fragment = {{0, true}}}};
  for (const FrameSpec& other : others) EXPECT_NE(base, FlowHash(Parse(BuildFrame(other))));
  for (const char* address : {"fd00:1::1", "fd00::1:0:0:1", "fd00::1:1", "fd00::3"}) {
    EXPECT_NE(FlowHash(Parse(BuildFrame({.ip_version = 6}))),
              FlowHash(Parse(BuildFrame({.ip_version = 6, .src = address}))));
  }
}

TEST(FlowHash, FragmentsOfADatagramStayTogether) {
  for (const int version : {4, 6}) {
    std::vector<test::Ipv6Extension> extensions;
    if (version == 6) extensions.push_back({44, 8});
    std::set<uint32_t> hashes;
    for (const test::Fragment fragment : {test::Fragment{0, true}, {185, true}, {370, false}}) {
      hashes.insert(FlowHash(Parse(
          BuildFrame({.ip_version = version, .extensions = extensions, .fragment = fragment}))));
    }
    EXPECT_EQ(hashes.size(), 1u);
  }
}

// Pearson's chi-square over `buckets` of flows that differ as `vary` says, as a standard normal
// deviate (Wilson and Hilferty, 1931). It is judged from both sides: a counter modulo the buckets
// would be suspiciously even.
template <typename Vary>
double Spread(int flows, int buckets, int version, Vary vary) {
  std::vector<int> counts(static_cast<size_t>(buckets));
  FrameView view = Parse(BuildFrame({.ip_version = version}));
  for (int i = 0; i < flows; ++i) {
    vary(view, i);
    ++counts[FlowHash(view) * static_cast<uint64_t>(buckets) >> 32];
  }
  const double mean = static_cast<double>(flows) / buckets;
  double chi_square = 0;
  for (const int count : counts) chi_square += (count - mean) * (count - mean) / mean;
  const double variance = 2.0 / (9 * (buckets - 1));
  return (std::cbrt(chi_square / (buckets - 1)) - (1 - variance)) / std::sqrt(variance);
}

TEST(FlowHash, SpreadsWhatRealFlowsDifferIn) {
  const auto source_port = [](FrameView& view, int i) {  // RoCEv2's entropy: 49152 to 65535
    view.src_port = static_cast<uint16_t>(49152 + i);
  };
  const auto neighbours = [](FrameView& view, int i) {  // hosts of one rack to another
    view.src[3] = static_cast<uint8_t>(i);
    view.dst[3] = static_cast<uint8_t>(i >> 8);
  };
  const auto ipv6_hosts = [](FrameView& view, int i) {
    view.src[15] = static_cast<uint8_t>(i);
    view.dst[15] = static_cast<uint8_t>(i >> 8);
  };
  for (const int buckets : {2, 3, 4, 7, 8, 16, 64, 256}) {
    SCOPED_TRACE(buckets);
    EXPECT_LT(std::abs(Spread(16'384, buckets, 4, source_port)), 4.5);
    EXPECT_LT(std::abs(Spread(16'384, buckets, 6, source_port)), 4.5);
    EXPECT_LT(std::abs(Spread(65'536, buckets, 4, neighbours)), 4.5);
    EXPECT_LT(std::abs(Spread(65'536, buckets, 6, ipv6_hosts)), 4.5);
  }
  // The test sees a hash that is not one: four ports in all.
  EXPECT_GT(
      Spread(16'384, 64, 4,
             [](FrameView& view, int i) { view.src_port = static_cast<uint16_t>(49152 + i % 4); }),
      4.5);
}

}  // namespace
}  // namespace farspan::roce
