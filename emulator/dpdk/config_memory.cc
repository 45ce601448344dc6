#include "emulator/dpdk/config_memory.h"

#include <algorithm>

#include "emulator/dpdk/kernel_ring.h"
#include "emulator/dpdk/packet_store.h"
#include "emulator/roce/qp_observer.h"

namespace farspan::dpdk {
namespace {

constexpr uint32_t kFcsBytes = 4;
constexpr uint32_t kFollowedBytes = 2 * 24;  // Pipe's, rounded up to a power of two of packets
constexpr uint32_t kTaggedHeaderBytes = 18;  // Ethernet and one tag; mbufs carry no FCS

}  // namespace

MemoryNeed NeedFor(const config::EmulatorConfig& config, const config::Plan& plan) {
  MemoryNeed need;
  uint64_t packets_per_s = 0;
  uint64_t packets = 0;
  uint64_t model_bytes = 0;
  for (const config::DirectionPlan& direction : plan.directions) {
    need.directions.push_back({.in_flight_bytes = direction.fiber_bytes + direction.queue_bytes,
                               .packets_max = direction.held_packets});
    packets_per_s = std::max(packets_per_s, direction.packets_per_s);
    packets += direction.held_packets;
    model_bytes += direction.model_bytes;
  }
  for (const config::EgressPlan& egress : plan.egresses) {
    need.directions.push_back(
        {.in_flight_bytes = egress.queue_bytes, .packets_max = egress.held_packets});
  }
  need.model_bytes_per_packet =
      static_cast<uint32_t>(std::max<uint64_t>(64, model_bytes / std::max<uint64_t>(packets, 1)));
  need.plan_frame_bytes = config.engine.plan_frame_bytes - kFcsBytes;
  need.largest_frame_bytes = config.engine.mtu + kTaggedHeaderBytes;
  need.copied_frame_bytes = PacketStore::kCopiedFrameBytes;
  need.copied_overhead_bytes = PacketStore::kSlotOverheadBytes;
  need.spare_mbufs = PacketStore::kSpares;
  if (config.engine.observer.enabled) {
    // Two for a link whose directions are on different lcores.
    need.observer_bytes =
        plan.directions.size() * roce::QpObserver::MemoryBytes(config.engine.observer) +
        packets * kFollowedBytes;
  }
  need.ports = static_cast<uint32_t>(config.sites.size());
  need.lcores = plan.lcores;
  for (const config::SiteSpec& site : config.sites) {
    if (site.port.kind != config::PortKind::kAfPacket) continue;
    const KernelRing ring = PlanKernelRing(config.engine.mtu, packets_per_s);
    need.kernel_ring_bytes += 2 * ring.bytes();
    // A slot of the kernel's ring must fit an mbuf.
    need.largest_frame_bytes = std::max(need.largest_frame_bytes, ring.frame_bytes);
  }
  return need;
}

MachineMemory Limited(MachineMemory machine, const config::EngineSpec& engine) {
  if (engine.memory_bytes == 0) return machine;
  uint64_t left = engine.memory_bytes;
  for (HugepagePool& pool : machine.hugepages) {
    pool.free = std::min(pool.free, left / pool.page_bytes);
    left -= pool.free * pool.page_bytes;
  }
  machine.available_bytes = std::min(machine.available_bytes, engine.memory_bytes);
  return machine;
}

}  // namespace farspan::dpdk
