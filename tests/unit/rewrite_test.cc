// ECN marks against a full recomputation of the checksum, and where payload corruption may land.
#include "emulator/roce/rewrite.h"

#include <gtest/gtest.h>

#include <set>

#include "emulator/roce/frame_view.h"
#include "tests/support/frame_builder.h"

namespace farspan::roce {
namespace {

using test::BuildFrame;
using test::Bytes;
using test::FrameSpec;

TEST(SetCe, MarksWhatIsEcnCapable) {
  const FrameSpec shapes[] = {{},
                              {.tags = {{1, 2}}},
                              {.tags = {{1, 2, 0x88a8}, {3}}, .ipv4_option_bytes = 8},
                              {.fragment = {{5, true}}},
                              {.ip_version = 6},
                              {.tags = {{1, 2}}, .ip_version = 6, .extensions = {{60, 8}}}};
  for (FrameSpec spec : shapes) {
    for (const uint8_t dscp : {0, 21, 42, 63}) {
      spec.dscp = dscp;
      spec.ecn = 3;
      const Bytes marked = BuildFrame(spec);
      for (const uint8_t ecn : {1, 2, 3}) {
        spec.ecn = ecn;
        Bytes frame = BuildFrame(spec);
        EXPECT_TRUE(SetCe(frame));
        EXPECT_EQ(frame, marked);
      }
      spec.ecn = 0;
      Bytes frame = BuildFrame(spec);
      EXPECT_FALSE(SetCe(frame));
      EXPECT_EQ(frame, BuildFrame(spec));
    }
  }
}

TEST(SetCe, LeavesOtherFramesAlone) {
  for (const FrameSpec& spec : {FrameSpec{.ip_version = 0, .ethertype = kEtherArp},
                                FrameSpec{.ip_version = 0, .ethertype = 100}}) {
    Bytes frame = BuildFrame(spec);
    std::fill(frame.begin() + 14, frame.end(), 0xff);
    const Bytes before = frame;
    EXPECT_FALSE(SetCe(frame));
    EXPECT_EQ(frame, before);
  }
  for (size_t size = 0; size < 34; ++size) {
    Bytes frame = BuildFrame({.ecn = 2});
    frame.resize(size);
    const Bytes before = frame;
    EXPECT_FALSE(SetCe(frame));
    EXPECT_EQ(frame, before);
  }
}

// All identifications, so that the checksum before takes nearly every value, those whose sums wrap
// included; the result must be what a full computation gives.
TEST(SetCe, ChecksumEqualsAFullRecomputation) {
  for (const uint8_t ecn : {1, 2}) {
    std::set<uint16_t> before;
    for (uint32_t identification = 0; identification < 65'536; ++identification) {
      FrameSpec spec{.ecn = ecn, .identification = static_cast<uint16_t>(identification)};
      Bytes frame = BuildFrame(spec);
      before.insert(internal::LoadBe16(frame.data() + 24));
      ASSERT_TRUE(SetCe(frame));
      spec.ecn = 3;
      ASSERT_EQ(frame, BuildFrame(spec)) << identification;
    }
    EXPECT_EQ(before.size(), 65'535u);  // 0xffff never stands for a header that is not all 0
    EXPECT_TRUE(before.contains(0x0000));
  }
}

// Any checksum field at all: what a receiver sums up must not change, so that a right checksum
// stays right and a wrong one stays wrong by as much. 0x0000 and 0xffff are the same number.
TEST(SetCe, KeepsTheErrorOfAnyChecksum) {
  const auto receiver_sum = [](const Bytes& frame) {
    const uint16_t sum = test::InternetChecksum(frame.data() + 14, 20);
    return sum == 0xffff ? 0 : sum;
  };
  for (uint32_t checksum = 0; checksum < 65'536; ++checksum) {
    Bytes frame = BuildFrame({.ecn = 2});
    frame[24] = static_cast<uint8_t>(checksum >> 8);
    frame[25] = static_cast<uint8_t>(checksum);
    const auto before = receiver_sum(frame);
    ASSERT_TRUE(SetCe(frame));
    ASSERT_EQ(receiver_sum(frame), before) << checksum;
  }
}

TEST(CorruptPayload, FlipsOneBitOfThePayloadAndReachesAllOfThem) {
  const FrameSpec shapes[] = {
      {.payload_bytes = 3, .pad_to = 60},
      {.protocol = 6, .tcp_option_bytes = 12, .payload_bytes = 3},
      {.protocol = 1, .payload_bytes = 3, .pad_to = 60},
      {.fragment = {{8, false}}, .payload_bytes = 3, .pad_to = 60},
      {.tags = {{1}}, .ip_version = 6, .extensions = {{0, 16}}, .payload_bytes = 3, .pad_to = 90},
  };
  for (const FrameSpec& spec : shapes) {
    const Bytes original = BuildFrame(spec);
    const FrameView view = ParseFrame(original, static_cast<uint32_t>(original.size()), 0);
    ASSERT_EQ(view.payload_bytes(), 3u);
    std::set<size_t> flipped;
    for (uint64_t random = 0; random < 1000; ++random) {
      Bytes frame = original;
      ASSERT_TRUE(CorruptPayload(frame, random * 0x9e3779b97f4a7c15u));
      for (size_t i = 0; i < frame.size(); ++i) {
        for (int bit = 0; bit < 8; ++bit) {
          if (((frame[i] ^ original[i]) >> bit & 1) == 0) continue;
          flipped.insert((i - view.payload_offset) * 8 + static_cast<size_t>(bit));
        }
      }
      // One flip per call: flipping the same bit again restores the frame.
      ASSERT_TRUE(CorruptPayload(frame, random * 0x9e3779b97f4a7c15u));
      ASSERT_EQ(frame, original);
    }
    EXPECT_EQ(flipped.size(), 24u);
    EXPECT_LT(*flipped.rbegin(), 24u);
  }
}

TEST(CorruptPayload, LeavesFramesWithoutPayloadAlone) {
  for (const FrameSpec& spec :
       {FrameSpec{.payload_bytes = 0, .pad_to = 60},
        FrameSpec{.protocol = 6, .payload_bytes = 0, .pad_to = 60},
        FrameSpec{.ip_version = 0, .ethertype = kEtherArp, .payload_bytes = 46}}) {
    Bytes frame = BuildFrame(spec);
    EXPECT_FALSE(CorruptPayload(frame, 12345));
    EXPECT_EQ(frame, BuildFrame(spec));
  }
}

}  // namespace
}  // namespace farspan::roce
