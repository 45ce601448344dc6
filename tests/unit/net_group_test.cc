// One rank of a run over a net: what it must say instead of ending, or going on as if all were
// well.
#include "transports/testbed/net_group.h"

#include <gtest/gtest.h>

#include "tests/support/memory_transport.h"

namespace farspan::testbed {
namespace {

using namespace farspan::literals;

// Alone, and its own peer: what it sends comes back to it.
struct Alone {
  Alone()
      : plan{.receives = {{0, 0}}, .sends = {{0, 0}}, .programs = {{{.sources = {}, .bytes = 8}}}},
        group(*Bootstrap::Join({}), std::make_unique<test::MemoryTransport>(network), 1_s) {
    plan.programs[0][0].sources = {collectives::kLocal};
    plan.programs[0][0].sends = {0};
  }

  test::MemoryNetwork network{1, 1_ms};
  collectives::Plan plan;
  NetGroup group;
};

TEST(NetGroup, ALaneThatTheTransportCannotHaveIsAnError) {
  for (const collectives::SlotConfig& slots :
       {collectives::SlotConfig{65, 8, true}, collectives::SlotConfig{8, 1 << 20, true}}) {
    Alone alone;
    const auto connected = alone.group.connect({&alone.plan, 1}, slots, nullptr);
    ASSERT_FALSE(connected);
    EXPECT_NE(connected.error().text().find("takes 64 messages"), std::string::npos)
        << connected.error().text();
  }
}

TEST(NetGroup, WhatDoesNotArriveIsNotSettled) {
  Alone alone;
  ASSERT_TRUE(alone.group.connect({&alone.plan, 1}, {8, 8, true}, nullptr));
  std::vector<RankRun> runs;
  runs.emplace_back(alone.group.executor(0), alone.group.transport(0), alone.plan,
                    collectives::Buffers{}, 1);
  ASSERT_TRUE(alone.group.run(runs));
  alone.network.fail(transport::CommId{0});
  const auto settled = alone.group.settle();
  ASSERT_FALSE(settled);
  EXPECT_NE(settled.error().text().find("made to fail"), std::string::npos)
      << settled.error().text();
}

}  // namespace
}  // namespace farspan::testbed
