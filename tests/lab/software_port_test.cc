// DPDK's software ports, and the pool whose buffers they take.
#include <gtest/gtest.h>
#include <rte_mempool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>

#include "emulator/dpdk/eal.h"
#include "tests/lab/port_fixture.h"

namespace farspan::dpdk {
namespace {

using config::PortKind;

TEST(SoftwarePort, NullGivesAndTakesWithoutLimit) {
  auto port = OpenPort(PortKind::kVdev, "net_null_t0,size=64");
  ASSERT_TRUE(port.has_value()) << port.error().text();
  EXPECT_FALSE((*port)->hardware());
  (*port)->start_counting();
  std::array<rte_mbuf*, 32> burst{};
  ASSERT_EQ((*port)->rx(burst), 32);
  EXPECT_EQ(burst[0]->pkt_len, 64u);
  EXPECT_EQ((*port)->tx(burst), 32);
  EXPECT_EQ(Send(**port, {Frame(9'000, 1)}), 1);
  const PortReading reading = (*port)->reading();
  EXPECT_EQ(reading.rx_packets, 32u);
  EXPECT_EQ(reading.tx_packets, 33u);
  EXPECT_EQ(reading.own_oversize, 0u);
  EXPECT_TRUE(reading.settled());
  EXPECT_FALSE(reading.kernel.has_value());
}

TEST(SoftwarePort, RingBringsFramesBackIntact) {
  auto port = OpenPort(PortKind::kVdev, "net_ring_t0");
  ASSERT_TRUE(port.has_value()) << port.error().text();
  const Frames frames{Frame(60, 1), Frame(1'514, 2), Frame(9'014, 3)};
  ASSERT_EQ(Send(**port, frames), 3);
  EXPECT_EQ(Receive(**port, 3), frames);
}

TEST(SoftwarePort, BadDeviceStringsAreErrors) {
  auto unknown = OpenPort(PortKind::kVdev, "net_nul0");
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code, ErrorCode::kMachine);
  EXPECT_NE(unknown.error().text().find("net_nul0"), std::string::npos);
  EXPECT_FALSE(OpenPort(PortKind::kPci, "0000:ff:1f.7").has_value());
  EXPECT_FALSE(OpenPort(PortKind::kVdev, "net_null_t1", 20'000).has_value());
}

TEST(SoftwarePort, VhostServesASocketAndTakesAStaleOne) {
  const std::string path = testing::TempDir() + "farspan-vhost-" + std::to_string(getpid());
  {
    auto port = OpenPort(PortKind::kVhost, path);
    ASSERT_TRUE(port.has_value()) << port.error().text();
    EXPECT_EQ(access(path.c_str(), F_OK), 0);
    EXPECT_FALSE((*port)->link_up());
    auto second = OpenPort(PortKind::kVhost, path);
    ASSERT_FALSE(second.has_value());
    EXPECT_NE(second.error().text().find("busy"), std::string::npos) << second.error().text();
  }
  // What a killed process leaves behind.
  sockaddr_storage raw{};
  auto* address = reinterpret_cast<char*>(&raw);
  raw.ss_family = AF_UNIX;
  path.copy(address + sizeof(sa_family_t), 100);
  const int stale = socket(AF_UNIX, SOCK_STREAM, 0);
  unlink(path.c_str());
  ASSERT_EQ(bind(stale, reinterpret_cast<sockaddr*>(&raw), 110), 0);
  close(stale);
  auto port = OpenPort(PortKind::kVhost, path);
  EXPECT_TRUE(port.has_value()) << port.error().text();
}

TEST(SoftwarePort, OtherDriversOpenAsTheyAreWritten) {
  const std::string path = testing::TempDir() + "farspan-" + std::to_string(getpid());
  const std::string capture = path + ".pcap";
  {
    auto port = OpenPort(PortKind::kVdev, "net_pcap_t0,tx_pcap=" + capture);
    ASSERT_TRUE(port.has_value()) << port.error().text();
    EXPECT_EQ(Send(**port, Frames(3, Frame(100, 1))), 3);
    auto shared =
        OpenPort(PortKind::kVdev, "net_memif_t0,role=server,socket-abstract=no,socket=" + path);
    ASSERT_TRUE(shared.has_value()) << shared.error().text();
    EXPECT_EQ(access(path.c_str(), F_OK), 0);
  }
  // A pcap file: 24 bytes, and for each frame 16 and its own.
  std::ifstream file(capture, std::ios::ate | std::ios::binary);
  EXPECT_EQ(file.tellg(), 24 + 3 * (16 + 100));
  std::remove(capture.c_str());
  std::remove(path.c_str());
}

TEST(PacketPool, HandsOutTheMbufFreedLastAndFitsThePlan) {
  auto pool = MakePacketPool("lifo", 1'024, 2'176, 0);
  ASSERT_TRUE(pool.has_value()) << pool.error().text();
  EXPECT_EQ(rte_mempool_avail_count(pool->get()), 1'024u);
  std::array<rte_mbuf*, 8> first{};
  ASSERT_EQ(rte_pktmbuf_alloc_bulk(pool->get(), first.data(), first.size()), 0);
  std::set<rte_mbuf*> addresses(first.begin(), first.end());
  rte_pktmbuf_free(first[3]);
  EXPECT_EQ(rte_pktmbuf_alloc(pool->get()), first[3]);
  // Neighbours in address: all eight within nine objects.
  const auto span = reinterpret_cast<uintptr_t>(*addresses.rbegin()) -
                    reinterpret_cast<uintptr_t>(*addresses.begin());
  EXPECT_LE(span, 9 * MbufObjectBytes(2'176));
  EXPECT_LE(pool->get()->header_size + pool->get()->elt_size + pool->get()->trailer_size,
            MbufObjectBytes(2'176));
  rte_pktmbuf_free_bulk(first.data(), first.size());
}

TEST(PacketPool, TooLargeIsAnError) {
  auto pool = MakePacketPool("huge", 1'000'000, 2'176, 0);
  ASSERT_FALSE(pool.has_value());
  EXPECT_EQ(pool.error().code, ErrorCode::kMachine);
}

}  // namespace
}  // namespace farspan::dpdk
