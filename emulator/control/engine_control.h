// EngineControl: what the control plane asks of a running engine.
//
// The DPDK engine is behind it in the product, a fake in tests: HTTP handlers, metrics and the
// status page know nothing of lcores. All calls may come from any control thread; they block at
// most until the lcore acknowledges (milliseconds).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/config/schema.h"
#include "emulator/link/counters.h"
#include "emulator/link/spec.h"
#include "emulator/roce/qp_counters.h"

namespace farspan::control {

enum class Direction : uint8_t { kAb, kBa };
constexpr std::string_view ToText(Direction d) { return d == Direction::kAb ? "ab" : "ba"; }

// Cumulative histogram as Prometheus wants it: counts[i] observations <= bounds[i].
struct HistogramSnapshot {
  std::vector<TimeNs> bounds;
  std::vector<uint64_t> counts;  // cumulative; one more than bounds, the last is the total
  double sum_ns = 0;
  TimeNs max{};
};

// A fault rule and what it has done; see docs/control.md.
struct RuleSnapshot {
  std::string name;
  std::string match;  // its conditions, in one line
  std::string limits;
  std::string action;
  uint8_t number = 0;
  TimeNs since{};
  TimeNs removed_at = kNever;  // kNever: in force
  uint64_t matched = 0;
  uint64_t picked = 0;
  uint64_t hits = 0;
};

struct DirectionSnapshot {
  std::string link;
  Direction direction = Direction::kAb;
  std::string from;  // site names
  std::string to;
  link::DirectionCounters counters;
  link::DirectionSpec spec;                  // as it is now, after live changes
  TimeNs delay{};                            // one way, of the first lane's working path
  std::optional<roce::ObserverTotals> rdma;  // where queue pairs are followed
  std::string egress_port;  // PortSnapshot::name by which it leaves: where its lateness is counted
  std::vector<RuleSnapshot> rules;         // those in force, in their order, then those removed
  std::vector<config::NamedEvent> events;  // that a rule may trigger
};

struct PausedTime {
  uint8_t priority = 0;  // 802.1Q
  TimeNs time{};
};

// Our own shortages, per port; never mixed with emulated loss.
struct PortSnapshot {
  std::string name;
  uint64_t rx_packets = 0;
  uint64_t rx_bytes = 0;
  uint64_t tx_packets = 0;
  uint64_t tx_bytes = 0;
  uint64_t own_missed = 0;         // the port had no room
  uint64_t own_kernel_missed = 0;  // its kernel interface had none: af_packet counts no such loss
  uint64_t own_no_buffer = 0;      // no mbuf
  uint64_t own_egress_full = 0;    // the port did not take what was due
  uint64_t own_oversize = 0;
  uint64_t super_frames = 0;  // of a host's offload; they make the run INVALID
  uint64_t malformed = 0;     // forwarded, but not parsed
  uint64_t bypassed = 0;      // let through beside the link
  uint64_t tx_backlog = 0;    // gauge
  uint64_t pause_frames_sent = 0;
  uint64_t pause_frames_received = 0;     // that did not cross
  std::vector<PausedTime> pause_asked;    // of the host, for priorities with PFC
  std::vector<PausedTime> paused;         // by the host, where its pauses are consumed
  HistogramSnapshot lateness;             // left - due
  HistogramSnapshot arrival_uncertainty;  // time since the previous poll
};

struct EngineSnapshot {
  TimeNs uptime{};
  double clock_error_ppm = 0;
  bool valid = true;                 // the certificate's verdict so far
  std::vector<std::string> reasons;  // why not
  std::vector<DirectionSnapshot> directions;
  std::vector<PortSnapshot> ports;
};

struct Applied {
  TimeNs at{};  // engine time at which the change took effect
};

class EngineControl {
 public:
  virtual ~EngineControl() = default;

  // One consistent reading: conservation holds within it for every direction.
  virtual EngineSnapshot snapshot() const = 0;
  // `direction` empty: both. All changes of one call take effect at the same instant per direction.
  virtual Result<Applied> change(std::string_view link, std::optional<Direction> direction,
                                 const std::vector<link::Change>& changes) = 0;
  // One fault rule more, after the others; its name is given.
  virtual Result<Applied> add_rule(std::string_view link, Direction direction,
                                   const config::Rule& rule) = 0;
  // `name` empty: all. kNotFound where none has it.
  virtual Result<Applied> remove_rule(std::string_view link, Direction direction,
                                      const std::optional<std::string>& name) = 0;
  // Starts a new epoch of wire time, and the timeline anew, on every link.
  virtual Result<Applied> start_epoch() = 0;
  // Those that a link's observer follows, both directions; times since the engine's start.
  virtual Result<std::vector<roce::QpSnapshot>> queue_pairs(std::string_view link) = 0;
  // JSON, schema "farspan.certificate.v1", of the run so far.
  virtual std::string certificate() const = 0;
};

}  // namespace farspan::control
