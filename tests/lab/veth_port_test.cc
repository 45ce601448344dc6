// Ports on kernel interfaces: veth pairs, and what their books say.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "emulator/dpdk/eal.h"
#include "emulator/dpdk/idle.h"
#include "tests/lab/port_fixture.h"
#include "tests/support/lab.h"

namespace farspan::dpdk {
namespace {

using config::PortKind;

// reading() waits for polls; here they come from this thread's rx(), so a second one asks.
PortReading ReadWhilePolling(Port& port) {
  PortReading reading;
  std::atomic<bool> done = false;
  std::jthread reader([&] {
    reading = port.reading();
    done = true;
  });
  std::array<rte_mbuf*, 32> burst{};
  while (!done) {
    EXPECT_EQ(port.rx(burst), 0);
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return reading;
}

// A host on the far end of a veth pair.
class Host {
 public:
  explicit Host(const std::string& interface)
      : socket_(socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL))) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const int size = 16 << 20;
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
  }
  ~Host() { close(socket_); }

  void send(const std::vector<uint8_t>& frame) {
    ASSERT_EQ(::send(socket_, frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()))
        << std::strerror(errno);
  }
  // Sizes of what came, in order; the kernel takes 802.1Q tags out of what sockets see.
  std::vector<size_t> received() {
    std::vector<size_t> sizes;
    std::vector<uint8_t> buffer(65'536);
    for (;;) {
      sockaddr_ll from{};
      socklen_t from_size = sizeof(from);
      const ssize_t size = recvfrom(socket_, buffer.data(), buffer.size(), MSG_TRUNC,
                                    reinterpret_cast<sockaddr*>(&from), &from_size);
      if (size < 0) return sizes;
      if (from.sll_pkttype != PACKET_OUTGOING) sizes.push_back(static_cast<size_t>(size));
    }
  }

 private:
  int socket_;
};

int Flags(const std::string& interface) {
  const int control = socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  EXPECT_EQ(ioctl(control, SIOCGIFFLAGS, &request), 0);
  close(control);
  return request.ifr_flags;
}

char Ipv6Disabled(const std::string& interface) {
  std::ifstream file("/proc/sys/net/ipv6/conf/" + interface + "/disable_ipv6");
  return static_cast<char>(file.get());
}

class VethTest : public testing::Test {
 protected:
  void SetUp() override {
    FARSPAN_NEED_LAB(Isolated(), "needs root for a network namespace and veth");
    make(1'500);
  }
  void TearDown() override {
    if (Isolated()) run("ip link del fsp0");
  }
  static void run(const std::string& command) {
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }
  static void make(int mtu) {
    const std::string size = std::to_string(mtu);
    run("ip link add fsp0 mtu " + size + " type veth peer name fsh0 mtu " + size);
    run("ip link set fsh0 up");
    // Silent: no IPv6 chatter among the frames that we count.
    run("sysctl -qw net.ipv6.conf.fsh0.disable_ipv6=1");
  }
};

TEST_F(VethTest, TapPortOpens) {
  FARSPAN_NEED_LAB(access("/dev/net/tun", R_OK | W_OK) == 0, "needs /dev/net/tun");
  auto port = OpenPort(PortKind::kVdev, "net_tap_t0,iface=fsptap0");
  ASSERT_TRUE(port.has_value()) << port.error().text();
  EXPECT_NE(if_nametoindex("fsptap0"), 0u);
}

TEST_F(VethTest, PolledFramesAllArriveAndTheBooksClose) {
  auto port = OpenPort(PortKind::kAfPacket, "fsp0");
  ASSERT_TRUE(port.has_value()) << port.error().text();
  Host host("fsh0");
  host.send(Frame(60, 0));  // before the books are open: nobody's loss
  (*port)->start_counting();
  size_t arrived = 0;
  for (uint32_t i = 0; i < 9'000; i += 500) {
    for (uint32_t j = i; j < i + 500; ++j) host.send(Frame(60 + j % 1'455, j));
    for (const auto& frame : Receive(**port, 500)) {
      const auto number = static_cast<uint32_t>(arrived++);
      ASSERT_EQ(frame, Frame(60 + number % 1'455, number));
    }
  }
  const PortReading reading = ReadWhilePolling(**port);
  EXPECT_EQ(arrived, 9'000u);
  EXPECT_EQ(reading.rx_packets, 9'000u);
  ASSERT_TRUE(reading.kernel.has_value());
  EXPECT_EQ(reading.kernel->rx_packets, 9'000u);
  EXPECT_TRUE(reading.settled());
  EXPECT_EQ(reading.own_missed_bound, 0u);
}

TEST_F(VethTest, SilentLossIsFound) {
  auto port = OpenPort(PortKind::kAfPacket, "fsp0");
  ASSERT_TRUE(port.has_value()) << port.error().text();
  Host host("fsh0");
  (*port)->start_counting();
  for (uint32_t i = 0; i < 3'000; ++i) host.send(Frame(64, i));
  // While nobody polls, what the ring may hold cannot be told from what was lost.
  const PortReading unpolled = (*port)->reading();
  EXPECT_FALSE(unpolled.settled());
  EXPECT_LE(unpolled.own_missed, 3'000u - 1'024);
  EXPECT_EQ(unpolled.own_missed_bound, 3'000u);

  const size_t arrived = Receive(**port, 3'000).size();
  const PortReading reading = ReadWhilePolling(**port);
  ASSERT_LT(arrived, 3'000u) << "the ring held everything: this test shows nothing";
  EXPECT_TRUE(reading.settled());
  EXPECT_EQ(reading.own_missed, 3'000u - arrived);
  // The trap itself: DPDK says nothing.
  EXPECT_EQ(reading.rx_errors + reading.own_no_buffer, 0u);
}

short Readable(int fd) {
  pollfd doorbell{.fd = fd, .events = POLLIN, .revents = 0};
  EXPECT_GE(poll(&doorbell, 1, 0), 0);
  return doorbell.revents;
}

TEST_F(VethTest, TheDoorbellRingsWhileFramesWait) {
  auto port = OpenPort(PortKind::kAfPacket, "fsp0");
  ASSERT_TRUE(port.has_value()) << port.error().text();
  const int doorbell = (*port)->doorbell();
  ASSERT_GE(doorbell, 0);
  Host host("fsh0");
  EXPECT_EQ(Readable(doorbell), 0);
  for (uint32_t i = 0; i < 3'000; ++i) {  // round the ring more than twice
    host.send(Frame(100, i));
    ASSERT_EQ(Readable(doorbell), POLLIN) << i;
    ASSERT_EQ(Receive(**port, 1).size(), 1u);
    ASSERT_EQ(Readable(doorbell), 0) << i;
  }
}

TEST_F(VethTest, AnInterfaceThatWentDownDoesNotKeepTheLcoreAwake) {
  auto port = OpenPort(PortKind::kAfPacket, "fsp0");
  ASSERT_TRUE(port.has_value()) << port.error().text();
  const int doorbell = (*port)->doorbell();
  const Seqlock<ClockMap> clock;
  ClockReader reader(clock);
  Idle idle(false);
  idle.listen(doorbell);
  run("ip link set fsp0 down");
  EXPECT_EQ(Readable(doorbell), POLLERR);
  idle.wait(TimeNs{1'000'000'000}, kNever, reader);
  EXPECT_EQ(Readable(doorbell), 0);
  run("ip link set fsp0 up");
  Host host("fsh0");
  host.send(Frame(100, 1));
  EXPECT_EQ(Readable(doorbell), POLLIN);
  EXPECT_EQ(Receive(**port, 1), Frames{Frame(100, 1)});
}

TEST_F(VethTest, OversizeIsCountedAndNeverCalledSent) {
  auto port = OpenPort(PortKind::kAfPacket, "fsp0");
  ASSERT_TRUE(port.has_value()) << port.error().text();
  EXPECT_EQ((*port)->max_frame_bytes(), 1'514u);
  Host host("fsh0");
  host.received();
  (*port)->start_counting();
  EXPECT_EQ(Send(**port, {Frame(60, 1), Frame(1'514, 2), Frame(1'515, 3), Frame(9'000, 4),
                          Frame(1'518, 5, true), Frame(1'519, 6, true), Frame(100, 7)}),
            7);
  // The tag of the fifth lies beside the frame for a socket.
  EXPECT_EQ(host.received(), (std::vector<size_t>{60, 1'514, 1'514, 100}));
  const PortReading reading = ReadWhilePolling(**port);
  EXPECT_EQ(reading.own_oversize, 3u);
  EXPECT_EQ(reading.tx_packets, 4u);
  EXPECT_EQ(reading.kernel->tx_packets, 4u);
  EXPECT_EQ(reading.own_unsent_bound, 0u);
}

TEST_F(VethTest, TaggedFramesKeepTheirTag) {
  auto port = OpenPort(PortKind::kAfPacket, "fsp0");
  ASSERT_TRUE(port.has_value()) << port.error().text();
  Host host("fsh0");
  (*port)->start_counting();
  host.send(Frame(200, 1, true));
  host.send(Frame(1'518, 2, true));
  EXPECT_EQ(Receive(**port, 2), (Frames{Frame(200, 1, true), Frame(1'518, 2, true)}));
}

TEST_F(VethTest, JumboFramesPassBothWays) {
  for (const int mtu : {4'200, 9'000}) {
    run("ip link del fsp0");
    make(mtu);
    auto port = OpenPort(PortKind::kAfPacket, "fsp0", static_cast<uint32_t>(mtu));
    ASSERT_TRUE(port.has_value()) << port.error().text();
    Host host("fsh0");
    (*port)->start_counting();
    const auto frame = Frame(static_cast<size_t>(mtu) + 14, 1);
    host.send(frame);
    EXPECT_EQ(Receive(**port, 1), Frames(1, frame)) << mtu;
    EXPECT_EQ(Send(**port, {frame}), 1);
    EXPECT_EQ(host.received(), std::vector{frame.size()}) << mtu;
  }
}

TEST_F(VethTest, MtuBeyondThePlanIsRefused) {
  run("ip link set fsp0 mtu 4200");
  auto port = OpenPort(PortKind::kAfPacket, "fsp0", 1'500);
  ASSERT_FALSE(port.has_value());
  EXPECT_NE(port.error().text().find("engine.mtu = 4200"), std::string::npos)
      << port.error().text();
}

TEST_F(VethTest, SettingsAreChangedAndGivenBack) {
  run("ethtool -K fsp0 gro on");
  run("sysctl -qw net.ipv6.conf.fsp0.disable_ipv6=0");
  const int before = Flags("fsp0");
  ASSERT_EQ(before & IFF_UP, 0);
  {
    auto port = OpenPort(PortKind::kAfPacket, "fsp0");
    ASSERT_TRUE(port.has_value()) << port.error().text();
    EXPECT_EQ(Flags("fsp0") & (IFF_UP | IFF_PROMISC | IFF_NOARP), IFF_UP | IFF_PROMISC | IFF_NOARP);
    EXPECT_EQ(Ipv6Disabled("fsp0"), '1');
    run("ethtool -k fsp0 | grep -q 'generic-receive-offload: off'");
  }
  EXPECT_EQ(Flags("fsp0"), before);
  EXPECT_EQ(Ipv6Disabled("fsp0"), '0');
  run("ethtool -k fsp0 | grep -q 'generic-receive-offload: on'");
}

TEST_F(VethTest, ABusyInterfaceIsRefusedWithItsHolder) {
  auto first = KernelInterface::Take("fsp0");
  ASSERT_TRUE(first.has_value()) << first.error().text();
  auto second = KernelInterface::Take("fsp0");
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kMachine);
  EXPECT_NE(second.error().text().find("sudo kill " + std::to_string(getpid())), std::string::npos)
      << second.error().text();
  EXPECT_NE(Flags("fsp0") & IFF_PROMISC, 0);  // the refused one has undone nothing of the first
  first->reset();
  EXPECT_TRUE(KernelInterface::Take("fsp0").has_value());
}

TEST_F(VethTest, UnfitInterfacesAreRefusedWithWhatMendsIt) {
  auto missing = KernelInterface::Take("fsp1");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::kInvalid);
  EXPECT_NE(missing.error().text().find("fsp0"), std::string::npos) << missing.error().text();

  run("ip address add 192.0.2.1/24 dev fsp0");
  auto addressed = KernelInterface::Take("fsp0");
  ASSERT_FALSE(addressed.has_value());
  EXPECT_NE(addressed.error().text().find("ip address flush dev fsp0"), std::string::npos);
  EXPECT_FALSE(KernelInterface::Take("lo").has_value());
}

// The kernel keeps what cannot leave: the driver calls it sent until the ring is full, and all of
// it leaves when the host is back. The engine must not stall, and the books must show it.
TEST_F(VethTest, WhatADeadPeerDoesNotTakeIsUnsent) {
  auto port = OpenPort(PortKind::kAfPacket, "fsp0");
  ASSERT_TRUE(port.has_value()) << port.error().text();
  EXPECT_TRUE((*port)->link_up());
  (*port)->start_counting();
  run("ip link set fsh0 down");
  EXPECT_FALSE((*port)->link_up());
  size_t taken = 0;
  for (uint32_t i = 0; i < 5'000; i += 10) taken += Send(**port, Frames(10, Frame(100, i)));
  EXPECT_GE(taken, 1'024u);
  EXPECT_LT(taken, 1'100u);
  const PortReading lost = ReadWhilePolling(**port);
  EXPECT_EQ(lost.kernel->tx_packets, 0u);
  EXPECT_EQ(lost.own_unsent, taken);

  run("ip link set fsh0 up");
  Host host("fsh0");
  size_t arrived = 0;
  for (int i = 0; i < 100 && arrived < taken + 10; ++i) {
    if (taken < 1'100) taken += Send(**port, Frames(10, Frame(100, 1)));
    arrived += host.received().size();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(arrived, taken);
  EXPECT_EQ(ReadWhilePolling(**port).own_unsent_bound, 0u);
}

TEST_F(VethTest, XdpPortPassesFrames) {
  auto large = OpenPort(PortKind::kAfXdp, "fsp0");
  ASSERT_FALSE(large.has_value());
  EXPECT_NE(large.error().text().find("af_packet:fsp0"), std::string::npos);

  auto pool = MakePacketPool("xdp", 8'192, 2'176, 32);
  ASSERT_TRUE(pool.has_value()) << pool.error().text();
  auto port = OpenPort(PortKind::kAfXdp, "fsp0", 1'500, pool->get());
  FARSPAN_NEED_LAB(port.has_value(), "needs AF_XDP: " + port.error().text());
  Host host("fsh0");
  (*port)->start_counting();
  const auto frame = Frame(1'000, 1);
  host.send(frame);
  EXPECT_EQ(Receive(**port, 1), Frames(1, frame));
  EXPECT_EQ(Send(**port, {frame}), 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(host.received(), std::vector{frame.size()});
  EXPECT_TRUE(ReadWhilePolling(**port).settled());
}

}  // namespace
}  // namespace farspan::dpdk
