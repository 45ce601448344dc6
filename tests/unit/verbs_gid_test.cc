// Which of a machine's GIDs is used, and what is said where none can be.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "transports/drivers/verbs/gid.h"

namespace farspan::verbs {
namespace {

Gid At(const char* host) { return *GidOf(*ParseSocketAddress(std::string(host) + ":0")); }

// As the table of a RoCE port with one IPv4 and one IPv6 address reads.
std::vector<PortGid> PortOf(const char* device, uint8_t port, const char* v4, const char* v6) {
  return {{device, port, true, 0, GidType::kRoceV1, At("[fe80::1]")},
          {device, port, true, 1, GidType::kRoceV2, At("[fe80::1]")},
          {device, port, true, 2, GidType::kRoceV1, At(v6)},
          {device, port, true, 3, GidType::kRoceV2, At(v6)},
          {device, port, true, 4, GidType::kRoceV1, At(v4)},
          {device, port, true, 5, GidType::kRoceV2, At(v4)}};
}

std::vector<PortGid> TwoPorts() {
  auto gids = PortOf("mlx5_0", 1, "10.0.0.1", "[fd00::1]");
  const auto more = PortOf("mlx5_1", 2, "10.1.0.1", "[fd01::1]");
  gids.insert(gids.end(), more.begin(), more.end());
  return gids;
}

PortChoice Local(const char* address) { return {"", std::nullopt, *ParseSocketAddress(address)}; }

std::string Chosen(const std::vector<PortGid>& gids, const PortChoice& choice) {
  const auto chosen = ChooseGid(gids, choice);
  if (!chosen) return chosen.error().message;
  return chosen->device + " " + std::to_string(chosen->index);
}

TEST(Gid, AnIpAddressHasItsOwn) {
  EXPECT_EQ(ToText(At("10.0.0.1")), "::ffff:10.0.0.1");
  EXPECT_EQ(ToText(At("[fd00::1]")), "fd00::1");
  EXPECT_FALSE(GidOf({}));
}

TEST(Gid, RoceV2OverIpv4UnlessSomethingElseIsAskedFor) {
  EXPECT_EQ(Chosen(TwoPorts(), {}), "mlx5_0 5");
  EXPECT_EQ(Chosen(TwoPorts(), Local("10.1.0.1:0")), "mlx5_1 5");
  EXPECT_EQ(Chosen(TwoPorts(), Local("[fd01::1]:0")), "mlx5_1 3");
  EXPECT_EQ(Chosen(PortOf("rxe0", 1, "10.0.0.1", "[fd00::1]"), Local("192.0.2.1:0")), "rxe0 5")
      << "an address of no RDMA port, and one port";
  EXPECT_EQ(Chosen(TwoPorts(), {"mlx5_1", std::nullopt, {}}), "mlx5_1 5");
  EXPECT_EQ(Chosen(TwoPorts(), {"mlx5_1:2", std::nullopt, {}}), "mlx5_1 5");
  EXPECT_EQ(Chosen(TwoPorts(), {"mlx5_0", 2, {}}), "mlx5_0 2") << "what was named, even RoCEv1";
}

TEST(Gid, WithoutIpv4GlobalIpv6ComesBeforeLinkLocal) {
  auto gids = PortOf("rxe0", 1, "10.0.0.1", "[fd00::1]");
  gids.resize(4);
  EXPECT_EQ(Chosen(gids, {}), "rxe0 3");
  gids.resize(2);
  EXPECT_EQ(Chosen(gids, {}), "rxe0 1");
}

void Says(const std::string& message, const char* what) {
  EXPECT_NE(message.find(what), std::string::npos) << message;
}

TEST(Gid, NeverTakesAnotherPortThanTheOneAskedFor) {
  const char* ports =
      "there are mlx5_0:1 (fe80::1, fd00::1, 10.0.0.1), mlx5_1:2 (fe80::1, fd01::1, 10.1.0.1)";
  const std::string nowhere = Chosen(TwoPorts(), Local("192.0.2.1:0"));
  Says(nowhere, "192.0.2.1 is no address of an RDMA port");
  Says(nowhere, ports);
  EXPECT_EQ(Chosen(TwoPorts(), {"mlx5_1", std::nullopt, Local("192.0.2.1:0").local}), "mlx5_1 5")
      << "the device is named; the address is for the bootstrap";
  auto down = TwoPorts();
  for (size_t i = 6; i < down.size(); ++i) down[i].active = false;
  const std::string unusable = Chosen(down, Local("10.1.0.1:0"));
  Says(unusable, "10.1.0.1 is at mlx5_1:2, which cannot be used as asked");
  Says(unusable, "mlx5_1:2 (fe80::1, fd01::1, 10.1.0.1, down)");
  EXPECT_EQ(Chosen(down, Local("10.0.0.1:0")), "mlx5_0 5");
  PortChoice indexed = Local("10.1.0.1:0");
  indexed.gid_index = 3;
  EXPECT_EQ(Chosen(TwoPorts(), indexed), "mlx5_1 3") << "another GID of the address's port";
  indexed.gid_index = 7;
  down = TwoPorts();
  down.push_back({"mlx5_0", 1, true, 7, GidType::kRoceV2, At("10.2.0.1")});
  Says(Chosen(down, indexed), "cannot be used as asked");
}

TEST(Gid, SaysWhatIsMissing) {
  Says(Chosen({}, {}), "no RDMA port with an address");
  Says(Chosen(TwoPorts(), {"mlx5_9", std::nullopt, {}}),
       "no RDMA port 'mlx5_9' with an address; there are mlx5_0:1 (fe80::1, fd00::1, 10.0.0.1), "
       "mlx5_1:2 (");
  Says(Chosen(TwoPorts(), {"mlx5_0", 9, {}}), "mlx5_0:1 has no GID with index 9");
  auto gids = TwoPorts();
  for (PortGid& one : gids) one.active = false;
  Says(Chosen(gids, {}), "mlx5_0:1, mlx5_1:2 is down");
  gids[5].active = true;
  EXPECT_EQ(Chosen(gids, {}), "mlx5_0 5") << "the one port that is up";
  for (PortGid& one : gids) one = {"mlx5_0", 1, true, 0, GidType::kRoceV1, At("10.0.0.1")};
  Says(Chosen(gids, {}), "no RoCEv2 GID");
  for (PortGid& one : gids) one.type = GidType::kInfiniBand;
  Says(Chosen(gids, {}), "InfiniBand");
}

}  // namespace
}  // namespace farspan::verbs
