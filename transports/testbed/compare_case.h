// Case: one contender at one point of a scenario with one size, resolved: what all its samples
// share, in virtual time and in real time alike. Plain data; the scenario must outlive it.
#pragma once

#include <cstdint>
#include <vector>

#include "transports/testbed/compare.h"
#include "transports/testbed/presets.h"
#include "transports/testbed/scenario.h"

namespace farspan::testbed {

inline constexpr uint32_t kSlots = 8;  // NCCL_STEPS

// Real hosts' MTU beyond `payload`: IPv4 20, UDP 8, Span 32 and its options make 1408 B an Ethernet
// frame's 1500. Of that the kernel's TCP fills all but IPv4 20 and TCP 32.
inline constexpr uint32_t kRealMtuBeyond = 92;
inline constexpr uint32_t kKernelTcpPayloadBeyond = kRealMtuBeyond - 52;

// Over the whole timeline.
TimeNs LeastDelay(const link::DirectionSpec& spec);
TimeNs MostDelay(const link::DirectionSpec& spec);
double RateOf(const link::DirectionSpec& spec);  // the greatest, in bits/s

struct Case {
  const Scenario* scenario = nullptr;
  const ScenarioPoint* point = nullptr;
  const ContenderSpec* contender = nullptr;
  uint64_t bytes = 0;
  TimeNs rtt{};  // the longest
  Rate rate{};   // of the slowest link; `fixed`: one peer's share of it
  NcclPreset preset;
  uint64_t slot_bytes = 0;
  uint64_t ample_bytes = 0;  // four times what the longest path holds
  uint32_t window_packets = 0;
  std::vector<collectives::Task> tasks;  // of each rank
  std::vector<collectives::Plan> plans;
};

// The scenario's reader has seen to it that there is a plan.
Case MakeCase(const Scenario& scenario, const CompareRow& row);
// User data that one collective sends from sites to others.
uint64_t CrossingBytes(const Case& of);

}  // namespace farspan::testbed
