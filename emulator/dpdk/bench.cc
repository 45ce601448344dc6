#include "emulator/dpdk/bench.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_launch.h>
#include <rte_udp.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include "emulator/dpdk/link_observer.h"
#include "emulator/dpdk/runtime.h"
#include "emulator/dpdk/site_port.h"
#include "emulator/roce/roce_view.h"

namespace farspan::dpdk {
namespace {

constexpr uint32_t kFcsBytes = 4;
constexpr uint8_t kSendOnly = 0x04;
constexpr uint32_t kQueuePairs = 64;  // that send in turn
constexpr TimeNs kGapMeasurement{100'000'000};
constexpr TimeNs kSettle{100'000'000};

// IBTA volume 1, 9.2.
struct [[gnu::packed, gnu::aligned(2)]] BaseTransportHeader {
  uint8_t opcode;
  uint8_t flags;
  uint16_t partition_key;
  uint32_t dest_qp;
  uint32_t psn;
};

struct [[gnu::packed, gnu::aligned(2)]] Headers {
  rte_ether_hdr ethernet;
  rte_ipv4_hdr ip;
  rte_udp_hdr udp;
  BaseTransportHeader bth;
};

// Writes whole frames, RoCEv2 of one packet a message: allocation and headers, as a receiving port
// would.
class Source {
 public:
  Source(rte_mempool* pool, uint32_t frame_bytes) : pool_(pool), length_(frame_bytes - kFcsBytes) {
    std::memset(&headers_, 0, sizeof headers_);
    headers_.ethernet.ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
    headers_.ip.version_ihl = RTE_IPV4_VHL_DEF;
    headers_.ip.type_of_service = 26 << 2 | 2;  // AF31, ECT(0)
    // RoCEv2's packets are of whole words; the rest is Ethernet's padding.
    const uint32_t ip_bytes = (length_ - sizeof(rte_ether_hdr)) / 4 * 4;
    headers_.ip.total_length = rte_cpu_to_be_16(static_cast<uint16_t>(ip_bytes));
    headers_.ip.time_to_live = 64;
    headers_.ip.next_proto_id = IPPROTO_UDP;
    headers_.ip.src_addr = rte_cpu_to_be_32(RTE_IPV4(10, 0, 0, 1));
    headers_.ip.dst_addr = rte_cpu_to_be_32(RTE_IPV4(10, 0, 0, 2));
    headers_.ip.hdr_checksum = rte_ipv4_cksum(&headers_.ip);
    headers_.udp.dst_port = rte_cpu_to_be_16(roce::kRocePort);
    headers_.udp.dgram_len =
        rte_cpu_to_be_16(static_cast<uint16_t>(ip_bytes - sizeof(rte_ipv4_hdr)));
    headers_.bth.opcode = kSendOnly;
  }

  // All of `count` or none.
  size_t emit(size_t count, TimeNs now, std::span<Arrival, kBurst> out) {
    std::array<rte_mbuf*, kBurst> packets;
    if (rte_pktmbuf_alloc_bulk(pool_, packets.data(), static_cast<unsigned>(count)) != 0) return 0;
    for (size_t i = 0; i < count; ++i) {
      rte_mbuf* packet = packets[i];
      auto* written = rte_pktmbuf_mtod(packet, Headers*);
      const uint32_t queue_pair = ++emitted_ % kQueuePairs;
      *written = headers_;
      written->udp.src_port = static_cast<uint16_t>(emitted_);
      written->bth.dest_qp = rte_cpu_to_be_32(1 + queue_pair);
      written->bth.psn = rte_cpu_to_be_32(emitted_ / kQueuePairs & roce::kPsnMask);
      packet->data_len = static_cast<uint16_t>(length_);
      packet->pkt_len = length_;
      out[i] = {packet, now};
    }
    return count;
  }

 private:
  rte_mempool* const pool_;
  const uint32_t length_;
  Headers headers_;
  uint32_t emitted_ = 0;
};

}  // namespace

struct Bench::Impl {
  Options options;
  std::unique_ptr<Runtime> runtime;
};

namespace {

// One case, on the lcore.
class Round {
 public:
  Round(const BenchCase& asked_case, const EngineClock& engine_clock, rte_mempool* packets,
        Pipe& link, SitePort& end, PortObservations& seen)
      : asked_(asked_case),
        clock_(engine_clock),
        pool_(packets),
        pipe_(link),
        port_(end),
        source_seen_(seen) {
    result.asked = asked_;
  }

  void run();
  BenchResult result;
  std::atomic<bool> done{false};

 private:
  struct Totals {
    uint64_t packets = 0;
    uint64_t departed = 0;
    uint64_t source_ticks = 0;
    uint64_t accept_ticks = 0;
    uint64_t depart_ticks = 0;
  };
  void step(TimeNs now, ClockReader& reader, Source& source, Totals& totals);

  const BenchCase& asked_;
  const EngineClock& clock_;
  rte_mempool* const pool_;
  Pipe& pipe_;
  SitePort& port_;
  PortObservations& source_seen_;
  TimeNs started_{};
  uint64_t emitted_ = 0;
  std::array<Arrival, kBurst> arrivals_;  // scratch of step()
};

void Round::step(TimeNs now, ClockReader& reader, Source& source, Totals& totals) {
  size_t count = kBurst;
  if (asked_.packets_per_s != 0) {
    const auto owed = static_cast<uint64_t>(ToSeconds(now - started_) *
                                            static_cast<double>(asked_.packets_per_s));
    count = std::min<uint64_t>(kBurst, owed > emitted_ ? owed - emitted_ : 0);
  }
  const uint64_t t0 = ReadTicks();
  uint64_t t2 = t0;
  if (count != 0) {
    std::array<rte_mbuf*, kBurst> bypass;
    count = source.emit(count, now, arrivals_);
    const uint64_t t1 = ReadTicks();
    pipe_.accept({arrivals_.data(), count}, bypass);
    t2 = ReadTicks();
    emitted_ += count;
    totals.packets += count;
    totals.source_ticks += t1 - t0;
    totals.accept_ticks += t2 - t1;
  }
  totals.departed += port_.depart(reader);
  totals.depart_ticks += ReadTicks() - t2;
}

void Round::run() {
  result.tick_hz = clock_.quality().tick_hz;
  result.gaps_before = MeasureSpinGaps(kGapMeasurement, result.tick_hz);
  ClockReader reader = clock_.reader();
  Source source(pool_, asked_.frame_bytes);
  LatencyHistogram loops;
  started_ = reader.now();

  Totals filling;
  const TimeNs from = started_ + asked_.delay + kSettle;
  TimeNs now = started_;
  for (; now < from; now = reader.now()) step(now, reader, source, filling);

  Totals totals;
  const TimeNs begin = now;
  const TimeNs end = begin + asked_.measured;
  while (now < end) {
    const TimeNs last = now;
    step(now, reader, source, totals);
    now = reader.now();
    loops.add(now - last);
  }
  result.packets_per_s = static_cast<double>(totals.departed) / ToSeconds(now - begin);
  result.held_packets = pipe_.link().counters().held_packets;
  const double packets = static_cast<double>(std::max<uint64_t>(1, totals.packets));
  result.cycles = {static_cast<double>(totals.source_ticks) / packets,
                   static_cast<double>(totals.accept_ticks) / packets,
                   static_cast<double>(totals.depart_ticks) / packets};
  result.loop_p50 = loops.quantile(0.5);

  while (port_.held() != 0 && reader.now() < end + asked_.delay + TimeNs{1'000'000'000}) {
    port_.depart(reader);
  }
  const link::DirectionCounters& counters = pipe_.link().counters();
  const LatencyHistogram& lateness = port_.observations().lateness;
  result.forwarded = counters.forwarded_packets;
  for (int cause = 0; cause < link::kCauseCount; ++cause) {
    const uint64_t dropped = counters.dropped_packets[static_cast<size_t>(cause)];
    (link::IsOwn(static_cast<link::Cause>(cause)) ? result.own_drops : result.emulated_losses) +=
        dropped;
  }
  result.own_drops += source_seen_.no_buffer.load() + port_.observations().no_buffer.load() +
                      port_.observations().egress_full.load() + port_.held();
  if (LinkObserver* observer = pipe_.setup().observer; observer != nullptr) {
    result.observed = observer->observer().totals(0).sum.egress.packets;
  }
  result.early = lateness.negative();
  result.late_p50 = lateness.quantile(0.5);
  result.late_p99 = lateness.quantile(0.99);
  result.late_p999 = lateness.quantile(0.999);
  result.late_max = lateness.max();
  result.gaps_after = MeasureSpinGaps(kGapMeasurement, result.tick_hz);
}

int RunRound(void* round) {
  auto* here = static_cast<Round*>(round);
  here->run();
  here->done.store(true, std::memory_order_release);
  return 0;
}

config::LinkSpec LinkFor(const BenchCase& bench_case) {
  config::LinkSpec link;
  link.name = "bench";
  link::LaneSpec& lane = link.ab.lanes[0];
  lane.path.delay = bench_case.delay;
  lane.rate = Rate{400'000'000'000};
  lane.loss.kind = link::LossKind::kBernoulli;
  lane.loss.keying = link::Keying::kWireTime;
  lane.loss.probability = 1e-5;
  lane.loss.reference_wire_bytes = bench_case.frame_bytes + link::kPreambleAndGapBytes;
  return link;
}

}  // namespace

Result<std::unique_ptr<Bench>> Bench::Create(const Options& options) {
  RuntimeOptions runtime;
  runtime.need.directions.push_back({.packets_max = options.held_packets_max});
  runtime.need.directions[0].in_flight_bytes =
      options.held_packets_max * link::WireBytes(options.largest_frame_bytes);
  runtime.need.largest_frame_bytes = options.largest_frame_bytes;
  runtime.need.ports = 1;
  runtime.eal_arguments = options.eal_arguments;
  runtime.reserve_hugepages = options.reserve_hugepages;
  auto started = Runtime::Start(runtime);
  if (!started) return tl::unexpected(started.error());
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->runtime = std::move(*started);
  return std::unique_ptr<Bench>(new Bench(std::move(impl)));
}

Bench::Bench(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Bench::~Bench() = default;

bool Bench::hugepages() const { return impl_->runtime->memory().hugepages; }

Result<BenchResult> Bench::run(const BenchCase& bench_case) {
  const config::LinkSpec link = LinkFor(bench_case);
  PortOptions port_options;
  port_options.pool = impl_->runtime->pool();
  port_options.mtu = std::max(1500u, bench_case.frame_bytes);
  auto opened = Port::Open({config::PortKind::kVdev, "net_null0", "net_null0"}, port_options);
  if (!opened) return tl::unexpected(opened.error());
  SitePort port(1, std::move(*opened));
  PortObservations source_seen;
  PipeSetup setup;
  setup.link = &link;
  setup.to = 1;
  setup.mtu = 9000;
  setup.capacity.packets = impl_->options.held_packets_max;
  setup.ring_bytes = impl_->runtime->memory().plan.byte_ring_bytes[0];
  setup.pool = impl_->runtime->pool();
  setup.start = impl_->runtime->clock().now();
  setup.ingress = &source_seen;
  std::optional<LinkObserver> observer;
  if (bench_case.observed) {
    observer.emplace(roce::ObserverSpec{}, bench_case.delay + bench_case.delay);
    setup.observer = &*observer;
  }
  auto pipe = Pipe::Create(setup);
  if (!pipe) return tl::unexpected(pipe.error());
  port.add_incoming(pipe->get());
  impl_->runtime->memory_taken();

  Round round(bench_case, impl_->runtime->clock(), impl_->runtime->pool(), **pipe, port,
              source_seen);
  const unsigned lcore = impl_->runtime->lcores()[0];
  if (rte_eal_remote_launch(RunRound, &round, lcore) != 0) {
    return Fail(ErrorCode::kMachine, "the polling lcore would not start");
  }
  // rte_eal_wait_lcore alone would spin all the while on another core.
  while (!round.done.load(std::memory_order_acquire)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  rte_eal_wait_lcore(lcore);
  return round.result;
}

}  // namespace farspan::dpdk
