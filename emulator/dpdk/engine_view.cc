#include "emulator/dpdk/engine_view.h"

#include "emulator/dpdk/certificate.h"
#include "emulator/dpdk/histogram_snapshot.h"
#include "emulator/link/path.h"

namespace farspan::dpdk {
namespace {

control::PortSnapshot SnapshotOf(const PortRecord& port) {
  control::PortSnapshot out;
  out.name = port.name;
  out.rx_packets = port.reading.rx_packets;
  out.rx_bytes = port.reading.rx_bytes;
  out.tx_packets = port.reading.tx_packets;
  out.tx_bytes = port.reading.tx_bytes;
  (port.reading.kernel ? out.own_kernel_missed : out.own_missed) = port.reading.own_missed;
  out.own_no_buffer = port.reading.own_no_buffer + port.seen->no_buffer.load();
  out.own_egress_full =
      port.reading.own_unsent + port.seen->egress_full.load() + port.seen->handover_full.load();
  out.own_oversize = port.reading.own_oversize;
  out.super_frames = port.seen->super_frames.load();
  out.malformed = port.seen->malformed.load();
  out.bypassed = port.seen->bypassed.load();
  out.tx_backlog = port.seen->backlog.load();
  out.pause_frames_sent = port.seen->pause_sent.load();
  out.pause_frames_received = port.seen->pause_received.load();
  for (uint8_t p = 0; p < link::kPfcPriorities; ++p) {
    if ((port.pause_priorities >> p & 1) != 0) {
      out.pause_asked.push_back({p, TimeNs{port.seen->pause_asked_ns[p].load()}});
    }
    if (port.heeds_pauses) out.paused.push_back({p, TimeNs{port.seen->pause_heeded_ns[p].load()}});
  }
  out.lateness = dpdk::SnapshotOf(port.seen->lateness);
  out.arrival_uncertainty = dpdk::SnapshotOf(port.seen->arrival_uncertainty);
  return out;
}

control::RuleSnapshot SnapshotOf(const RuleRecord& r) {
  return {.name = r.rule.name,
          .match = r.rule.match,
          .limits = r.rule.limits,
          .action = r.rule.action,
          .number = r.number,
          .since = r.since,
          .removed_at = r.removed_at,
          .matched = r.tally.matched,
          .picked = r.tally.picked,
          .hits = r.tally.hits};
}

uint32_t NumberOf(control::Direction d) { return d == control::Direction::kAb ? 0 : 1; }

control::Applied AppliedAt(TimeNs at) { return {at}; }

}  // namespace

control::EngineSnapshot EngineView::snapshot() const {
  const RunRecord record = engine_.record();
  control::EngineSnapshot out;
  out.uptime = record.duration;
  out.clock_error_ppm = record.clock.error_ppm();
  out.reasons = ReasonsAgainst(record);
  out.valid = out.reasons.empty();
  for (size_t i = 0; i < record.directions.size(); ++i) {
    const DirectionRecord& d = record.directions[i];
    control::DirectionSnapshot direction;
    direction.link = d.link;
    direction.direction = i % 2 == 0 ? control::Direction::kAb : control::Direction::kBa;
    direction.from = d.from;
    direction.to = d.to;
    direction.counters = d.counters;
    direction.rdma = d.rdma;
    direction.spec = engine_.direction_spec(i);
    direction.delay = link::OneWayDelay(direction.spec.lanes[0].path);
    const config::LinkSpec& link = engine_.config().links[i / 2];
    direction.events = i % 2 == 0 ? link.ab_events : link.ba_events;
    for (const RuleRecord& rule : d.rules) direction.rules.push_back(SnapshotOf(rule));
    for (const PortRecord& port : record.ports) {
      if (port.site == d.to) direction.egress_port = port.name;
    }
    out.directions.push_back(std::move(direction));
  }
  for (const PortRecord& port : record.ports) out.ports.push_back(SnapshotOf(port));
  return out;
}

Result<control::Applied> EngineView::change(std::string_view link,
                                            std::optional<control::Direction> direction,
                                            const std::vector<link::Change>& changes) {
  std::optional<uint32_t> number;
  if (direction) number = NumberOf(*direction);
  return engine_.change(link, number, changes).map(AppliedAt);
}

Result<control::Applied> EngineView::add_rule(std::string_view link, control::Direction direction,
                                              const config::Rule& rule) {
  return engine_.add_rule(link, NumberOf(direction), rule).map(AppliedAt);
}

Result<control::Applied> EngineView::remove_rule(std::string_view link,
                                                 control::Direction direction,
                                                 const std::optional<std::string>& name) {
  return engine_.remove_rule(link, NumberOf(direction), name).map(AppliedAt);
}

Result<control::Applied> EngineView::start_epoch() { return engine_.start_epoch().map(AppliedAt); }

Result<std::vector<roce::QpSnapshot>> EngineView::queue_pairs(std::string_view link) {
  return engine_.queue_pairs(link);
}

std::string EngineView::certificate() const { return Certify(engine_.record()).json; }

}  // namespace farspan::dpdk
