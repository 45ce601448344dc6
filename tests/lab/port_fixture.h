// What the tests of ports share: EAL, a pool, frames.
//
// EAL starts once in a process, on ordinary memory: no machine lacks that. The whole program moves
// into a fresh network namespace (when root), so nothing needs removing.
#pragma once

#include <rte_mempool.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "emulator/dpdk/port.h"

namespace farspan::dpdk {

using Frames = std::vector<std::vector<uint8_t>>;

// Whether this program has a network namespace of its own.
bool Isolated();
// `pool`: of the environment where none is given.
Result<std::unique_ptr<Port>> OpenPort(config::PortKind kind, const std::string& target,
                                       uint32_t mtu = 1'500, rte_mempool* pool = nullptr);

// A broadcast frame of an experimental EtherType, numbered, filled with a pattern.
std::vector<uint8_t> Frame(size_t size, uint32_t number, bool tagged = false);
uint16_t Send(Port& port, const Frames& frames);
// Until `count` have come or a second is over.
Frames Receive(Port& port, size_t count);

}  // namespace farspan::dpdk
