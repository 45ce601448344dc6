// How much memory a run needs, and whether the machine has it: decided before EAL starts.
//
// What is in flight is bytes, rate x delay plus queues; how many packets that makes depends on the
// mean frame, so the plan is for the smallest mean frame that it promises to carry. Frames up to
// `copied_frame_bytes` are copied into a byte ring per direction, larger ones keep their mbuf, and
// either kind alone may fill the link.
//
// Units: bytes; frames without FCS, as mbufs carry them. Pure but for ReadMachineMemory().
// Not modelled: the hugetlb cgroup controller; page tables; what other processes take later.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "emulator/base/result.h"

namespace farspan::dpdk {

inline constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();
inline constexpr uint32_t kSmallestFrame = 60;

struct DirectionNeed {
  uint64_t in_flight_bytes = 0;     // of wire time: rate x largest delay, plus the queue's limit
  uint64_t packets_max = kNoLimit;  // where a packet rate is declared: that x delay, plus queue
};

struct MemoryNeed {
  std::vector<DirectionNeed> directions;
  uint32_t plan_frame_bytes = kSmallestFrame;  // smallest mean frame that must fit
  uint32_t largest_frame_bytes = 1514;         // decides the mbufs' data room
  uint32_t copied_frame_bytes = 256;           // 0: every packet keeps its mbuf
  uint32_t copied_overhead_bytes = 16;         // of a frame in the byte ring
  uint32_t spare_mbufs = 128;                  // in hand, of each direction
  uint32_t model_bytes_per_packet = 64;        // heap: references in queues and fibers, stamps
  uint32_t ports = 2;
  uint32_t descriptors_per_port = 1024 + 256;  // receive and transmit
  uint32_t lcores = 1;
  uint64_t other_eal_bytes = 0;    // from EAL: capture rings and the like
  uint64_t kernel_ring_bytes = 0;  // of all ports, see PlanKernelRing
  uint64_t observer_bytes = 0;     // heap: of all links
};

struct MemoryPlan {
  uint32_t mbufs = 0;
  uint32_t data_room_bytes = 0;           // headroom included
  uint32_t cache_mbufs = 0;               // per lcore
  std::vector<uint64_t> byte_ring_bytes;  // per direction, of EAL memory
  uint64_t eal_bytes = 0;                 // all that comes from hugepages, or from -m
  uint64_t heap_bytes = 0;                // ordinary memory of the process and the kernel
};

MemoryPlan PlanMemory(const MemoryNeed& need);

struct HugepagePool {
  int node = 0;
  uint64_t page_bytes = 0;
  uint64_t total = 0;
  uint64_t free = 0;
};

struct MachineMemory {
  std::vector<HugepagePool> hugepages;
  uint64_t available_bytes = 0;      // MemAvailable
  uint64_t cgroup_bytes = kNoLimit;  // left below the tightest limit on the way up

  uint64_t ordinary_bytes() const { return std::min(available_bytes, cgroup_bytes); }
  uint64_t hugepage_bytes(int node) const;  // free; -1: all nodes
};

// Reads /proc and /sys; `root` is for tests.
MachineMemory ReadMachineMemory(const std::string& root = "");

enum class MemoryKind { kAuto, kHugepages, kOrdinary };

struct MemoryChoice {
  MemoryPlan plan;
  bool hugepages = false;
  std::string note;  // what a person should know though it works; empty if nothing
};

// Hugepages if enough are free on `node` (-1: anywhere), else ordinary memory. If neither holds the
// plan: kMachine, with the smallest mean frame that would fit and the command that mends it.
Result<MemoryChoice> ChooseMemory(const MemoryNeed& need, const MachineMemory& machine,
                                  MemoryKind kind = MemoryKind::kAuto, int node = -1);

// 2 MiB pages that must be reserved beside the free ones for `eal_bytes`; 0 if it fits.
uint64_t MissingHugepages(uint64_t eal_bytes, const MachineMemory& machine, int node = -1);

// Bytes of one mempool object that carries an mbuf of this data room (header and alignment too).
uint64_t MbufObjectBytes(uint32_t data_room_bytes);

}  // namespace farspan::dpdk
