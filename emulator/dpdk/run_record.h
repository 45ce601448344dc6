// RunRecord: what the engine measured of a run, gathered for its certificate.
//
// The books of a finished run, over all ports and directions, each packet counted once:
//   arrivals    received + copies - broadcasts
//               = offered + bypassed + unroutable + handover_full + pause_received
//   departures  forwarded + bypassed + pause_sent
//               = sent + oversize + egress_full + egress_dropped + backlog
// but for what found no buffer (no_buffer), or no room to be bypassed (egress_full).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "emulator/base/time.h"
#include "emulator/config/schema.h"
#include "emulator/dpdk/clock.h"
#include "emulator/dpdk/latency_histogram.h"
#include "emulator/dpdk/port.h"
#include "emulator/dpdk/rule_book.h"
#include "emulator/dpdk/spin_gaps.h"
#include "emulator/link/counters.h"
#include "emulator/link/pfc.h"
#include "emulator/roce/qp_counters.h"

namespace farspan::dpdk {

// When a packet counts as having left a port: before tx_burst, after it, by the wire's stamp, or,
// handed over before its time, when the port was told to send it. The last is no measurement: its
// lateness is how well the port's clock is known, or how late the engine was where it was later.
enum class LeftAt { kReleased, kHanded, kWire, kScheduled };

// What a polling thread saw on one port; written by its lcore, read by any thread.
struct PortObservations {
  LatencyHistogram lateness;               // left - due; negative would be early
  LatencyHistogram arrival_uncertainty;    // time since the previous poll, per packet
  std::atomic<uint64_t> scheduled{0};      // handed over with the time to send it at
  std::atomic<uint64_t> no_buffer{0};      // due to leave, and no mbuf was free
  std::atomic<uint64_t> egress_full{0};    // the port took nothing for a second: given up
  std::atomic<uint64_t> handover_full{0};  // arrived, and the other lcore's ring was full
  std::atomic<uint64_t> super_frames{0};
  std::atomic<uint64_t> truncated{0};  // cut short by the port
  std::atomic<uint64_t> malformed{0};  // forwarded all the same
  std::atomic<uint64_t> bypassed{0};
  std::atomic<uint64_t> unroutable{0};        // mesh: no site has the destination
  std::atomic<uint64_t> copies{0};            // mesh: made of broadcasts
  std::atomic<uint64_t> broadcasts{0};        // mesh: frames that went to all
  std::atomic<uint64_t> egress_dropped{0};    // emulated: the site's egress limit and its AQM
  std::atomic<uint64_t> backlog{0};           // gauge: released, not yet taken by the port
  std::atomic<uint64_t> pause_sent{0};        // frames towards the host
  std::atomic<uint64_t> pause_received{0};    // frames of the host that did not cross
  std::atomic<int64_t> pause_late_max_ns{0};  // from being due until handed to the port
  using PerPriority = std::array<std::atomic<int64_t>, link::kPfcPriorities>;
  PerPriority pause_asked_ns{};   // for which the host was asked to pause
  PerPriority pause_heeded_ns{};  // for which the site's egress was paused by the host
};

struct PortRecord {
  std::string name;
  std::string site;
  config::PortKind kind = config::PortKind::kAfPacket;
  LeftAt left = LeftAt::kHanded;
  TimeNs lead{};                 // packets are handed over up to so long before they are due
  size_t lcore = 0;              // index of the one that polls it
  uint8_t pause_priorities = 0;  // bit p: PFC asks the host to pause priority p
  TimeNs pause_gap{};            // that the headroom is made for
  bool heeds_pauses = false;
  std::string stamps;  // of arrivals: "software", "hardware", or "hardware, given up"
  PortReading reading;
  const PortObservations* seen = nullptr;
};

struct DirectionRecord {
  std::string link;
  std::string direction;  // "ab" or "ba"
  std::string from;
  std::string to;
  link::DirectionCounters counters;
  std::optional<roce::ObserverTotals> rdma{};  // where an observer runs
  std::vector<RuleRecord> rules{};             // those in force, then those removed
};

struct LcoreRecord {
  unsigned cpu = 0;
  bool spins = false;                      // idle policy in force
  const LatencyHistogram* loop = nullptr;  // from one poll of its ports to the next, sleep included
  std::optional<SpinGaps> before;          // the machine's own gaps on this CPU
  std::optional<SpinGaps> after;
};

struct RunRecord {
  TimeNs duration{};
  uint64_t seed = 0;
  bool finished = false;  // drained and closed; else a run still going
  ClockQuality clock;
  config::Budgets budgets;
  std::vector<LcoreRecord> lcores;
  std::vector<PortRecord> ports;
  std::vector<DirectionRecord> directions;
};

}  // namespace farspan::dpdk
