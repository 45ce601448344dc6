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
  if (direction) number = *direction == control::Direction::kAb ? 0 : 1;
  return engine_.change(link, number, changes).map([](TimeNs at) { return control::Applied{at}; });
}

Result<control::Applied> EngineView::start_epoch() {
  return engine_.start_epoch().map([](TimeNs at) { return control::Applied{at}; });
}

Result<std::vector<roce::QpSnapshot>> EngineView::queue_pairs(std::string_view link) {
  return engine_.queue_pairs(link);
}

std::string EngineView::certificate() const { return Certify(engine_.record()).json; }

}  // namespace farspan::dpdk
