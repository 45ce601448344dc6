// The resolved plan: what a configuration comes to, before anything is started.
//
// Packets held: N = min(rate / plan frame, declared packet rate) x the largest delay over the
// timeline, jitter, delaying faults and live headroom, plus what the queues hold, plus what rings
// and caches do. The engine allocates from this plan and refuses where it does not fit; `check`
// prints it. Loss figures are expectations of the models at that frame size.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/base/units.h"
#include "emulator/config/schema.h"
#include "emulator/link/spec.h"

namespace farspan::config {

struct LossBySize {
  uint32_t wire_bytes = 0;
  double probability = 0;
};

struct LanePlan {
  std::vector<link::DelayTerm> terms;
  TimeNs delay{};
  Rate rate{};  // 0: no bottleneck
  std::vector<LossBySize> loss;
};

struct DirectionPlan {
  std::string link;
  std::string from;
  std::string to;
  std::string source;  // of a routed length
  std::vector<LanePlan> lanes;
  TimeNs largest_delay{};      // one way: timeline, jitter, faults and headroom included
  Rate planning_rate{};        // all lanes, or the port's declared rate; headroom included
  uint64_t bdp_bytes = 0;      // planning rate x round trip, lane 0 there and back
  uint64_t bdp_packets = 0;    // of full-size packets (MTU)
  uint64_t packets_per_s = 0;  // planned at most
  uint64_t fiber_packets = 0;
  uint64_t queue_packets = 0;
  uint64_t held_packets = 0;  // capacity of the link: both
  uint64_t model_bytes = 0;   // what the link model allocates
  uint32_t lcore = 0;         // index into the plan's lcores
};

struct MemoryPlan {
  uint64_t packets = 0;       // buffers: held, and in rings and caches
  uint64_t buffer_bytes = 0;  // of one
  uint64_t model_bytes = 0;
  uint64_t total_bytes = 0;
  uint64_t available_bytes = 0;      // 0: unknown
  uint32_t smallest_mean_frame = 0;  // with FCS, with which it would fit; 0: with none
  bool fits() const { return available_bytes == 0 || total_bytes <= available_bytes; }
};

struct Plan {
  Mode mode = Mode::kWire;
  std::vector<DirectionPlan> directions;
  MemoryPlan memory;
  uint32_t lcores = 0;  // that do packets; one more thread does the rest
};

// `available_bytes`: what the machine could give, 0 if that is not known. The engine.memory limit
// holds as well. Fails only where planning itself does (no rate to plan with); look at fits().
Result<Plan> MakePlan(const EmulatorConfig& config, uint64_t available_bytes);

std::string PlanText(const Plan& plan);
std::string PlanJson(const Plan& plan);  // schema "farspan.plan.v1"

// Why it does not fit and what would; only for a plan that does not.
Error DoesNotFit(const Plan& plan);

}  // namespace farspan::config
