#include "emulator/dpdk/memory_plan.h"

#include <fmt/format.h>
#include <rte_config.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "emulator/link/packet_ref.h"

namespace farspan::dpdk {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kHugepage = 2 * kMiB;
constexpr uint64_t kEalOwnBytes = 32 * kMiB;   // EAL's heaps, port and ring structures
constexpr uint64_t kProcessBytes = 64 * kMiB;  // code, stacks, libraries, HTTP
constexpr uint32_t kCacheMbufs = 256;
constexpr uint32_t kBurstsInHand = 16 * 64;  // mbufs an lcore holds between rx and tx
constexpr uint32_t kDataRoomDefault = RTE_MBUF_DEFAULT_BUF_SIZE;

constexpr uint64_t DivideUp(uint64_t a, uint64_t b) { return (a + b - 1) / b; }
constexpr uint64_t AlignUp(uint64_t a, uint64_t b) { return DivideUp(a, b) * b; }

uint64_t PacketsInFlight(const DirectionNeed& direction, uint32_t mean_frame) {
  return std::min(DivideUp(direction.in_flight_bytes, link::WireBytes(mean_frame)),
                  direction.packets_max);
}

// The frame length whose copies cost most memory per byte of wire time decides.
uint64_t ByteRingBytes(const MemoryNeed& need, const DirectionNeed& direction) {
  uint64_t most = 0;
  for (uint32_t frame = std::max(need.plan_frame_bytes, kSmallestFrame);
       frame <= need.copied_frame_bytes; ++frame) {
    const uint64_t slot = AlignUp(frame + need.copied_overhead_bytes, 16);
    most = std::max(most, PacketsInFlight(direction, frame) * slot);
  }
  return most == 0 ? 0 : AlignUp(most, kMiB);
}

uint64_t ReadNumber(const fs::path& path, uint64_t otherwise) {
  std::ifstream file(path);
  uint64_t value = 0;
  return file >> value ? value : otherwise;
}

uint64_t ReadMemAvailable(const fs::path& path) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    uint64_t kib = 0;
    if (words >> key >> kib && key == "MemAvailable:") return kib << 10;
  }
  return 0;
}

// Version 2: memory.max and memory.current in each directory up to the root; version 1: the same
// under the memory controller's mount, named otherwise. An absent file or "max" is no limit.
uint64_t CgroupLeft(const std::string& root) {
  uint64_t left = kNoLimit;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t controllers = line.find(':');
    const size_t path = line.find(':', controllers + 1);
    if (controllers == std::string::npos || path == std::string::npos) continue;
    const std::string names = line.substr(controllers + 1, path - controllers - 1);
    const bool v2 = names.empty();
    if (!v2 && names != "memory") continue;
    const fs::path top = root + (v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory");
    for (fs::path group = line.substr(path + 1);; group = group.parent_path()) {
      const fs::path at = top / group.relative_path();
      const uint64_t limit =
          ReadNumber(at / (v2 ? "memory.max" : "memory.limit_in_bytes"), kNoLimit);
      const uint64_t used = ReadNumber(at / (v2 ? "memory.current" : "memory.usage_in_bytes"), 0);
      if (limit != kNoLimit) left = std::min(left, limit - std::min(limit, used));
      if (!group.has_relative_path()) break;
    }
  }
  return left;
}

std::optional<uint64_t> NumberBetween(const std::string& text, const std::string& before,
                                      const std::string& after) {
  if (!text.starts_with(before) || !text.ends_with(after)) return std::nullopt;
  const char* end = text.data() + text.size() - after.size();
  uint64_t value = 0;
  const auto parsed = std::from_chars(text.data() + before.size(), end, value);
  return parsed.ec == std::errc{} && parsed.ptr == end ? std::optional(value) : std::nullopt;
}

std::vector<HugepagePool> ReadHugepages(const std::string& root) {
  std::vector<HugepagePool> pools;
  std::error_code none;
  for (const auto& node : fs::directory_iterator(root + "/sys/devices/system/node", none)) {
    const auto number = NumberBetween(node.path().filename(), "node", "");
    if (!number) continue;
    for (const auto& size : fs::directory_iterator(node.path() / "hugepages", none)) {
      const auto kib = NumberBetween(size.path().filename(), "hugepages-", "kB");
      if (!kib) continue;
      pools.push_back({.node = static_cast<int>(*number),
                       .page_bytes = *kib << 10,
                       .total = ReadNumber(size.path() / "nr_hugepages", 0),
                       .free = ReadNumber(size.path() / "free_hugepages", 0)});
    }
  }
  return pools;
}

bool Fits(const MemoryPlan& plan, const MachineMemory& machine, bool hugepages, int node) {
  if (!hugepages) return plan.eal_bytes + plan.heap_bytes <= machine.ordinary_bytes();
  return plan.eal_bytes <= machine.hugepage_bytes(node) &&
         plan.heap_bytes <= machine.ordinary_bytes();
}

// Larger mean frames make fewer packets, so what fits is an upper range: bisect its lower end.
std::optional<uint32_t> SmallestFrameThatFits(MemoryNeed need, const MachineMemory& machine,
                                              bool hugepages, int node) {
  const auto fits = [&](uint32_t frame) {
    need.plan_frame_bytes = frame;
    return Fits(PlanMemory(need), machine, hugepages, node);
  };
  uint32_t low = need.plan_frame_bytes;
  uint32_t high = need.largest_frame_bytes;
  if (low > high || !fits(high)) return std::nullopt;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (fits(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return high;
}

Error Refusal(const MemoryNeed& need, const MachineMemory& machine, bool hugepages, int node) {
  const MemoryPlan plan = PlanMemory(need);
  const uint64_t have = hugepages ? machine.hugepage_bytes(node) : machine.ordinary_bytes();
  const uint64_t wanted = plan.eal_bytes + (hugepages ? 0 : plan.heap_bytes);
  std::string text = fmt::format(
      "what is in flight needs {} MiB of {} for {} mbufs and copies of small frames, and {} MiB "
      "are free",
      wanted / kMiB, hugepages ? "hugepages" : "memory", plan.mbufs, have / kMiB);
  if (const auto frame = SmallestFrameThatFits(need, machine, hugepages, node)) {
    text += fmt::format("; the smallest mean frame that fits is {} B (planned: {} B)", *frame,
                        need.plan_frame_bytes);
  } else {
    text += fmt::format("; not even frames of {} B fit", need.largest_frame_bytes);
  }
  if (plan.eal_bytes + plan.heap_bytes <= machine.ordinary_bytes()) {
    uint64_t total = MissingHugepages(plan.eal_bytes, machine, node);
    for (const HugepagePool& pool : machine.hugepages) {
      if (pool.page_bytes == kHugepage) total += pool.total;
    }
    text += fmt::format("; reserve them with: echo {} | sudo tee /proc/sys/vm/nr_hugepages", total);
  } else {
    text += "; plan for a larger mean frame, declare the packet rate, or lower rate or delay";
  }
  return {ErrorCode::kMachine, std::move(text), "memory"};
}

}  // namespace

uint64_t MbufObjectBytes(uint32_t data_room_bytes) {
  return rte_mempool_calc_obj_size(sizeof(rte_mbuf) + data_room_bytes, 0, nullptr);
}

MemoryPlan PlanMemory(const MemoryNeed& need) {
  MemoryPlan plan;
  plan.cache_mbufs = kCacheMbufs;
  plan.data_room_bytes = std::max<uint32_t>(
      kDataRoomDefault, AlignUp(need.largest_frame_bytes + RTE_PKTMBUF_HEADROOM, 256));
  // Caches may hold half as much again before they flush.
  uint64_t mbufs = uint64_t{need.ports} * need.descriptors_per_port +
                   uint64_t{need.lcores} * (kCacheMbufs + kCacheMbufs / 2 + kBurstsInHand);
  uint64_t rings = 0;
  uint64_t packets = 0;
  for (const DirectionNeed& direction : need.directions) {
    mbufs += need.spare_mbufs;
    mbufs +=
        PacketsInFlight(direction, std::max(need.plan_frame_bytes, need.copied_frame_bytes + 1));
    packets += PacketsInFlight(direction, need.plan_frame_bytes);
    plan.byte_ring_bytes.push_back(ByteRingBytes(need, direction));
    rings += plan.byte_ring_bytes.back();
  }
  plan.mbufs =
      static_cast<uint32_t>(std::min<uint64_t>(mbufs, std::numeric_limits<uint32_t>::max()));
  const uint64_t pool = mbufs * (MbufObjectBytes(plan.data_room_bytes) + sizeof(void*));
  plan.eal_bytes =
      AlignUp(pool + pool / 256 + rings + need.other_eal_bytes + kEalOwnBytes, kHugepage);
  plan.heap_bytes = packets * need.model_bytes_per_packet + need.kernel_ring_bytes +
                    need.observer_bytes + kProcessBytes;
  return plan;
}

uint64_t MachineMemory::hugepage_bytes(int node) const {
  uint64_t bytes = 0;
  for (const HugepagePool& pool : hugepages) {
    if (node < 0 || pool.node == node) bytes += pool.free * pool.page_bytes;
  }
  return bytes;
}

MachineMemory ReadMachineMemory(const std::string& root) {
  return {.hugepages = ReadHugepages(root),
          .available_bytes = ReadMemAvailable(root + "/proc/meminfo"),
          .cgroup_bytes = CgroupLeft(root)};
}

uint64_t MissingHugepages(uint64_t eal_bytes, const MachineMemory& machine, int node) {
  const uint64_t have = machine.hugepage_bytes(node);
  return have >= eal_bytes ? 0 : DivideUp(eal_bytes - have, kHugepage);
}

Result<MemoryChoice> ChooseMemory(const MemoryNeed& need, const MachineMemory& machine,
                                  MemoryKind kind, int node) {
  const MemoryPlan plan = PlanMemory(need);
  if (kind != MemoryKind::kOrdinary && Fits(plan, machine, true, node)) {
    return MemoryChoice{.plan = plan, .hugepages = true, .note = {}};
  }
  if (kind != MemoryKind::kHugepages && Fits(plan, machine, false, node)) {
    std::string note;
    if (kind == MemoryKind::kAuto) {
      note = fmt::format(
          "ordinary 4 KiB pages are used, which costs speed: {} MiB of hugepages are free, {} "
          "needed",
          machine.hugepage_bytes(node) / kMiB, plan.eal_bytes / kMiB);
    }
    return MemoryChoice{.plan = plan, .hugepages = false, .note = note};
  }
  const bool hugepages =
      kind == MemoryKind::kHugepages ||
      (kind == MemoryKind::kAuto && machine.hugepage_bytes(node) > machine.ordinary_bytes());
  return tl::unexpected(Refusal(need, machine, hugepages, node));
}

}  // namespace farspan::dpdk
