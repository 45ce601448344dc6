#include "tests/lab/port_fixture.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/support/eal_environment.h"

// libxdp keeps 80 bytes of every umem that DPDK's af_xdp driver gives back.
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern "C" const char* __lsan_default_suppressions() { return "leak:xsk_umem__create\n"; }

namespace farspan::dpdk {
namespace {

constexpr uint32_t kDataRoom = 12'288;  // MTU 9000 in one mbuf

class IsolatedEnvironment : public EalEnvironment {
 public:
  IsolatedEnvironment()
      : EalEnvironment({.pool = "test",
                        .mbufs = 8'192,
                        .data_room = kDataRoom,
                        .eal_bytes = uint64_t{192} << 20}) {}
  void SetUp() override {
    isolated_ = geteuid() == 0 && unshare(CLONE_NEWNET) == 0;
    EalEnvironment::SetUp();
  }
  bool isolated() const { return isolated_; }

 private:
  bool isolated_ = false;
};

auto* const environment =
    static_cast<IsolatedEnvironment*>(testing::AddGlobalTestEnvironment(new IsolatedEnvironment));

config::PortSpec Spec(config::PortKind kind, const std::string& target) {
  return {.kind = kind, .text = target, .target = target};
}

rte_mbuf* ToMbuf(const std::vector<uint8_t>& frame) {
  rte_mbuf* packet = rte_pktmbuf_alloc(environment->pool());
  EXPECT_NE(packet, nullptr);
  std::memcpy(rte_pktmbuf_append(packet, static_cast<uint16_t>(frame.size())), frame.data(),
              frame.size());
  return packet;
}

std::vector<uint8_t> ToBytes(const rte_mbuf* packet) {
  EXPECT_EQ(packet->nb_segs, 1);
  const auto* data = rte_pktmbuf_mtod(packet, const uint8_t*);
  return {data, data + packet->data_len};
}

}  // namespace

bool Isolated() { return environment->isolated(); }

Result<std::unique_ptr<Port>> OpenPort(config::PortKind kind, const std::string& target,
                                       uint32_t mtu, rte_mempool* pool) {
  PortOptions options;
  options.pool = pool != nullptr ? pool : environment->pool();
  options.mtu = mtu;
  return Port::Open(Spec(kind, target), options);
}

std::vector<uint8_t> Frame(size_t size, uint32_t number, bool tagged) {
  std::vector<uint8_t> frame(size);
  for (size_t i = 0; i < size; ++i) frame[i] = static_cast<uint8_t>(i * 7 + number);
  std::fill_n(frame.begin(), 6, 0xff);
  std::fill_n(frame.begin() + 6, 6, 0x02);
  const std::array<uint8_t, 6> type =
      tagged ? std::array<uint8_t, 6>{0x81, 0x00, 0xa0, 0x2a, 0x88, 0xb5}
             : std::array<uint8_t, 6>{0x88, 0xb5, 0, 0, 0, 0};
  std::copy(type.begin(), type.begin() + (tagged ? 6 : 2), frame.begin() + 12);
  std::memcpy(frame.data() + 20, &number, sizeof(number));
  return frame;
}

uint16_t Send(Port& port, const Frames& frames) {
  std::vector<rte_mbuf*> packets;
  for (const auto& frame : frames) packets.push_back(ToMbuf(frame));
  const uint16_t taken = port.tx(packets);
  if (taken < packets.size()) {
    rte_pktmbuf_free_bulk(packets.data() + taken, static_cast<unsigned>(packets.size() - taken));
  }
  return taken;
}

Frames Receive(Port& port, size_t count) {
  Frames frames;
  std::array<rte_mbuf*, 32> burst{};
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  do {
    const uint16_t received = port.rx(burst);
    for (uint16_t i = 0; i < received; ++i) frames.push_back(ToBytes(burst[i]));
    rte_pktmbuf_free_bulk(burst.data(), received);
    if (received == 0) std::this_thread::sleep_for(std::chrono::microseconds(100));
  } while (frames.size() < count && std::chrono::steady_clock::now() < end);
  return frames;
}

}  // namespace farspan::dpdk
