// Trains over loopback: what the kernel cuts and glues must be the same datagrams, with their
// marks.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "transports/drivers/udp/socket.h"

namespace farspan::udp {
namespace {

Socket OpenAt(const char* text, const SocketOptions& options = {}) {
  auto socket = Socket::Open(*ParseSocketAddress(text), options);
  EXPECT_TRUE(socket) << socket.error().text();
  return std::move(*socket);
}

struct Datagram {
  std::vector<std::byte> bytes;
  Ecn ecn;
};

// Everything that arrives until `count` datagrams are there or nothing comes for a second.
std::vector<Datagram> ReceiveAll(Socket& socket, size_t count) {
  std::vector<Datagram> datagrams;
  std::array<Arrival, 8> arrivals;
  while (datagrams.size() < count) {
    pollfd watched{socket.descriptor(), POLLIN, 0};
    poll(&watched, 1, 1000);
    const size_t n = socket.receive(arrivals);
    if (n == 0) break;
    for (size_t i = 0; i < n; ++i) {
      auto rest = arrivals[i].bytes;
      while (!rest.empty()) {
        const size_t bytes = std::min<size_t>(arrivals[i].segment_bytes, rest.size());
        datagrams.push_back(
            {{rest.begin(), rest.begin() + static_cast<long>(bytes)}, arrivals[i].ecn});
        rest = rest.subspan(bytes);
      }
    }
  }
  return datagrams;
}

std::vector<std::byte> Counting(size_t bytes) {
  std::vector<std::byte> data(bytes);
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(i * 7 + i / 256);
  return data;
}

class BothVersions : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Loopback, BothVersions, testing::Values("127.0.0.1:0", "[::1]:0"));

TEST_P(BothVersions, ATrainArrivesAsItsDatagrams) {
  Socket from = OpenAt(GetParam());
  Socket to = OpenAt(GetParam());
  // Nine datagrams of 1000 and one of 500, in parts that end nowhere near their borders.
  std::vector<std::byte> data = Counting(9500);
  const std::array<iovec, 3> parts{
      {{data.data(), 1}, {data.data() + 1, 4321}, {data.data() + 4322, 5178}}};
  const Train train{&to.local(), parts, 1000, Ecn::kEct0};
  ASSERT_EQ(from.segments_max(), Socket::kSegmentsMax) << "this kernel has no UDP_SEGMENT";
  ASSERT_EQ(from.send({&train, 1}), 1u);
  const auto datagrams = ReceiveAll(to, 10);
  ASSERT_EQ(datagrams.size(), 10u);
  size_t at = 0;
  for (const Datagram& datagram : datagrams) {
    EXPECT_EQ(datagram.bytes.size(), at == 9000 ? 500u : 1000u);
    EXPECT_EQ(datagram.ecn, Ecn::kEct0);
    EXPECT_EQ(std::memcmp(datagram.bytes.data(), data.data() + at, datagram.bytes.size()), 0);
    at += datagram.bytes.size();
  }
}

TEST_P(BothVersions, MarksAndSizesStayWithTheirDatagram) {
  Socket from = OpenAt(GetParam());
  Socket to = OpenAt(GetParam());
  std::vector<std::byte> data = Counting(300);
  std::vector<iovec> parts;
  std::vector<Train> trains;
  parts.reserve(4);
  for (size_t i = 0; i < 4; ++i) {
    parts.push_back({data.data(), 10 + 50 * i});
    trains.push_back(
        {&to.local(), {&parts.back(), 1}, static_cast<uint16_t>(10 + 50 * i), static_cast<Ecn>(i)});
  }
  ASSERT_EQ(from.send(trains), 4u);
  const auto datagrams = ReceiveAll(to, 4);
  ASSERT_EQ(datagrams.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(datagrams[i].bytes.size(), 10 + 50 * i);
    EXPECT_EQ(datagrams[i].ecn, static_cast<Ecn>(i));
  }
}

TEST(UdpSocket, AnOverfullSocketCountsWhatTheKernelDropped) {
  Socket from = OpenAt("127.0.0.1:0");
  Socket to = OpenAt("127.0.0.1:0", {.receive_buffer_bytes = 8192});
  std::vector<std::byte> data = Counting(1000);
  const iovec part{data.data(), data.size()};
  const Train train{&to.local(), {&part, 1}, 1000, Ecn::kNotEct};
  for (int i = 0; i < 200; ++i) ASSERT_EQ(from.send({&train, 1}), 1u);
  const size_t before = ReceiveAll(to, 200).size();
  ASSERT_LT(before, 200u);
  ASSERT_EQ(from.send({&train, 1}), 1u);  // the kernel tells with the next datagram that fits
  ASSERT_EQ(ReceiveAll(to, 1).size(), 1u);
  EXPECT_EQ(to.counters().receive_overflow, 200 - before);
}

TEST(UdpSocket, ATrainThatCannotGoIsCountedAndSkipped) {
  Socket from = OpenAt("127.0.0.1:0");
  Socket to = OpenAt("127.0.0.1:0");
  std::vector<std::byte> data = Counting(70'000);
  const iovec too_long{data.data(), 66'000};
  const iovec fits{data.data(), 100};
  const std::array<Train, 2> trains{{{&to.local(), {&too_long, 1}, 65'500, Ecn::kNotEct},
                                     {&to.local(), {&fits, 1}, 100, Ecn::kNotEct}}};
  EXPECT_EQ(from.send(trains), 1u);
  EXPECT_EQ(from.counters().send_errors, 1u);
  const auto refusal = from.take_refusal();
  ASSERT_TRUE(refusal);
  EXPECT_TRUE(refusal->to == to.local());
  EXPECT_FALSE(from.take_refusal()) << "told once";
  EXPECT_EQ(from.send(std::span(trains).subspan(1)), 1u);
  EXPECT_EQ(ReceiveAll(to, 1).size(), 1u);
}

void Says(const std::string& text, const char* what) {
  EXPECT_NE(text.find(what), std::string::npos) << text;
}

// Where a path takes less than a datagram, single or in a train.
TEST(UdpSocket, NamesADatagramThatIsTooLong) {
  const int mtu = 1280;
  for (const size_t bytes : {2000u, 4000u}) {
    Socket from = OpenAt("[::1]:0");
    Socket to = OpenAt("[::1]:0");
    setsockopt(from.descriptor(), IPPROTO_IPV6, IPV6_MTU, &mtu, sizeof mtu);
    const std::vector<std::byte> data = Counting(bytes);
    const iovec part{const_cast<std::byte*>(data.data()), data.size()};
    const Train train{&to.local(), {&part, 1}, 2000, Ecn::kNotEct};
    ASSERT_EQ(from.send({&train, 1}), 1u);
    const auto refusal = from.take_refusal();
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->bytes, 2000u);
    if (bytes == 2000) {
      EXPECT_EQ(refusal->error, EMSGSIZE);
      EXPECT_TRUE(IsForGood(*refusal));
    }
  }
}

TEST(UdpSocket, ExplainsWhatToChange) {
  Refusal refusal{EMSGSIZE, *ParseSocketAddress("10.0.0.2:7000"), 4000, {}};
  const std::string local = Explain(refusal, PathMtu{1500, "eth0", 1500});
  Says(local, "a datagram of 4000 B is too long: it is 4028 B with its IP header");
  Says(local, "the MTU of eth0 is 1500");
  Says(local, "lower --payload by 2528 or more");
  Says(Explain(refusal, PathMtu{1500, "eth0", 9000}),
       "the path to 10.0.0.2 takes 1500, less than eth0's MTU of 9000");
  Says(Explain(refusal, std::nullopt), "--payload");
  refusal.to = *ParseSocketAddress("[fd00::2]:7000");
  Says(Explain(refusal, PathMtu{1500, "eth0", 1500}), "4048 B");
  refusal.error = EPERM;
  Says(Explain(refusal, std::nullopt), "firewall");
  refusal.error = ENETUNREACH;
  Says(Explain(refusal, std::nullopt),
       "no way there from the local address (ENETUNREACH; ip route get fd00::2)");
  EXPECT_FALSE(IsForGood(refusal));
}

TEST(UdpSocket, FindsThePathsMtu) {
  const auto path = FindMtu(*ParseSocketAddress("127.0.0.1:0"), *ParseSocketAddress("127.0.0.1:9"));
  ASSERT_TRUE(path);
  EXPECT_EQ(path->interface, "lo");
  EXPECT_GE(path->bytes, 1280u);
  EXPECT_LE(path->bytes, path->interface_bytes);
  EXPECT_TRUE(IsTooLong(path->bytes - 27, *ParseSocketAddress("127.0.0.1:9"), *path));
  EXPECT_FALSE(IsTooLong(path->bytes - 28, *ParseSocketAddress("127.0.0.1:9"), *path));
}

// What comes back by ICMP is of another datagram than the one that is being sent: none is lost.
TEST_P(BothVersions, ToldByIcmpThatNobodyReceives) {
  Socket from = OpenAt(GetParam());
  Socket to = OpenAt(GetParam());
  Address nobody;
  {
    const Socket gone = OpenAt(GetParam());
    nobody = gone.local();
  }
  const std::vector<std::byte> data = Counting(100);
  const iovec part{const_cast<std::byte*>(data.data()), data.size()};
  const std::array<Train, 2> trains{
      {{&nobody, {&part, 1}, 100, Ecn::kNotEct}, {&to.local(), {&part, 1}, 100, Ecn::kNotEct}}};
  size_t sent = 0;
  for (int calls = 0; sent < 2 && calls < 10; ++calls) {
    sent += from.send(std::span(trains).subspan(sent));
  }
  ASSERT_EQ(sent, 2u);
  EXPECT_EQ(ReceiveAll(to, 1).size(), 1u);
  EXPECT_EQ(from.counters().send_errors, 0u);
  pollfd watched{from.descriptor(), POLLIN, 0};
  from.read_errors();
  EXPECT_EQ(poll(&watched, 1, 0), 0) << "nothing is left that would wake a sleeper for ever";
  const auto refusal = from.take_refusal();
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->error, ECONNREFUSED);
  EXPECT_TRUE(refusal->to == nobody);
  Says(Explain(*refusal, std::nullopt), ("nobody receives at " + ToText(nobody)).c_str());
}

TEST(UdpSocket, AnAddressInUseIsAnError) {
  Socket first = OpenAt("127.0.0.1:0");
  const auto second = Socket::Open(first.local());
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().text().find(ToText(first.local())), std::string::npos);
}

TEST(UdpSocket, Addresses) {
  for (const char* good : {"10.0.0.1:7000", "[fd00::1]:7000", "0.0.0.0:1", "[::]:65535"}) {
    const auto address = ParseSocketAddress(good);
    ASSERT_TRUE(address) << good;
    EXPECT_EQ(ToText(*address), good);
  }
  EXPECT_EQ(ToText(*ParseSocketAddress(":5")), "0.0.0.0:5");
  for (const char* bad : {"", "10.0.0.1", "10.0.0.1:", "10.0.0.1:70000", "10.0.0:1", "host:1",
                          "[fd00::1:7000", "fd00::1]:7", "10.0.0.1:1 "}) {
    EXPECT_FALSE(ParseSocketAddress(bad)) << bad;
  }
  EXPECT_TRUE(*ParseSocketAddress("10.0.0.1:7") == *ParseSocketAddress("10.0.0.1:7"));
  EXPECT_FALSE(*ParseSocketAddress("10.0.0.1:7") == *ParseSocketAddress("10.0.0.1:8"));
}

}  // namespace
}  // namespace farspan::udp
