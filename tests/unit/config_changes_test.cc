// Live changes: what is asked for, and nothing else.
#include <gtest/gtest.h>

#include "emulator/config/changes.h"
#include "emulator/link/path.h"
#include "tests/support/config_text.h"

namespace farspan::config {
namespace {

using namespace farspan::literals;
using link::OneWayDelay;
using test::LoadLink;

TEST(Changes, WhatIsAskedForAndNothingElse) {
  const LinkSpec link = LoadLink("distance = \"100 km\"\namplifiers = \"50 km\"\n");
  const auto distance = ChangesFrom(link.ab, {{"distance", "200 km"}});
  ASSERT_TRUE(distance) << distance.error().text();
  ASSERT_EQ(distance->size(), 1u);
  const auto& path = std::get<link::SetPath>(distance->at(0)).path;
  EXPECT_EQ(path.length, 200_km);
  EXPECT_EQ(path.amplifier_spacing, 50_km);
  const auto delay = ChangesFrom(link.ab, {{"delay", "5 ms"}});
  EXPECT_EQ(OneWayDelay(std::get<link::SetPath>(delay->at(0)).path), 5_ms);
  const auto many = ChangesFrom(
      link.ab, {{"rtt", "9 ms"}, {"rate", "1 Gbps"}, {"loss", "1e-4"}, {"jitter", "1 us"}});
  ASSERT_TRUE(many) << many.error().text();
  ASSERT_EQ(many->size(), 4u);
  EXPECT_EQ(std::get<link::SetRate>(many->at(0)).rate, 1_gbps);
  EXPECT_EQ(std::get<link::SetLoss>(many->at(2)).loss.keying, link::Keying::kWireTime);
}

TEST(Changes, Lanes) {
  const LinkSpec link =
      LoadLink("rate=\"1 Gbps\"\nlanes = [{distance = \"100 km\"}, {distance = \"200 km\"}]\n");
  const auto all = ChangesFrom(link.ab, {{"rate", "2 Gbps"}});
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ(std::get<link::SetRate>(all->at(1)).lane, 1);
  const auto one = ChangesFrom(link.ab, {{"rate", "2 Gbps"}, {"lane", "1"}});
  ASSERT_EQ(one->size(), 1u);
  EXPECT_EQ(std::get<link::SetRate>(one->at(0)).lane, 1);
}

TEST(Changes, Refused) {
  const LinkSpec link = LoadLink("delay = \"1 ms\"");
  const auto error = [&](const std::map<std::string, std::string>& settings) {
    const auto changes = ChangesFrom(link.ab, settings);
    return changes ? std::string("accepted") : changes.error().text();
  };
  EXPECT_EQ(error({{"distence", "1 km"}})
                .find("distence: unknown key \"distence\" in a change; "
                      "did you mean \"distance\"?"),
            0u);
  EXPECT_EQ(error({{"delay", "1"}}).find("delay: \"1\": it has no unit"), 0u);
  EXPECT_NE(error({{"loss", "1"}}).find("percent"), std::string::npos);
  EXPECT_NE(error({{"loss", "100 %"}}).find("loss"), std::string::npos);
  EXPECT_NE(error({{"rate", "0 bps"}}).find("more than 0"), std::string::npos);
  EXPECT_NE(error({{"lane", "1"}, {"rate", "1 Gbps"}}).find("out of range"), std::string::npos);
  EXPECT_NE(error({{"lane", "0"}}).find("expected distance, delay, rtt"), std::string::npos);
  EXPECT_NE(error({}).find("expected distance, delay, rtt"), std::string::npos);
  EXPECT_NE(error({{"a b", "1"}}).find("KEY=VALUE"), std::string::npos);
  EXPECT_NE(error({{"rate", "1\n2"}}).find("line breaks"), std::string::npos);
  EXPECT_NE(error({{"delay", "1 ms"}, {"rtt", "1 ms"}}).find("excludes"), std::string::npos);
}

}  // namespace
}  // namespace farspan::config
