// The certificate as JSON: everything that its verdict rests on. Times in whole nanoseconds.
#include <nlohmann/json.hpp>
#include <optional>

#include "emulator/dpdk/certificate.h"

namespace farspan::dpdk {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const LatencyHistogram& h) {
  const uint64_t count = h.count();
  return {{"count", count},
          {"negative", h.negative()},
          {"mean_ns", count == 0 ? 0 : h.sum_ns() / static_cast<double>(count)},
          {"p50_ns", h.quantile(0.5).ns},
          {"p90_ns", h.quantile(0.9).ns},
          {"p99_ns", h.quantile(0.99).ns},
          {"p999_ns", h.quantile(0.999).ns},
          {"max_ns", h.max().ns}};
}

Json ToJson(const std::optional<SpinGaps>& gaps) {
  if (!gaps) return nullptr;
  return {{"measured_ns", gaps->total().ns},
          {"p50_ns", gaps->quantile(0.5).ns},
          {"p99_ns", gaps->quantile(0.99).ns},
          {"p999_ns", gaps->quantile(0.999).ns},
          {"max_ns", gaps->max().ns},
          {"share_of_time_above_1us", gaps->share_in_long_gaps()},
          {"expected_lateness_p50_ns", gaps->expected_lateness(0.5).ns},
          {"expected_lateness_p99_ns", gaps->expected_lateness(0.99).ns},
          {"expected_lateness_p999_ns", gaps->expected_lateness(0.999).ns}};
}

Json ToJson(const Books& books) {
  return {{"came", books.came},
          {"accounted", books.accounted},
          {"tolerance", books.tolerance},
          {"balanced", books.balanced()}};
}

Json ToJson(const config::PortBudget& budget) {
  return {{"lateness_p50_ns", budget.lateness_p50.ns},
          {"lateness_p99_ns", budget.lateness_p99.ns},
          {"lateness_max_ns", budget.lateness_max.ns},
          {"arrival_p99_ns", budget.arrival_p99.ns}};
}

Json ToJson(const ClockQuality& clock) {
  return {{"reference", "CLOCK_MONOTONIC_RAW"},
          {"tick_hz", clock.tick_hz},
          {"error_ppm", clock.error_ppm()},
          {"rate_uncertainty_ppm", clock.rate_uncertainty_ppm},
          {"slew_ppm", clock.slew_ppm},
          {"slew_ppm_max", clock.slew_ppm_max},
          {"offset_ns", clock.offset_ns},
          {"offset_ns_max", clock.offset_ns_max},
          {"sample_uncertainty_ns", clock.sample_uncertainty_ns},
          {"samples", clock.samples},
          {"samples_skipped", clock.samples_skipped}};
}

Json ToJson(const std::optional<KernelCounters>& kernel) {
  if (!kernel) return nullptr;
  return {{"rx_packets", kernel->rx_packets}, {"rx_bytes", kernel->rx_bytes},
          {"rx_dropped", kernel->rx_dropped}, {"rx_errors", kernel->rx_errors},
          {"tx_packets", kernel->tx_packets}, {"tx_bytes", kernel->tx_bytes},
          {"tx_dropped", kernel->tx_dropped}};
}

Json LcoreJson(const RunRecord& record, size_t index) {
  const LcoreRecord& lcore = record.lcores[index];
  return {{"cpu", lcore.cpu},
          {"spins", lcore.spins},
          {"loop_gap", ToJson(*lcore.loop)},
          {"loop_gap_max_allowed_ns", LoopBudget(record, index).ns},
          {"machine_before", ToJson(lcore.before)},
          {"machine_after", ToJson(lcore.after)}};
}

Json PortJson(const PortRecord& port) {
  const PortReading& r = port.reading;
  const PortObservations& seen = *port.seen;
  Json drops = Json::object();
  for (const OwnDropCount& drop : OwnDropsOf(port)) {
    drops[std::string(drop.cause)] = {{"packets", drop.packets}, {"at_most", drop.bound}};
  }
  return {{"name", port.name},
          {"site", port.site},
          {"kind", ToText(port.kind)},
          {"left_at", ToText(port.left)},
          {"lcore", port.lcore},
          {"lateness", ToJson(seen.lateness)},
          {"early", seen.lateness.negative()},
          {"send_ahead_ns", port.lead.ns},
          {"scheduled", seen.scheduled.load()},
          {"pace_errors", r.pace_errors},
          {"arrival_uncertainty", ToJson(seen.arrival_uncertainty)},
          {"arrival_stamps", port.stamps},
          {"own_drops", std::move(drops)},
          {"super_frames", seen.super_frames.load()},
          {"truncated", seen.truncated.load()},
          {"malformed", seen.malformed.load()},
          {"bypassed", seen.bypassed.load()},
          {"unroutable", seen.unroutable.load()},
          {"copies", seen.copies.load()},
          {"broadcasts", seen.broadcasts.load()},
          {"egress_dropped", seen.egress_dropped.load()},
          {"backlog", seen.backlog.load()},
          {"pause_sent", seen.pause_sent.load()},
          {"pause_received", seen.pause_received.load()},
          {"pause_late_max_ns", seen.pause_late_max_ns.load()},
          {"pause_late_allowed_ns", port.pause_gap.ns},
          {"driver",
           {{"rx_packets", r.rx_packets},
            {"rx_bytes", r.rx_bytes},
            {"rx_errors", r.rx_errors},
            {"tx_packets", r.tx_packets},
            {"tx_bytes", r.tx_bytes},
            {"tx_errors", r.tx_errors}}},
          {"kernel", ToJson(r.kernel)},
          {"settled", r.settled()}};
}

Json RuleJson(const RuleRecord& r) {
  Json out{{"name", r.rule.name},
           {"match", r.rule.match},
           {"action", r.rule.action},
           {"limits", r.rule.limits},
           {"since_ns", r.since.ns},
           {"removed_at_ns", nullptr},
           {"matched_packets", r.tally.matched},
           {"picked_packets", r.tally.picked},
           {"hit_packets", r.tally.hits}};
  if (r.removed_at != kNever) out["removed_at_ns"] = r.removed_at.ns;
  return out;
}

Json DirectionJson(const DirectionRecord& d) {
  const link::DirectionCounters& c = d.counters;
  Json emulated = Json::object();
  Json own = Json::object();
  Json rules = Json::array();
  for (const RuleRecord& rule : d.rules) rules.push_back(RuleJson(rule));
  for (int i = 1; i < link::kCauseCount; ++i) {
    const auto cause = static_cast<link::Cause>(i);
    (link::IsOwn(cause) ? own : emulated)[std::string(link::ToText(cause))] =
        c.dropped_packets[static_cast<size_t>(i)];
  }
  return {{"link", d.link},
          {"direction", d.direction},
          {"from", d.from},
          {"to", d.to},
          {"offered_packets", c.offered_packets},
          {"offered_wire_bytes", c.offered_bytes},
          {"forwarded_packets", c.forwarded_packets},
          {"forwarded_wire_bytes", c.forwarded_bytes},
          {"emulated_drops", std::move(emulated)},
          {"own_drops", std::move(own)},
          {"duplicated_packets", c.duplicated_packets},
          {"marked_packets", c.marked_packets},
          {"corrupted_packets", c.corrupted_packets},
          {"order_clamps", c.order_clamps},
          {"jitter_clamps", c.jitter_clamps},
          {"held_packets", c.held_packets},
          {"rules", std::move(rules)},
          {"conservation", ToJson(LinkBooks(c))}};
}

}  // namespace

std::string CertificateJson(const RunRecord& record, const std::vector<std::string>& reasons) {
  Json lcores = Json::array();
  Json ports = Json::array();
  Json directions = Json::array();
  for (size_t i = 0; i < record.lcores.size(); ++i) lcores.push_back(LcoreJson(record, i));
  for (const PortRecord& port : record.ports) ports.push_back(PortJson(port));
  for (const DirectionRecord& d : record.directions) directions.push_back(DirectionJson(d));
  const Json certificate{{"schema", "farspan.certificate.v1"},
                         {"valid", reasons.empty()},
                         {"finished", record.finished},
                         {"reasons", reasons},
                         {"version", FARSPAN_VERSION},
                         {"duration_ns", record.duration.ns},
                         {"seed", record.seed},
                         {"clock", ToJson(record.clock)},
                         {"budgets",
                          {{"pci", ToJson(record.budgets.pci)},
                           {"software", ToJson(record.budgets.software)},
                           {"clock_ppm", record.budgets.clock_ppm}}},
                         {"lcores", std::move(lcores)},
                         {"ports", std::move(ports)},
                         {"arrivals", ToJson(ArrivalBooks(record))},
                         {"departures", ToJson(DepartureBooks(record))},
                         {"directions", std::move(directions)}};
  // Names come from the command line and need not be UTF-8.
  return certificate.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace farspan::dpdk
