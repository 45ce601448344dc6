// Snapshots as JSON. Counts are numbers; quantities come twice, as a text for people and with their
// unit in the key for programs.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "emulator/control/api.h"
#include "emulator/control/derived.h"

namespace farspan::control {
namespace {

using json = nlohmann::ordered_json;

std::string LossText(const link::LossSpec& loss) {
  switch (loss.kind) {
    case link::LossKind::kNone:
      return "none";
    case link::LossKind::kBernoulli:
      return ProbabilityToText(loss.probability);
    case link::LossKind::kGilbertElliott:
      return fmt::format("Gilbert-Elliott, p {} r {}", ProbabilityToText(loss.ge_p),
                         ProbabilityToText(loss.ge_r));
    case link::LossKind::kBurst:
      return fmt::format("bursts of {} at {}", loss.burst_frames,
                         ProbabilityToText(loss.burst_rate));
    case link::LossKind::kBitError:
      return fmt::format("bit errors at {:g}", loss.bit_error_rate);
    case link::LossKind::kMask:
      return "mask";
    case link::LossKind::kTrace:
      return "trace";
    case link::LossKind::kPeriodic:
      return "periodic";
  }
  return "";
}

json LaneJson(const link::LaneSpec& lane) {
  json out{{"distance", ToText(lane.path.length)},
           {"distance_m", static_cast<double>(lane.path.length.mm) * 1e-3},
           {"rate", nullptr},
           {"rate_bits_per_s", nullptr},
           {"loss", LossText(lane.loss)},
           {"weight", lane.weight}};
  if (lane.rate.bits_per_s != 0) {
    out["rate"] = ToText(lane.rate);
    out["rate_bits_per_s"] = lane.rate.bits_per_s;
  }
  return out;
}

json DropsJson(const link::DirectionCounters& counters, bool own) {
  json out = json::object();
  for (int i = 1; i < link::kCauseCount; ++i) {
    const auto cause = static_cast<link::Cause>(i);
    if (link::IsOwn(cause) == own) out[std::string(ToText(cause))] = counters.dropped_packets[i];
  }
  return out;
}

json DirectionJson(const DirectionSnapshot& d) {
  const link::DirectionCounters& c = d.counters;
  json lanes = json::array();
  for (const link::LaneSpec& lane : d.spec.lanes) lanes.push_back(LaneJson(lane));
  return {{"direction", ToText(d.direction)},
          {"from", d.from},
          {"to", d.to},
          {"egress_port", d.egress_port},
          {"delay", ToText(d.delay)},
          {"delay_ns", d.delay.ns},
          {"jitter", ToText(d.spec.jitter.deviation)},
          {"jitter_ns", d.spec.jitter.deviation.ns},
          {"lanes", lanes},
          {"offered_packets", c.offered_packets},
          {"offered_bytes", c.offered_bytes},
          {"forwarded_packets", c.forwarded_packets},
          {"forwarded_bytes", c.forwarded_bytes},
          {"emulated_drops", DropsJson(c, false)},
          {"own_drops", DropsJson(c, true)},
          {"duplicated_packets", c.duplicated_packets},
          {"marked_packets", c.marked_packets},
          {"corrupted_packets", c.corrupted_packets},
          {"order_clamps", c.order_clamps},
          {"jitter_clamps", c.jitter_clamps},
          {"held_packets", c.held_packets},
          {"queue_packets", c.queue_packets},
          {"queue_bytes", c.queue_bytes}};
}

json RuleJson(const DirectionSnapshot& d, const RuleSnapshot& rule) {
  json out{{"name", rule.name},
           {"direction", ToText(d.direction)},
           {"match", rule.match},
           {"action", rule.action},
           {"limits", rule.limits},
           {"in_force", rule.removed_at == kNever},
           {"since_ns", rule.since.ns},
           {"removed_at_ns", nullptr},
           {"matched_packets", rule.matched},
           {"picked_packets", rule.picked},
           {"hit_packets", rule.hits}};
  if (rule.removed_at != kNever) out["removed_at_ns"] = rule.removed_at.ns;
  return out;
}

json HistogramJson(const HistogramSnapshot& h) {
  return {{"count", h.counts.empty() ? 0 : h.counts.back()},
          {"p50_ns", Quantile(h, 0.5).ns},
          {"p99_ns", Quantile(h, 0.99).ns},
          {"p999_ns", Quantile(h, 0.999).ns},
          {"max_ns", h.max.ns}};
}

json PausedJson(const std::vector<PausedTime>& times) {
  json out = json::array();
  for (const PausedTime& t : times) out.push_back({{"priority", t.priority}, {"ns", t.time.ns}});
  return out;
}

json PortJson(const PortSnapshot& p) {
  json own = json::object();
  for (const auto& [cause, packets] : OwnDrops(p)) own[std::string(cause)] = packets;
  return {{"name", p.name},
          {"received_packets", p.rx_packets},
          {"received_bytes", p.rx_bytes},
          {"sent_packets", p.tx_packets},
          {"sent_bytes", p.tx_bytes},
          {"own_drops", own},
          {"super_frames", p.super_frames},
          {"malformed_packets", p.malformed},
          {"bypassed_packets", p.bypassed},
          {"tx_backlog_packets", p.tx_backlog},
          {"pause_frames_sent", p.pause_frames_sent},
          {"pause_frames_received", p.pause_frames_received},
          {"pause_asked", PausedJson(p.pause_asked)},
          {"paused", PausedJson(p.paused)},
          {"lateness", HistogramJson(p.lateness)},
          {"arrival_uncertainty", HistogramJson(p.arrival_uncertainty)}};
}

// In the order in which the engine names them.
json LinksArray(const EngineSnapshot& engine) {
  json links = json::array();
  for (const DirectionSnapshot& d : engine.directions) {
    auto at = std::find_if(links.begin(), links.end(),
                           [&](const json& link) { return link["name"] == d.link; });
    if (at == links.end()) {
      links.push_back({{"name", d.link}, {"directions", json::array()}});
      at = links.end() - 1;
    }
    (*at)["directions"].push_back(DirectionJson(d));
  }
  return links;
}

// Names and messages may hold bytes that are no UTF-8: they are replaced, not thrown about.
std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string LinksJson(const EngineSnapshot& engine) {
  json ports = json::array();
  for (const PortSnapshot& p : engine.ports) ports.push_back(PortJson(p));
  return Dump({{"schema", "farspan.links.v1"},
               {"uptime_ns", engine.uptime.ns},
               {"clock_error_ppm", engine.clock_error_ppm},
               {"valid", engine.valid},
               {"reasons", engine.reasons},
               {"links", LinksArray(engine)},
               {"ports", ports}});
}

std::string HealthJson(const EngineSnapshot& engine) {
  return Dump({{"status", "ok"}, {"valid", engine.valid}, {"uptime_ns", engine.uptime.ns}});
}

Result<std::string> LinkJson(const EngineSnapshot& engine, std::string_view link) {
  for (json& found : LinksArray(engine)) {
    if (found["name"] != link) continue;
    found["schema"] = "farspan.link.v1";
    found["uptime_ns"] = engine.uptime.ns;
    return Dump(found);
  }
  return tl::unexpected(NoSuchLink(engine, link));
}

Result<std::string> RulesJson(const EngineSnapshot& engine, std::string_view link,
                              const std::optional<std::string>& name) {
  json rules = json::array();
  bool known = false;
  for (const DirectionSnapshot& d : engine.directions) {
    if (d.link != link) continue;
    known = true;
    for (const RuleSnapshot& rule : d.rules) {
      if (!name || rule.name == *name) rules.push_back(RuleJson(d, rule));
    }
  }
  if (!known) return tl::unexpected(NoSuchLink(engine, link));
  if (name && rules.empty()) {
    return Fail(ErrorCode::kNotFound, fmt::format("no rule \"{}\" on link \"{}\"", *name, link));
  }
  return Dump({{"schema", "farspan.rules.v1"},
               {"link", link},
               {"uptime_ns", engine.uptime.ns},
               {"rules", rules}});
}

std::string AppliedJson(const std::vector<AppliedChange>& applied, std::string_view rule) {
  json list = json::array();
  for (const AppliedChange& a : applied) {
    json entry{{"at_ns", a.at.ns}};
    if (a.direction) entry["direction"] = ToText(*a.direction);
    list.push_back(std::move(entry));
  }
  json out{{"schema", "farspan.applied.v1"}};
  if (!rule.empty()) out["rule"] = rule;
  out["applied"] = std::move(list);
  return Dump(out);
}

std::string ErrorJson(std::string_view code, std::string_view message) {
  return Dump({{"error", {{"code", code}, {"message", message}}}});
}

}  // namespace farspan::control
