// The lab's probe must itself be right: its datagrams, and what it concludes from arrivals.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/lab/probe/analysis.h"
#include "tests/lab/probe/packet.h"

namespace farspan::probe {
namespace {

std::vector<Sample> Arrivals(const std::vector<uint64_t>& sequences) {
  std::vector<Sample> samples;
  for (uint64_t s : sequences) {
    const auto sent = static_cast<int64_t>(s) * 1000;
    samples.push_back({.sequence = s, .sent_ns = sent, .received_ns = sent + 5000, .bytes = 100});
  }
  return samples;
}

TEST(ProbePacket, EveryFlippedBitShows) {
  for (size_t bytes : {48, 49, 55, 1472}) {
    std::vector<std::byte> datagram(bytes);
    Write({.sequence = 7, .sent_ns = 123456789, .received_ns = 4, .reflected_ns = 5}, datagram);
    const auto packet = Read(datagram);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->sequence, 7u);
    EXPECT_EQ(packet->sent_ns, 123456789);
    EXPECT_EQ(packet->received_ns, 4);
    EXPECT_EQ(packet->reflected_ns, 5);
    for (size_t bit = 0; bit < 8 * bytes; ++bit) {
      datagram[bit / 8] ^= std::byte{1} << (bit % 8);
      EXPECT_FALSE(Read(datagram)) << "bit " << bit << " of " << bytes << " bytes";
      datagram[bit / 8] ^= std::byte{1} << (bit % 8);
    }
  }
}

TEST(ProbePacket, ShortDatagramsAreRefused) {
  const std::vector<std::byte> datagram(kPacketBytesMin - 1);
  EXPECT_FALSE(Read(datagram));
}

TEST(ProbeAnalysis, NothingIsWrongWithACleanRun) {
  const Analysis a = Analyse(Arrivals({0, 1, 2, 3, 4}));
  EXPECT_EQ(a.received, 5u);
  EXPECT_EQ(a.unique, 5u);
  EXPECT_EQ(a.duplicates + a.reordered + a.missing, 0u);
  EXPECT_TRUE(a.gaps.empty());
  EXPECT_EQ(a.delay.min, 5000);
  EXPECT_EQ(a.delay.max, 5000);
  EXPECT_EQ(a.delay.stddev, 0);
}

// The example of RFC 4737, section 7.1: 4 arrives after 5, 6, 7, 8.
TEST(ProbeAnalysis, OrderIsThatOfRfc4737) {
  const Analysis a = Analyse(Arrivals({0, 1, 2, 3, 5, 6, 7, 8, 4, 9, 10}));
  EXPECT_EQ(a.reordered, 1u);
  EXPECT_EQ(a.reorder_extent_max, 4u);
  EXPECT_EQ(a.missing, 0u);
  // One early packet makes every later one that it overtook reordered.
  EXPECT_EQ(Analyse(Arrivals({0, 4, 1, 2, 3, 5})).reordered, 3u);
}

TEST(ProbeAnalysis, GapsAndDuplicatesAreSeenApart) {
  const Analysis a = Analyse(Arrivals({1, 2, 2, 5, 6, 6, 6, 9}));
  EXPECT_EQ(a.received, 8u);
  EXPECT_EQ(a.unique, 5u);
  EXPECT_EQ(a.duplicates, 3u);
  EXPECT_EQ(a.reordered, 0u);
  EXPECT_EQ(a.gaps, (std::vector<Gap>{{0, 1}, {3, 2}, {7, 2}}));
  EXPECT_EQ(a.missing, 5u);
}

TEST(ProbeAnalysis, RateIsThatOfTheMiddle) {
  std::vector<Sample> samples;
  for (int64_t i = 0; i < 1000; ++i) {
    // 100 us apart, but the first and the last tenth come at once.
    const int64_t at = std::clamp<int64_t>(i, 100, 900) * 100'000;
    samples.push_back({.sequence = static_cast<uint64_t>(i), .received_ns = at, .bytes = 1250});
  }
  const Analysis a = Analyse(samples);
  EXPECT_NEAR(a.payload_bits_per_s, 100e6, 1);
  EXPECT_NEAR(a.packets_per_s, 10'000, 1e-4);
}

TEST(ProbeAnalysis, QuantilesAreOrderStatistics) {
  std::vector<int64_t> values;
  for (int64_t i = 1000; i >= 1; --i) values.push_back(i);
  const DelayStatistics s = Summarise(values);
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.p50, 500);
  EXPECT_EQ(s.p99, 990);
  EXPECT_EQ(s.p999, 999);
  EXPECT_EQ(s.max, 1000);
  EXPECT_DOUBLE_EQ(s.mean, 500.5);
  EXPECT_NEAR(s.stddev, std::sqrt((1000.0 * 1000 - 1) / 12), 1e-9);
}

TEST(ProbeAnalysis, EcnIsCountedByCodePoint) {
  std::vector<Sample> samples = Arrivals({0, 1, 2, 3, 4});
  samples[1].tos = 0xb9;  // EF, ECT(1)
  samples[2].tos = 2;
  samples[3].tos = 3;
  samples[4].tos = 3;
  const Analysis a = Analyse(samples);
  EXPECT_EQ(a.ecn[0], 1u);
  EXPECT_EQ(a.ecn[1], 1u);
  EXPECT_EQ(a.ecn[2], 1u);
  EXPECT_EQ(a.ecn[3], 2u);
}

}  // namespace
}  // namespace farspan::probe
