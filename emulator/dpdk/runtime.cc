#include "emulator/dpdk/runtime.h"

#include <algorithm>

#include "emulator/dpdk/config_memory.h"
#include "emulator/dpdk/control_thread.h"

namespace farspan::dpdk {

Result<std::unique_ptr<Runtime>> Runtime::Start(const RuntimeOptions& options) {
  std::unique_ptr<Runtime> runtime(new Runtime);
  if (auto planned = runtime->plan_memory(options); !planned) {
    return tl::unexpected(planned.error());
  }
  if (auto started = runtime->start_eal(options); !started) {
    return tl::unexpected(started.error());
  }
  auto clock = EngineClock::Start();
  if (!clock) return tl::unexpected(clock.error());
  runtime->clock_ = std::move(*clock);
  const MemoryPlan& plan = runtime->memory_.plan;
  auto pool = MakePacketPool("farspan", plan.mbufs, plan.data_room_bytes, plan.cache_mbufs);
  if (!pool) return tl::unexpected(pool.error());
  runtime->pool_ = std::move(*pool);
  return runtime;
}

Result<void> Runtime::plan_memory(const RuntimeOptions& options) {
  auto lock = MemoryLock::Take();
  if (!lock) return tl::unexpected(lock.error());
  planning_ = std::move(*lock);
  MachineMemory machine = Limited(ReadMachineMemory(), options.engine);
  const uint64_t missing = MissingHugepages(PlanMemory(options.need).eal_bytes, machine);
  if (options.reserve_hugepages && missing != 0) {
    auto reserved = HugepageReservation::Take(missing);
    if (!reserved) return tl::unexpected(reserved.error());
    hugepages_ = std::move(*reserved);
    machine = Limited(ReadMachineMemory(), options.engine);
  }
  auto memory = ChooseMemory(options.need, machine);
  if (!memory) return tl::unexpected(memory.error());
  memory_ = std::move(*memory);
  return {};
}

Result<void> Runtime::start_eal(const RuntimeOptions& options) {
  EalOptions eal;
  eal.memory = memory_;
  eal.cpus = CpusAtStart();
  eal.polling_cpus.assign(options.engine.lcores.begin(), options.engine.lcores.end());
  if (eal.polling_cpus.empty()) {
    eal.polling_cpus = ChoosePollingCpus(eal.cpus, std::max<uint32_t>(1, options.lcores)).cpus;
  }
  eal.pci_devices = options.pci_devices;
  eal.user_arguments = options.eal_arguments;
  auto started = Eal::Start(eal);
  if (!started) return tl::unexpected(started.error());
  eal_ = std::move(*started);
  return {};
}

}  // namespace farspan::dpdk
