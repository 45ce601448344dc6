#include "emulator/dpdk/port.h"

#include <fmt/format.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ether.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "emulator/base/check.h"
#include "emulator/dpdk/kernel_ring.h"

namespace farspan::dpdk {
namespace {

constexpr uint32_t kEthernetBytes = 14;
constexpr uint32_t kTagBytes = 4;
constexpr size_t kBurst = 64;
constexpr int kOpenTries = 100;
constexpr int kOpenBursts = 1024;  // more than any ring holds; net_null never ends

tl::unexpected<Error> DpdkFailed(const std::string& port, const std::string& what, int error) {
  return Fail(ErrorCode::kMachine,
              fmt::format("{}: {}", what, rte_strerror(error < 0 ? -error : error)),
              "port " + port);
}

// DPDK's vhost refuses a path that exists. Whoever still listens there keeps it; a path that a dead
// process left is removed.
Result<void> FreeSocketPath(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Fail(
        ErrorCode::kInvalid,
        fmt::format("a socket path has at most {} characters", sizeof(address.sun_path) - 1),
        "port vhost:" + path);
  }
  path.copy(address.sun_path, path.size());
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool alive =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  const int error = errno;
  close(probe);
  if (alive) {
    return Fail(ErrorCode::kMachine,
                "the port is busy: another process serves this socket (ss -xlp shows which)",
                "port vhost:" + path);
  }
  if (error == ECONNREFUSED) unlink(path.c_str());
  return {};
}

uint64_t Since(uint64_t now, uint64_t base) { return now - std::min(now, base); }

KernelCounters Since(const KernelCounters& now, const KernelCounters& base) {
  return {.rx_packets = Since(now.rx_packets, base.rx_packets),
          .rx_bytes = Since(now.rx_bytes, base.rx_bytes),
          .rx_dropped = Since(now.rx_dropped, base.rx_dropped),
          .rx_errors = Since(now.rx_errors, base.rx_errors),
          .tx_packets = Since(now.tx_packets, base.tx_packets),
          .tx_bytes = Since(now.tx_bytes, base.tx_bytes),
          .tx_dropped = Since(now.tx_dropped, base.tx_dropped)};
}

// Vdev names carry the driver's name first; the rest must be unlike every other port's.
std::string VdevName(const std::string& driver) {
  static std::atomic<int> next{0};
  return fmt::format("{}_farspan{}", driver, next++);
}

}  // namespace

Port::Port(const config::PortSpec& spec, const PortOptions& options)
    : name_(spec.text), options_(options), hardware_(spec.kind == config::PortKind::kPci) {}

Result<std::unique_ptr<Port>> Port::Open(const config::PortSpec& spec, const PortOptions& options) {
  FARSPAN_CHECK(options.pool != nullptr);
  if (options.mtu > kMtuMax) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("MTU {} is more than the {} that ports carry", options.mtu, kMtuMax),
                "port " + spec.text);
  }
  std::unique_ptr<Port> port(new Port(spec, options));
  if (auto opened = port->open_device(spec); !opened) return tl::unexpected(opened.error());
  if (auto configured = port->configure(); !configured) {
    return tl::unexpected(configured.error());
  }
  if (auto stamps = port->start_stamps(); !stamps) return tl::unexpected(stamps.error());
  return port;
}

Port::~Port() {
  stamp_reader_.reset();
  schedule_reader_.reset();
  device_clock_.reset();
  if (started_) rte_eth_dev_stop(id_);
  if (id_ != RTE_MAX_ETHPORTS) rte_eth_dev_close(id_);
  if (!vdev_.empty()) rte_eal_hotplug_remove("vdev", vdev_.c_str());
  // kernel_ restores its interface after the device is gone.
}

Result<void> Port::open_device(const config::PortSpec& spec) {
  switch (spec.kind) {
    case config::PortKind::kAfPacket:
    case config::PortKind::kAfXdp:
      return open_kernel_interface(spec);
    case config::PortKind::kVhost:
      if (auto free = FreeSocketPath(spec.target); !free) return free;
      return make_vdev(VdevName("net_vhost"), "iface=" + spec.target);
    case config::PortKind::kVdev: {
      const size_t comma = std::min(spec.target.find(','), spec.target.size());
      return make_vdev(spec.target.substr(0, comma),
                       comma < spec.target.size() ? spec.target.substr(comma + 1) : "");
    }
    case config::PortKind::kPci:
      break;
  }
  if (rte_eth_dev_get_port_by_name(spec.target.c_str(), &id_) != 0) {
    id_ = RTE_MAX_ETHPORTS;
    return Fail(ErrorCode::kMachine,
                fmt::format("no DPDK driver holds this device; dpdk-devbind.py --status shows it, "
                            "sudo dpdk-devbind.py -b vfio-pci {} binds it",
                            spec.target),
                "port " + spec.text);
  }
  return {};
}

Result<void> Port::make_vdev(const std::string& name, const std::string& arguments) {
  // One that the person's EAL arguments made is used as it is, and left.
  if (rte_eth_dev_get_port_by_name(name.c_str(), &id_) == 0) return {};
  id_ = RTE_MAX_ETHPORTS;
  if (const int error = rte_eal_hotplug_add("vdev", name.c_str(), arguments.c_str()); error != 0) {
    return DpdkFailed(name_, fmt::format("DPDK cannot make the device \"{},{}\"", name, arguments),
                      error);
  }
  vdev_ = name;
  if (rte_eth_dev_get_port_by_name(name.c_str(), &id_) != 0) {
    id_ = RTE_MAX_ETHPORTS;
    return Fail(ErrorCode::kInvalid, fmt::format("\"{}\" is no network device", name),
                "port " + name_);
  }
  return {};
}

Result<void> Port::open_kernel_interface(const config::PortSpec& spec) {
  auto taken = KernelInterface::Take(spec.target);
  if (!taken) return tl::unexpected(taken.error());
  kernel_ = std::move(*taken);
  if (kernel_->mtu() > options_.mtu) {
    return Fail(
        ErrorCode::kInvalid,
        fmt::format("its MTU is {}, the engine is planned for {}: set engine.mtu = {}, or "
                    "sudo ip link set dev {} mtu {}",
                    kernel_->mtu(), options_.mtu, kernel_->mtu(), spec.target, options_.mtu),
        "interface " + spec.target);
  }
  max_frame_bytes_ = kernel_->mtu() + kEthernetBytes;
  if (spec.kind == config::PortKind::kAfXdp) {
    if (rte_pktmbuf_data_room_size(options_.pool) > RTE_MBUF_DEFAULT_BUF_SIZE) {
      return Fail(ErrorCode::kInvalid,
                  fmt::format("af_xdp carries frames up to MTU 1500, the engine is planned for {}: "
                              "write af_packet:{}, or set engine.mtu = 1500",
                              options_.mtu, spec.target),
                  "interface " + spec.target);
    }
    // The umem is locked memory; where this is not permitted the driver says so.
    const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_MEMLOCK, &unlimited);
    return make_vdev(VdevName("net_af_xdp"), "iface=" + spec.target);
  }
  const KernelRing ring = PlanKernelRing(options_.mtu, options_.packets_per_s);
  ring_frames_ = ring.frames;
  auto made = make_vdev(VdevName("net_af_packet"),
                        fmt::format("iface={},{}", spec.target, ring.arguments()));
  if (made) doorbell_ = FindRingSocket(spec.target);
  return made;
}

Result<void> Port::configure() {
  rte_eth_dev_info info{};
  if (const int error = rte_eth_dev_info_get(id_, &info); error != 0) {
    return DpdkFailed(name_, "no information from the driver", error);
  }
  rte_eth_conf conf{};
  if (hardware_) {
    // Software drivers refuse lengths that they carry all the same.
    conf.rxmode.mtu = options_.mtu;
    max_frame_bytes_ = options_.mtu + kEthernetBytes;
    if (options_.clock != nullptr) {
      conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TIMESTAMP;
    }
  }
  const int node = rte_eth_dev_socket_id(id_);
  if (hardware_ && options_.pauses && info.max_tx_queues >= 2) control_queue_ = 1;
  if (auto registered = register_schedule(info); !registered) return registered;
  if (schedule_flag_ != 0) conf.txmode.offloads = RTE_ETH_TX_OFFLOAD_SEND_ON_TIMESTAMP;
  const auto tx_queues = static_cast<uint16_t>(control_queue_ + 1);
  uint16_t rx_descriptors = options_.rx_descriptors;
  uint16_t tx_descriptors = options_.tx_descriptors;
  int error = rte_eth_dev_configure(id_, 1, tx_queues, &conf);
  if (error == 0) error = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx_descriptors, &tx_descriptors);
  if (error != 0) return DpdkFailed(name_, "the driver refuses the configuration", error);

  rte_eth_rxconf rx = info.default_rxconf;
  rx.offloads = conf.rxmode.offloads;
  error = rte_eth_rx_queue_setup(id_, 0, rx_descriptors, static_cast<unsigned>(node), &rx,
                                 options_.pool);
  if (error != 0) return DpdkFailed(name_, "no receive queue", error);
  rte_eth_txconf tx = info.default_txconf;
  tx.offloads |= conf.txmode.offloads;
  for (uint16_t queue = 0; queue < tx_queues && error == 0; ++queue) {
    error = rte_eth_tx_queue_setup(id_, queue, tx_descriptors, static_cast<unsigned>(node), &tx);
  }
  if (error != 0) return DpdkFailed(name_, "no transmit queue", error);
  error = rte_eth_dev_start(id_);
  if (error != 0) return DpdkFailed(name_, "the device does not start", error);
  started_ = true;
  if (hardware_ && options_.pauses) leave_pauses_to_us();
  // Starting has switched a kernel interface's promiscuity off again. Other software ports have
  // none.
  if (rte_eth_promiscuous_enable(id_) != 0 && hardware_) {
    spdlog::warn("port {}: the device does not go promiscuous; frames to other addresses are lost",
                 name_);
  }
  return {};
}

// Flow control of the device itself would obey the host's pause frames, or swallow them.
void Port::leave_pauses_to_us() {
  rte_eth_fc_conf flow{};
  int error = rte_eth_dev_flow_ctrl_get(id_, &flow);
  if (error == 0) {
    flow.mode = RTE_ETH_FC_NONE;
    flow.autoneg = 0;
    flow.mac_ctrl_frame_fwd = 1;
    error = rte_eth_dev_flow_ctrl_set(id_, &flow);
  }
  if (error == 0) return;
  spdlog::warn(
      "port {}: the device's own flow control cannot be set ({}); pause frames that it is "
      "sent may not reach the engine (docs/hardware.md)",
      name_, rte_strerror(-error));
}

std::array<uint8_t, 6> Port::mac_address() const {
  rte_ether_addr address{};
  rte_eth_macaddr_get(id_, &address);
  return std::to_array(address.addr_bytes);
}

int Port::numa_node() const { return rte_eth_dev_socket_id(id_); }

// The kernel lets a tagged frame be four bytes longer.
uint32_t Port::limit_of(const rte_mbuf& packet) const {
  const auto* ethernet = rte_pktmbuf_mtod(&packet, const rte_ether_hdr*);
  const bool tagged = ethernet->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
  return max_frame_bytes_ + (tagged ? kTagBytes : 0);
}

uint16_t Port::tx_checked(std::span<rte_mbuf*> packets) {
  uint16_t taken = 0;
  while (taken < packets.size()) {
    const auto rest = packets.subspan(taken);
    const auto bad = std::find_if(rest.begin(), rest.end(), [this](const rte_mbuf* packet) {
      return packet->pkt_len > max_frame_bytes_ && packet->pkt_len > limit_of(*packet);
    });
    const auto good = static_cast<uint16_t>(bad - rest.begin());
    const uint16_t sent = rte_eth_tx_burst(id_, 0, rest.data(), good);
    taken = static_cast<uint16_t>(taken + sent);
    if (sent < good || bad == rest.end()) break;
    rte_pktmbuf_free(*bad);
    oversize_.store(oversize_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    ++taken;
  }
  return taken;
}

rte_eth_stats Port::driver_counters() const {
  rte_eth_stats stats{};
  rte_eth_stats_get(id_, &stats);
  return stats;
}

void Port::start_counting() {
  std::array<rte_mbuf*, kBurst> waiting{};
  for (int i = 0; i < kOpenTries; ++i) {
    const KernelCounters before = kernel_ ? kernel_->counters() : KernelCounters{};
    for (int burst = 0; burst < kOpenBursts; ++burst) {
      const uint16_t count = rx(waiting);
      rte_pktmbuf_free_bulk(waiting.data(), count);
      if (count == 0) break;
    }
    books_.kernel = kernel_ ? kernel_->counters() : KernelCounters{};
    books_.slack = books_.kernel.rx_packets - before.rx_packets;
    if (books_.slack == 0) break;
  }
  books_.driver = driver_counters();
  books_.pace_errors = pace_errors();
  oversize_.store(0, std::memory_order_relaxed);
}

// Two polls that left nothing: the first may have begun before the call.
void Port::wait_until_drained() const {
  const uint64_t start = drained_.load(std::memory_order_acquire);
  for (int i = 0; i < 20 && drained_.load(std::memory_order_acquire) < start + 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

PortReading Port::reading() const {
  PortReading reading;
  if (kernel_) {
    reconcile(reading);
  }
  const rte_eth_stats stats = driver_counters();
  if (!kernel_) {
    reading.own_missed = reading.own_missed_bound = Since(stats.imissed, books_.driver.imissed);
  }
  reading.rx_packets = Since(stats.ipackets, books_.driver.ipackets);
  reading.rx_bytes = Since(stats.ibytes, books_.driver.ibytes);
  reading.tx_packets = Since(stats.opackets, books_.driver.opackets);
  reading.tx_bytes = Since(stats.obytes, books_.driver.obytes);
  reading.rx_errors = Since(stats.ierrors, books_.driver.ierrors);
  reading.tx_errors = Since(stats.oerrors, books_.driver.oerrors);
  reading.own_no_buffer = Since(stats.rx_nombuf, books_.driver.rx_nombuf);
  reading.pace_errors = Since(pace_errors(), books_.pace_errors);
  reading.own_oversize = oversize_.load(std::memory_order_relaxed);
  return reading;
}

// The driver's counts are read between two readings of the kernel's. What the kernel had counted
// before, and the driver not after the ring was emptied, is lost; what the kernel has counted after
// may be lost, or be on its way.
void Port::reconcile(PortReading& reading) const {
  const KernelCounters before = Since(kernel_->counters(), books_.kernel);
  const uint64_t polls = drained_.load(std::memory_order_acquire);
  wait_until_drained();
  const bool drained = drained_.load(std::memory_order_acquire) >= polls + 2;
  const rte_eth_stats stats = driver_counters();
  const KernelCounters after = Since(kernel_->counters(), books_.kernel);

  const uint64_t received = Since(stats.ipackets, books_.driver.ipackets);
  const uint64_t in_ring = drained ? 0 : ring_frames_;
  reading.own_missed = Since(before.rx_packets, received + in_ring + books_.slack);
  reading.own_missed_bound = Since(after.rx_packets + books_.slack, received);
  const uint64_t sent = Since(stats.opackets, books_.driver.opackets);
  reading.own_unsent = Since(sent, after.tx_packets);
  reading.own_unsent_bound = Since(sent, before.tx_packets);
  reading.kernel = after;
}

bool Port::link_up() const {
  if (kernel_) return kernel_->link_up();
  rte_eth_link link{};
  return rte_eth_link_get_nowait(id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

// Descriptors count back from the one that will be written next, which is at offset 0.
std::optional<uint32_t> Port::tx_backlog() const {
  if (!hardware_) return std::nullopt;
  uint32_t backlog = 0;
  for (uint16_t offset = options_.tx_descriptors - 1; offset > 0; --offset) {
    const int status = rte_eth_tx_descriptor_status(id_, 0, offset);
    if (status < 0) return std::nullopt;
    if (status != RTE_ETH_TX_DESC_FULL) break;
    ++backlog;
  }
  return backlog;
}

}  // namespace farspan::dpdk
