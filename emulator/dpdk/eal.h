// EAL start-up: arguments from the memory plan and the CPUs, logs to spdlog, clean-up at the end.
//
// Memory: hugepages -> --in-memory; none -> --no-huge --no-shconf -m PLAN (the two exclude each
// other); always --no-telemetry; PCI devices only by name. The person's own EAL arguments come last
// and displace ours of the same group.
// Lcores: the main lcore (id 0) floats over all CPUs and is for control only; polling lcores are
// ids 1, 2, ... pinned to one CPU each. So one CPU suffices, though its poller then shares it.
// Threads: Start and the destructor on the main thread. At most one Eal in a process's life:
// DPDK cannot be initialised twice.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/dpdk/memory_plan.h"

struct rte_mempool;

namespace farspan::dpdk {

struct EalOptions {
  std::string program = "farspan-emulator";
  MemoryChoice memory;
  std::vector<int> polling_cpus;         // from ChoosePollingCpus
  std::vector<int> cpus;                 // all that the process may use: CpusAtStart()
  std::vector<std::string> pci_devices;  // "0000:3b:00.0,devargs"; none: the bus is left alone
  std::vector<std::string> user_arguments;
};

// Pure.
std::vector<std::string> EalArguments(const EalOptions& options);

struct PollingCpus {
  std::vector<int> cpus;
  bool shared = false;  // no CPU is left for everything else, or two pollers share one
};

// Leaves the first CPU to the rest of the machine where it can. Pure.
PollingCpus ChoosePollingCpus(const std::vector<int>& allowed, size_t wanted);

class Eal {
 public:
  static Result<std::unique_ptr<Eal>> Start(const EalOptions& options);
  ~Eal();  // after all ports and pools of it are gone
  Eal(const Eal&) = delete;
  Eal& operator=(const Eal&) = delete;

  // Ids for rte_eal_remote_launch, as many as polling_cpus unless the person's arguments differ.
  const std::vector<unsigned>& polling_lcores() const { return polling_lcores_; }

 private:
  Eal() = default;
  std::vector<unsigned> polling_lcores_;
};

struct MempoolDeleter {
  void operator()(rte_mempool* pool) const;
};
using Mempool = std::unique_ptr<rte_mempool, MempoolDeleter>;

// A pktmbuf pool that hands out the mbuf freed last (DPDK's "stack" ops), objects laid out in
// address order: at 10^6 packets held this took 34 ns per packet where the default ring took 79-97.
// `data_room_bytes` includes the headroom. Needs a living Eal; `node` -1: any.
Result<Mempool> MakePacketPool(const std::string& name, uint32_t mbufs, uint32_t data_room_bytes,
                               uint32_t cache_mbufs, int node = -1);

}  // namespace farspan::dpdk
