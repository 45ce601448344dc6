#include "emulator/roce/class_map.h"

#include <gtest/gtest.h>

#include "tests/support/frame_builder.h"

namespace farspan::roce {
namespace {

using link::BottleneckSpec;
using test::FrameSpec;

link::ClassSpec Class(const char* name, std::vector<uint8_t> dscp, std::vector<uint8_t> pcp) {
  link::ClassSpec spec;
  spec.name = name;
  spec.dscp = std::move(dscp);
  spec.pcp = std::move(pcp);
  return spec;
}

uint8_t Classify(const BottleneckSpec& spec, bool bypass_unmatched, const FrameSpec& frame_spec) {
  const Result<ClassMap> map = ClassMap::Create(spec, bypass_unmatched);
  EXPECT_TRUE(map) << map.error().text();
  const test::Bytes frame = test::BuildFrame(frame_spec);
  return map->classify(ParseFrame(frame, static_cast<uint32_t>(frame.size()), 1500));
}

const FrameSpec kArp{.ip_version = 0, .ethertype = kEtherArp};
const FrameSpec kTaggedArp{.tags = {{5, 3}}, .ip_version = 0, .ethertype = kEtherArp};
const FrameSpec kTaggedIp{.tags = {{5, 3}}};

TEST(ClassMap, GoesByDscpAndByPriorityWithoutIp) {
  BottleneckSpec spec;
  spec.classes = {Class("default", {0}, {0}), Class("roce", {26, 63}, {3}), Class("cnp", {48}, {})};
  EXPECT_EQ(Classify(spec, false, {.dscp = 26}), 1);
  EXPECT_EQ(Classify(spec, false, {.ip_version = 6, .dscp = 63}), 1);
  EXPECT_EQ(Classify(spec, false, {.dscp = 48}), 2);
  EXPECT_EQ(Classify(spec, false, {.dscp = 27}), 0);
  EXPECT_EQ(Classify(spec, false, kTaggedArp), 1);
  EXPECT_EQ(Classify(spec, false, kTaggedIp), 0);  // the IP header decides
  EXPECT_EQ(Classify(spec, false, kArp), 0);

  EXPECT_EQ(Classify(spec, true, {.dscp = 26}), 1);
  EXPECT_EQ(Classify(spec, true, {}), 0);
  EXPECT_EQ(Classify(spec, true, {.dscp = 27}), ClassMap::kBypass);
  EXPECT_EQ(Classify(spec, true, kTaggedArp), 1);
  EXPECT_EQ(Classify(spec, true, kArp), ClassMap::kBypass);
}

TEST(ClassMap, ADefaultClassWithoutClaimsTakesAllIp) {
  BottleneckSpec spec;
  for (const FrameSpec& frame : {FrameSpec{.dscp = 9}, FrameSpec{.ip_version = 6}, kTaggedIp}) {
    EXPECT_EQ(Classify(spec, true, frame), 0);
  }
  EXPECT_EQ(Classify(spec, true, kArp), ClassMap::kBypass);
  EXPECT_EQ(Classify(spec, true, kTaggedArp), ClassMap::kBypass);
  EXPECT_EQ(Classify(spec, false, kTaggedArp), 0);
}

TEST(ClassMap, RefusesWhatContradictsItself) {
  const auto error = [](std::vector<link::ClassSpec> classes) {
    BottleneckSpec spec;
    spec.classes = std::move(classes);
    const Result<ClassMap> map = ClassMap::Create(spec, false);
    return map ? "" : map.error().text();
  };
  EXPECT_EQ(error({Class("x", {64}, {})}),
            "class \"x\": dscp 64 is out of range: expected 0 to 63");
  EXPECT_EQ(error({Class("x", {}, {8})}), "class \"x\": pcp 8 is out of range: expected 0 to 7");
  EXPECT_EQ(error({Class("x", {}, {1}), Class("y", {}, {1})}),
            "class \"y\": pcp 1 is claimed twice: give it to one class");
  EXPECT_NE(error({}), "");
  EXPECT_NE(error(std::vector<link::ClassSpec>(255)), "");
  EXPECT_EQ(error(std::vector<link::ClassSpec>(254)), "");
}

}  // namespace
}  // namespace farspan::roce
