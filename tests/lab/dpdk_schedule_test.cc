// A port that sends on timestamps: the engine's way to it, without one.
//
// net_null plays the device; four of DPDK's functions are replaced as the program is linked
// (--wrap, in CMakeLists.txt), so that it claims to send on timestamps and has a clock of its own;
// and what it is given to send is noted. What a NIC makes of it is not known from this.
#include <gtest/gtest.h>
#include <rte_config.h>
#include <rte_ethdev.h>
#include <rte_mbuf_dyn.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "emulator/dpdk/site_port.h"
#include "emulator/link/path.h"
#include "tests/support/eal_environment.h"
#include "tests/support/lab.h"

namespace farspan::dpdk {
namespace {

using namespace farspan::literals;

// 156.25 MHz, 30 ppm fast, with a count of its own.
constexpr double kDeviceHz = 156.25e6 * 1.00003;
constexpr uint64_t kDeviceStart = uint64_t{1} << 60;

// What the wrapped functions work on.
struct Device {
  bool offers = true;
  uint64_t asked_offloads = 0;
  TimeNs stamps_off{};                 // the clock that stamps is another one than is read
  const EngineClock* clock = nullptr;  // that the device's runs beside
};
Device device;

uint64_t TicksAt(TimeNs time) {
  const auto ns = static_cast<double>(time.ns);
  return kDeviceStart + static_cast<uint64_t>(std::llround(ns * 1e-9 * kDeviceHz));
}
double TimeOf(uint64_t ticks) {
  return static_cast<double>(ticks - kDeviceStart) * 1e9 / kDeviceHz;
}

struct Handed {
  uint32_t number = 0;
  TimeNs at{};
  bool scheduled = false;
  double time_ns = 0;  // to send it at, in engine time
};
std::vector<Handed> handed;

constexpr size_t kNumberAt = 20;  // in the frame

uint16_t Note(void*, rte_mbuf** packets, uint16_t count) {
  static const int bit = rte_mbuf_dynflag_lookup(RTE_MBUF_DYNFLAG_TX_TIMESTAMP_NAME, nullptr);
  static const int offset = rte_mbuf_dynfield_lookup(RTE_MBUF_DYNFIELD_TIMESTAMP_NAME, nullptr);
  for (uint16_t i = 0; i < count; ++i) {
    Handed h{.at = device.clock->now()};
    std::memcpy(&h.number, rte_pktmbuf_mtod_offset(packets[i], const void*, kNumberAt),
                sizeof h.number);
    if (bit >= 0 && (packets[i]->ol_flags >> bit & 1) != 0) {
      h.scheduled = true;
      h.time_ns = TimeOf(*RTE_MBUF_DYNFIELD(packets[i], offset, const rte_mbuf_timestamp_t*));
    }
    handed.push_back(h);
  }
  rte_pktmbuf_free_bulk(packets, count);
  return count;
}

class ClockedEnvironment : public EalEnvironment {
 public:
  ClockedEnvironment()
      : EalEnvironment(
            {.pool = "schedule_test", .mbufs = 4'096, .data_room = 2'048 + RTE_PKTMBUF_HEADROOM}) {}
  void SetUp() override {
    EalEnvironment::SetUp();
    auto clock = EngineClock::Start({.calibration = 300_ms});
    if (clock) clock_ = std::move(*clock);
    device.clock = clock_.get();
  }
  void TearDown() override {
    clock_.reset();
    EalEnvironment::TearDown();
  }
  const EngineClock* clock() const { return clock_.get(); }

 private:
  std::unique_ptr<EngineClock> clock_;
};
auto* const environment =
    static_cast<ClockedEnvironment*>(testing::AddGlobalTestEnvironment(new ClockedEnvironment));

// One packet, with its stamp: it came 2 us ago, and 2 us after the last one was read.
uint16_t Receive(void*, rte_mbuf** packets, uint16_t) {
  static const int bit = rte_mbuf_dynflag_lookup(RTE_MBUF_DYNFLAG_RX_TIMESTAMP_NAME, nullptr);
  static const int offset = rte_mbuf_dynfield_lookup(RTE_MBUF_DYNFIELD_TIMESTAMP_NAME, nullptr);
  const TimeNs came = device.clock->now() + 2_us;
  while (device.clock->now() < came + 2_us) {
  }
  rte_mbuf* packet = rte_pktmbuf_alloc(environment->pool());
  packet->ol_flags |= uint64_t{1} << bit;
  *RTE_MBUF_DYNFIELD(packet, offset, rte_mbuf_timestamp_t*) = TicksAt(came + device.stamps_off);
  packets[0] = packet;
  return 1;
}

// Lets the port receive some thousand packets.
void ReceiveFor(SitePort& site, ClockReader& clock) {
  rte_eth_fp_ops[site.port().id()].rx_pkt_burst = Receive;
  std::array<Arrival, kBurst> arrivals;
  site.forget_last_poll(clock.now());
  for (int i = 0; i < 5'000; ++i) {
    const size_t count = site.arrive(clock, arrivals);
    for (size_t k = 0; k < count; ++k) rte_pktmbuf_free(arrivals[k].packet);
  }
}

PortOptions Options() {
  PortOptions options;
  options.pool = environment->pool();
  options.clock = environment->clock();
  options.schedule = true;
  return options;
}

std::unique_ptr<Port> Open(const PortOptions& options) {
  static int opened = 0;
  const std::string name = "net_null" + std::to_string(opened++);
  auto port = Port::Open({config::PortKind::kVdev, name, name}, options);
  EXPECT_TRUE(port) << port.error().text();
  return std::move(*port);
}

std::unique_ptr<Pipe> MakePipe(const config::LinkSpec& link, uint32_t number, TimeNs start,
                               PortObservations& ingress) {
  PipeSetup setup;
  setup.link = &link;
  setup.number = number;
  setup.to = 1;
  setup.capacity.packets = 2'048;
  setup.pool = environment->pool();
  setup.start = start;
  setup.ingress = &ingress;
  auto pipe = Pipe::Create(setup);
  EXPECT_TRUE(pipe) << pipe.error().text();
  return std::move(*pipe);
}

constexpr uint16_t kFrameBytes = 300;

Arrival Frame(uint32_t number, TimeNs at) {
  rte_mbuf* packet = rte_pktmbuf_alloc(environment->pool());
  auto* bytes = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(packet, kFrameBytes));
  std::fill_n(bytes, kFrameBytes, uint8_t{0x55});
  std::memcpy(bytes + kNumberAt, &number, sizeof number);
  return {packet, at};
}

class Schedule : public testing::Test {
 protected:
  void SetUp() override {
    FARSPAN_NEED_LAB(environment->clock() != nullptr, "needs an invariant time stamp counter");
    device.offers = true;
    device.stamps_off = TimeNs{};
    handed.clear();
  }
};

TEST_F(Schedule, APortDoesItThatCanAndIsAsked) {
  EXPECT_TRUE(Open(Options())->can_schedule());
  EXPECT_EQ(device.asked_offloads, RTE_ETH_TX_OFFLOAD_SEND_ON_TIMESTAMP);
  PortOptions options = Options();
  options.pauses = true;  // and no queue for them
  EXPECT_FALSE(Open(options)->can_schedule());
  EXPECT_EQ(device.asked_offloads, 0u);
  device.offers = false;
  EXPECT_FALSE(Open(Options())->can_schedule());
}

// A driver may read another clock than the one it stamps and sends by.
TEST_F(Schedule, OnlyAClockThatStampsHaveProvenIsSentBy) {
  ClockReader clock = environment->clock()->reader();
  SitePort good(1, Open(Options()));
  EXPECT_FALSE(good.port().schedules());
  ReceiveFor(good, clock);
  EXPECT_TRUE(good.port().schedules());
  EXPECT_EQ(good.left_at(), LeftAt::kHanded);  // nothing was sent by it yet
  device.stamps_off = 1_s;
  ReceiveFor(good, clock);
  EXPECT_FALSE(good.port().schedules());
  SitePort bad(1, Open(Options()));
  ReceiveFor(bad, clock);
  EXPECT_FALSE(bad.port().schedules());
}

// 600 km, and for the second pipe 500: packets of both arrive by turns. The timeline cuts the first
// at its far end.
struct Line {
  config::LinkSpec link;
  TimeNs delay{};
  TimeNs cut_from{};
  TimeNs cut_until{};

  explicit Line(Length length) {
    link.name = "line";
    link.ab.lanes[0].path.length = length;
    delay = link::OneWayDelay(link.ab.lanes[0].path);
  }
  void cut(TimeNs start, TimeNs from, TimeNs duration) {
    link.ab.timeline = {
        {from, false, link::Cut{link::kAllLanes, link.ab.lanes[0].path.length, duration}}};
    cut_from = start + from;
    cut_until = start + from + duration;
  }
  bool arrives(TimeNs at) const { return at + delay < cut_from || at + delay >= cut_until; }
};

struct Fate {
  uint32_t number;
  TimeNs due;
};

// What was handed over is what was to arrive, in order, with its time or when it was due.
void Compare(const std::vector<Fate>& fates, TimeNs lead, TimeNs error, uint64_t& scheduled) {
  ASSERT_EQ(handed.size(), fates.size());
  // The device's clock is known to some tens of ns on a quiet machine; taking a tick for 6.4 ns
  // would be 30 us off in a second, and any mix-up of origins hours.
  const double tolerance = 2'000 + static_cast<double>(error.ns);
  for (size_t i = 0; i < handed.size(); ++i) {
    const Handed& h = handed[i];
    ASSERT_EQ(h.number, fates[i].number) << i;
    if (!h.scheduled) {
      ASSERT_GE(h.at, fates[i].due) << i;
      continue;
    }
    ++scheduled;
    ASSERT_LE(fates[i].due - h.at, lead) << i;
    ASSERT_NEAR(h.time_ns, static_cast<double>(fates[i].due.ns), tolerance) << i;
  }
}

struct Case {
  size_t lines;
  bool egress;  // of 1 Gb/s: 2.592 us a frame
};
class ScheduleCases : public Schedule, public testing::WithParamInterface<Case> {};

TEST_P(ScheduleCases, EveryPacketCarriesItsTimeAndNoneMissesItsFate) {
  constexpr TimeNs kLead{2'000'000};
  SitePort site(1, Open(Options()));
  ClockReader clock = environment->clock()->reader();
  ReceiveFor(site, clock);
  ASSERT_TRUE(site.port().schedules());
  site.set_lead(kLead);
  rte_eth_fp_ops[site.port().id()].tx_pkt_burst = Note;
  const TimeNs start = clock.now() + 20_ms;  // all is built by then
  std::vector<Line> lines{Line(Length{600'000'000}), Line(Length{500'000'000})};
  lines[0].cut(start, 10_ms, 8_ms);
  PortObservations ingress;
  std::vector<std::unique_ptr<Pipe>> pipes;
  for (uint32_t i = 0; i < GetParam().lines; ++i) {
    pipes.push_back(MakePipe(lines[i].link, i, start, ingress));
    site.add_incoming(pipes.back().get());
  }
  const link::BottleneckSpec queue;
  if (GetParam().egress) {
    site.set_egress(std::make_unique<link::SiteEgress>(queue, Rate{1'000'000'000},
                                                       MakeStreamKey(1, "site", 2), 4'096));
  }
  // For 25 ms, and until some were handed over ahead: a packet every 20 us or when the machine lets
  // us; the fate of each, worked out.
  std::vector<Fate> fates;
  TimeNs next = start;
  uint32_t number = 0;
  const PortObservations& seen = site.observations();
  const auto sending = [&](TimeNs now) { return now < start + 25_ms || seen.scheduled < 100; };
  for (TimeNs now = clock.now(); sending(now) || site.held() != 0; now = clock.now()) {
    ASSERT_LT(now, start + 60_s);
    if (now >= next && sending(now)) {
      const size_t line = number % GetParam().lines;
      const Arrival arrival = Frame(number, now);
      std::array<rte_mbuf*, kBurst> bypass;
      ASSERT_EQ(pipes[line]->accept({&arrival, 1}, bypass), 0u);
      if (lines[line].arrives(now)) fates.push_back({number, now + lines[line].delay});
      ++number;
      next = now + 20_us;
    }
    site.depart(clock);
  }
  std::stable_sort(fates.begin(), fates.end(),
                   [](const Fate& a, const Fate& b) { return a.due < b.due; });
  if (GetParam().egress) {
    const TimeNs service{(kFrameBytes + 24) * 8};
    TimeNs free{};
    for (Fate& fate : fates) fate.due = free = std::max(fate.due, free) + service;
  }
  uint64_t scheduled = 0;
  Compare(fates, kLead, site.port().schedule_error(), scheduled);
  EXPECT_EQ(site.left_at(), LeftAt::kScheduled);
  EXPECT_EQ(seen.scheduled.load(), scheduled);
  EXPECT_EQ(seen.lateness.count(), handed.size());
  EXPECT_EQ(seen.lateness.negative(), 0u);
}

INSTANTIATE_TEST_SUITE_P(All, ScheduleCases,
                         testing::Values(Case{1, false}, Case{2, false}, Case{2, true}),
                         [](const auto& info) {
                           return std::to_string(info.param.lines) +
                                  (info.param.egress ? "ThroughEgress" : "");
                         });

// A live change waits until what was handed over is due, and until then nothing more is.
TEST_F(Schedule, AChangeTakesEffectAfterWhatWasHandedOver) {
  const Line line(Length{600'000'000});
  PortObservations ingress;
  const auto pipe = MakePipe(line.link, 0, TimeNs{0}, ingress);
  std::array<link::PacketRef, kBurst> out;
  EXPECT_TRUE(pipe->may_change(1_ms));
  EXPECT_GT(pipe->decided_until(1_ms), 1'050_us);
  pipe->release(1_ms, 1'050_us, out);
  EXPECT_FALSE(pipe->may_change(1'050_us));
  EXPECT_EQ(pipe->decided_until(1'010_us), 1'010_us);
  EXPECT_TRUE(pipe->may_change(TimeNs{1'050'001}));
  EXPECT_GT(pipe->decided_until(1'051_us), 1'100_us);
}

}  // namespace
}  // namespace farspan::dpdk

// --- What DPDK would say of such a device ------------------------------------------------------

extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
int __real_rte_eth_dev_info_get(uint16_t port, rte_eth_dev_info* info);
int __real_rte_eth_dev_configure(uint16_t port, uint16_t rx_queues, uint16_t tx_queues,
                                 const rte_eth_conf* conf);
int __real_rte_eth_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors,
                                  unsigned node, const rte_eth_txconf* conf);

int __wrap_rte_eth_dev_info_get(uint16_t port, rte_eth_dev_info* info) {
  const int error = __real_rte_eth_dev_info_get(port, info);
  if (farspan::dpdk::device.offers) {
    info->rx_offload_capa |= RTE_ETH_RX_OFFLOAD_TIMESTAMP;
    info->tx_offload_capa |= RTE_ETH_TX_OFFLOAD_SEND_ON_TIMESTAMP;
  }
  return error;
}

int __wrap_rte_eth_dev_configure(uint16_t port, uint16_t rx_queues, uint16_t tx_queues,
                                 const rte_eth_conf* conf) {
  farspan::dpdk::device.asked_offloads = conf->txmode.offloads;
  rte_eth_conf without = *conf;
  without.txmode.offloads = 0;
  return __real_rte_eth_dev_configure(port, rx_queues, tx_queues, &without);
}

int __wrap_rte_eth_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors,
                                  unsigned node, const rte_eth_txconf* conf) {
  rte_eth_txconf without = *conf;
  without.offloads = 0;
  return __real_rte_eth_tx_queue_setup(port, queue, descriptors, node, &without);
}

int __wrap_rte_eth_read_clock(uint16_t, uint64_t* ticks) {
  *ticks = farspan::dpdk::TicksAt(farspan::dpdk::device.clock->now());
  return 0;
}
// NOLINTEND(bugprone-reserved-identifier)
}
