// From a configuration's plan to the memory that the engine asks for: the same for `run`, which
// allocates it, and for `check`, which prints it. Pure.
#pragma once

#include "emulator/config/plan.h"
#include "emulator/config/schema.h"
#include "emulator/dpdk/memory_plan.h"

namespace farspan::dpdk {

MemoryNeed NeedFor(const config::EmulatorConfig& config, const config::Plan& plan);

// The machine as engine.memory lets us use it.
MachineMemory Limited(MachineMemory machine, const config::EngineSpec& engine);

}  // namespace farspan::dpdk
