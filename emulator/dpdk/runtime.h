// Runtime: what the engine and its benchmark stand on: hugepages reserved, EAL, clock, packet pool.
//
// One after the other, each needing those before it; the destructor gives them back in the opposite
// order. Between looking at what memory is free and taking it, no other emulator may do the same:
// that lasts from Start() until memory_taken(), because byte rings and ports come in between.
// Threads: Start, memory_taken and the destructor on the main thread. At most one in a process's
// life, as the Eal in it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/config/schema.h"
#include "emulator/dpdk/clock.h"
#include "emulator/dpdk/eal.h"
#include "emulator/dpdk/hugepages.h"
#include "emulator/dpdk/memory_plan.h"

namespace farspan::dpdk {

struct RuntimeOptions {
  MemoryNeed need;
  config::EngineSpec engine;             // its limit of memory and its lcores
  uint32_t lcores = 1;                   // polling, where `engine` names none
  std::vector<std::string> pci_devices;  // see EalOptions
  std::vector<std::string> eal_arguments;
  bool reserve_hugepages = false;  // what is missing; given back on every way out
};

class Runtime {
 public:
  // kMachine where the machine cannot hold what is needed.
  static Result<std::unique_ptr<Runtime>> Start(const RuntimeOptions& options);
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Everything planned has been allocated.
  void memory_taken() { planning_.reset(); }

  const MemoryChoice& memory() const { return memory_; }
  const std::vector<unsigned>& lcores() const { return eal_->polling_lcores(); }
  const EngineClock& clock() const { return *clock_; }
  rte_mempool* pool() const { return pool_.get(); }

 private:
  Runtime() = default;
  Result<void> plan_memory(const RuntimeOptions& options);
  Result<void> start_eal(const RuntimeOptions& options);

  MemoryChoice memory_;
  std::unique_ptr<HugepageReservation> hugepages_;
  std::unique_ptr<Eal> eal_;
  std::unique_ptr<EngineClock> clock_;
  Mempool pool_;
  std::optional<MemoryLock> planning_;  // last: giving hugepages back waits for it
};

}  // namespace farspan::dpdk
