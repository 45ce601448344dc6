// The resolved plan: what a configuration comes to, before anything is started.
//
// What is in flight is bytes: rate x the largest delay over timeline, jitter, delaying faults and
// live headroom, and what the queues' limits let wait. How many packets that makes depends on their
// mean size, so memory is planned for the smallest mean frame that engine.plan_frame promises, or
// for engine.max_packet_rate where that is less. The engine allocates from this plan (see
// dpdk/config_memory.h) and refuses where it does not fit; `check` prints it.
// Rates that are nowhere declared are assumed by the port's kind. Jitter counts with 8 deviations.
// Not modelled: what waits in the ports' own rings (the engine adds that).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/base/units.h"
#include "emulator/config/schema.h"
#include "emulator/link/pfc.h"
#include "emulator/link/spec.h"

namespace farspan::config {

struct LossBySize {
  uint32_t frame_bytes = 0;  // with FCS
  double probability = 0;    // expected of the model
};

struct LanePlan {
  std::vector<link::DelayTerm> terms;  // add up to `delay`
  TimeNs delay{};                      // one way, at the start
  Rate rate{};                         // at the start; 0: no bottleneck
  std::vector<LossBySize> loss;
};

// A class with PFC; see link/pfc.h.
struct PfcPlan {
  std::string name;  // of the class
  link::PfcSpec spec;
  std::vector<link::HeadroomTerm> terms;
  uint64_t headroom_bytes = 0;  // their sum
  uint64_t limit_bytes = 0;
  bool lossless() const { return spec.xoff_bytes + headroom_bytes <= limit_bytes; }
};

struct DirectionPlan {
  std::string link;
  std::string direction;  // "ab" or "ba"
  std::string from;
  std::string to;
  std::string source;  // of a routed length
  std::vector<LanePlan> lanes;
  std::vector<PfcPlan> pfc;
  TimeNs largest_delay{};      // one way, of any lane
  Rate rate{};                 // that memory is planned for: all lanes, headroom
  bool rate_assumed = false;   // because none was declared
  TimeNs round_trip{};         // lane 0 there and back, at the start
  uint64_t bdp_bytes = 0;      // `rate` x round trip
  uint64_t bdp_packets = 0;    // of full size (engine.mtu)
  uint64_t fiber_bytes = 0;    // of wire time, at most in flight; duplicates counted
  uint64_t queue_bytes = 0;    // at most waiting
  uint64_t packets_per_s = 0;  // at most: of the plan's frames at `rate`, or as declared
  uint64_t held_packets = 0;   // LinkCapacity::packets
  uint64_t model_bytes = 0;    // that the link model allocates for them
  uint32_t lcore = 0;          // 0 to Plan::lcores - 1
};

// A site's egress queue, where it is configured.
struct EgressPlan {
  std::string site;
  Rate rate{};
  uint64_t queue_bytes = 0;
  uint64_t held_packets = 0;
};

// How long before it is due a site's port may be given a frame, to send it by its own clock.
struct LeadPlan {
  TimeNs lead{};  // at most send_ahead, and half the shortest stay in the fibers into the site
  std::string why_not;  // where it is 0
};

struct Plan {
  std::vector<LeadPlan> leads;            // [site]
  std::vector<DirectionPlan> directions;  // ab and ba of every link, in the order of the file
  std::vector<EgressPlan> egresses;
  uint32_t lcores = 0;  // that handle packets; control and HTTP need none
};

// Of a configuration that has been loaded.
Plan MakePlan(const EmulatorConfig& config);

// What the engine's memory planning says of it, for printing.
struct MemoryReport {
  bool known = false;  // false in a build without DPDK
  bool fits = true;
  std::string message;  // why not, or a remark
  bool hugepages = false;
  uint64_t mbufs = 0;
  uint64_t eal_bytes = 0;   // packet memory: hugepages, or -m
  uint64_t heap_bytes = 0;  // ordinary memory
};

std::string PlanText(const EmulatorConfig& config, const Plan& plan, const MemoryReport& memory);
// Schema "farspan.plan.v1"; times in ns, rates in bit/s.
std::string PlanJson(const EmulatorConfig& config, const Plan& plan, const MemoryReport& memory);

}  // namespace farspan::config
