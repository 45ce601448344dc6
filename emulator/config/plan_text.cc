// The plan as text for people and as JSON for programs.

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "emulator/config/plan.h"

namespace farspan::config {
namespace {

using Json = nlohmann::ordered_json;
using Out = std::back_insert_iterator<std::string>;

constexpr int kTermWidth = 44;

std::string_view KindText(PortKind kind) {
  switch (kind) {
    case PortKind::kPci:
      return "DPDK device";
    case PortKind::kAfPacket:
      return "af_packet";
    case PortKind::kAfXdp:
      return "af_xdp";
    case PortKind::kVhost:
      return "vhost-user";
    case PortKind::kVdev:
      return "DPDK vdev";
  }
  return {};
}

// Whether a port sends on timestamps is known when it is opened.
std::string LeadText(PortKind kind, const LeadPlan& plan) {
  if (kind != PortKind::kPci) return "";
  if (plan.lead.ns == 0) return "; sends when due: " + plan.why_not;
  return "; if it sends on timestamps, given frames " + ToText(plan.lead) + " ahead";
}

std::string_view ModeText(Mode mode) { return mode == Mode::kWire ? "wire" : "mesh"; }

std::string CountText(size_t count, std::string_view word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

// Grouped in thousands: 1,234,567.
std::string Grouped(uint64_t value) {
  std::string text = std::to_string(value);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

std::string MiB(uint64_t bytes) { return Grouped((bytes + (1u << 20) - 1) >> 20) + " MiB"; }

bool Alike(const LanePlan& a, const LanePlan& b) {
  const auto same_term = [](const link::DelayTerm& x, const link::DelayTerm& y) {
    return x.name == y.name && x.value == y.value;
  };
  const auto same_loss = [](const LossBySize& x, const LossBySize& y) {
    return x.probability == y.probability;
  };
  return a.rate == b.rate &&
         std::equal(a.terms.begin(), a.terms.end(), b.terms.begin(), b.terms.end(), same_term) &&
         std::equal(a.loss.begin(), a.loss.end(), b.loss.begin(), b.loss.end(), same_loss);
}

void LaneText(const LanePlan& lane, Out out) {
  const char* heading = "delay";
  for (const link::DelayTerm& term : lane.terms) {
    fmt::format_to(out, "  {:<8} {:<{}} {:>16}\n", heading, term.name, kTermWidth,
                   ToText(term.value));
    heading = "";
  }
  fmt::format_to(out, "  {:<8} {:<{}} {:>16}\n", "", "one way", kTermWidth, ToText(lane.delay));
  fmt::format_to(out, "  {:<8} {}\n", "rate",
                 lane.rate.bits_per_s == 0 ? "no bottleneck" : ToText(lane.rate));
  fmt::format_to(out, "  {:<8} ", "loss");
  if (lane.loss.empty() || lane.loss.back().probability == 0) {
    fmt::format_to(out, "none\n");
    return;
  }
  for (const LossBySize& loss : lane.loss) {
    fmt::format_to(out, "{}{} B: {:.3g}", &loss == &lane.loss.front() ? "" : ", ", loss.frame_bytes,
                   loss.probability);
  }
  fmt::format_to(out, "\n");
}

void PfcText(const PfcPlan& plan, Out out) {
  const link::PfcSpec& pfc = plan.spec;
  fmt::format_to(out,
                 "  {:<8} class {}, priority {}: pauses at {} bytes waiting, goes on at {}; {} "
                 "quanta at {} are {}\n",
                 "pfc", plan.name, pfc.priority, Grouped(pfc.xoff_bytes), Grouped(pfc.xon_bytes),
                 pfc.quanta, ToText(pfc.line_rate),
                 ToText(link::QuantaTime(pfc.quanta, pfc.line_rate)));
  const char* heading = "headroom";
  for (const link::HeadroomTerm& term : plan.terms) {
    fmt::format_to(out, "  {:<8} {:<{}} {:>14} B\n", heading, term.name, kTermWidth,
                   Grouped(term.bytes));
    heading = "";
  }
  fmt::format_to(out, "  {:<8} {:<{}} {:>14} B; {} B between xoff and the limit: {}\n", "",
                 "together", kTermWidth, Grouped(plan.headroom_bytes),
                 Grouped(plan.limit_bytes - pfc.xoff_bytes),
                 plan.lossless() ? "lossless" : "NOT ENOUGH, it may lose");
}

void RulesText(const std::vector<Rule>& rules, Out out) {
  const char* heading = "rules";
  for (const Rule& rule : rules) {
    fmt::format_to(out, "  {:<8} {}: {}{}{}: {}{}\n", heading, rule.name,
                   rule.match.empty() ? "every packet" : rule.match,
                   rule.limits.empty() ? "" : ", ", rule.limits, rule.action,
                   rule.conditions.roce.needs_observer() ? " (follows queue pairs)" : "");
    heading = "";
  }
}

void DirectionText(const DirectionPlan& plan, uint32_t plan_frame, Out out) {
  fmt::format_to(out, "\nlink {}, {} to {}\n", plan.link, plan.from, plan.to);
  if (!plan.source.empty()) fmt::format_to(out, "  {:<8} {}\n", "route", plan.source);
  for (size_t i = 0; i < plan.lanes.size(); ++i) {
    const size_t first = i;
    while (i + 1 < plan.lanes.size() && Alike(plan.lanes[first], plan.lanes[i + 1])) ++i;
    if (i > first) fmt::format_to(out, "  lanes {} to {}, each\n", first, i);
    if (i == first && plan.lanes.size() > 1) fmt::format_to(out, "  lane {}\n", i);
    LaneText(plan.lanes[first], out);
  }
  for (const PfcPlan& pfc : plan.pfc) PfcText(pfc, out);
  fmt::format_to(out, "  {:<8} round trip {}; BDP {} bytes, {} packets of full size\n", "path",
                 ToText(plan.round_trip), Grouped(plan.bdp_bytes), Grouped(plan.bdp_packets));
  fmt::format_to(out, "  {:<8} {}{} x {} (the largest delay): {} bytes in the fiber, {} waiting\n",
                 "planned", ToText(plan.rate), plan.rate_assumed ? " (assumed)" : "",
                 ToText(plan.largest_delay), Grouped(plan.fiber_bytes), Grouped(plan.queue_bytes));
  fmt::format_to(out, "  {:<8} at most {} packets of {} B on average ({}); model {}; lcore {}\n",
                 "held", Grouped(plan.held_packets), plan_frame,
                 PacketRateToText(plan.packets_per_s), MiB(plan.model_bytes), plan.lcore);
}

void MemoryText(const MemoryReport& memory, Out out) {
  fmt::format_to(out, "\nmemory\n");
  if (!memory.known) {
    fmt::format_to(out, "  not planned: this build has no DPDK engine\n");
    return;
  }
  fmt::format_to(out, "  packets  {} mbufs, {} of {}\n", Grouped(memory.mbufs),
                 MiB(memory.eal_bytes), memory.hugepages ? "hugepages" : "ordinary pages");
  fmt::format_to(out, "  other    {}\n", MiB(memory.heap_bytes));
  fmt::format_to(out, "  {}{}\n", memory.fits ? "fits" : "DOES NOT FIT: ",
                 memory.fits && !memory.message.empty() ? "; " + memory.message : memory.message);
}

Json LaneJson(const LanePlan& lane) {
  Json terms = Json::array();
  for (const link::DelayTerm& term : lane.terms) {
    terms.push_back({{"name", term.name}, {"ns", term.value.ns}});
  }
  Json loss = Json::array();
  for (const LossBySize& row : lane.loss) {
    loss.push_back({{"frame_bytes", row.frame_bytes}, {"probability", row.probability}});
  }
  return {{"delay_ns", lane.delay.ns},
          {"terms", terms},
          {"rate_bits_per_s", lane.rate.bits_per_s},
          {"expected_loss", loss}};
}

Json PfcJson(const PfcPlan& plan) {
  Json terms = Json::array();
  for (const link::HeadroomTerm& term : plan.terms) {
    terms.push_back({{"name", term.name}, {"bytes", term.bytes}});
  }
  return {{"class", plan.name},
          {"priority", plan.spec.priority},
          {"xoff_bytes", plan.spec.xoff_bytes},
          {"xon_bytes", plan.spec.xon_bytes},
          {"limit_bytes", plan.limit_bytes},
          {"quanta", plan.spec.quanta},
          {"line_rate_bits_per_s", plan.spec.line_rate.bits_per_s},
          {"headroom_bytes", plan.headroom_bytes},
          {"headroom_terms", terms},
          {"lossless", plan.lossless()}};
}

Json DirectionJson(const DirectionPlan& plan) {
  Json lanes = Json::array();
  for (const LanePlan& lane : plan.lanes) lanes.push_back(LaneJson(lane));
  Json json{{"link", plan.link},
            {"direction", plan.direction},
            {"from", plan.from},
            {"to", plan.to},
            {"source", plan.source},
            {"lanes", lanes},
            {"round_trip_ns", plan.round_trip.ns},
            {"bdp_bytes", plan.bdp_bytes},
            {"bdp_packets", plan.bdp_packets},
            {"planned_rate_bits_per_s", plan.rate.bits_per_s},
            {"planned_rate_assumed", plan.rate_assumed},
            {"largest_delay_ns", plan.largest_delay.ns},
            {"fiber_bytes", plan.fiber_bytes},
            {"queue_bytes", plan.queue_bytes},
            {"packets_per_s", plan.packets_per_s},
            {"held_packets", plan.held_packets},
            {"model_bytes", plan.model_bytes},
            {"lcore", plan.lcore}};
  for (const PfcPlan& pfc : plan.pfc) json["pfc"].push_back(PfcJson(pfc));
  return json;
}

}  // namespace

std::string PlanText(const EmulatorConfig& config, const Plan& plan, const MemoryReport& memory) {
  std::string text;
  const Out out = std::back_inserter(text);
  fmt::format_to(out, "{}: {}, {}, seed {}\n\nsites\n", ModeText(config.mode),
                 CountText(config.sites.size(), "site"), CountText(config.links.size(), "link"),
                 config.seed);
  for (size_t i = 0; i < config.sites.size(); ++i) {
    const SiteSpec& site = config.sites[i];
    fmt::format_to(out, "  {:<16} {} ({}{})\n", site.name, site.port.text, KindText(site.port.kind),
                   LeadText(site.port.kind, plan.leads[i]));
  }
  for (size_t i = 0; i < plan.directions.size(); ++i) {
    DirectionText(plan.directions[i], config.engine.plan_frame_bytes, out);
    RulesText(i % 2 == 0 ? config.links[i / 2].ab_rules : config.links[i / 2].ba_rules, out);
  }
  for (const EgressPlan& egress : plan.egresses) {
    fmt::format_to(out, "\negress of {}: {}, {} bytes waiting, {} packets\n", egress.site,
                   ToText(egress.rate), Grouped(egress.queue_bytes), Grouped(egress.held_packets));
  }
  fmt::format_to(out, "\nlcores   {} for packets\n", plan.lcores);
  MemoryText(memory, out);
  return text;
}

std::string PlanJson(const EmulatorConfig& config, const Plan& plan, const MemoryReport& memory) {
  Json json{{"schema", "farspan.plan.v1"}, {"mode", ModeText(config.mode)}, {"seed", config.seed}};
  for (size_t i = 0; i < config.sites.size(); ++i) {
    const SiteSpec& site = config.sites[i];
    json["sites"].push_back({{"name", site.name},
                             {"port", site.port.text},
                             {"kind", KindText(site.port.kind)},
                             {"send_ahead_at_most_ns", plan.leads[i].lead.ns},
                             {"send_ahead_why_not", plan.leads[i].why_not}});
  }
  for (const DirectionPlan& direction : plan.directions) {
    json["directions"].push_back(DirectionJson(direction));
  }
  json["egresses"] = Json::array();
  for (const EgressPlan& egress : plan.egresses) {
    json["egresses"].push_back({{"site", egress.site},
                                {"rate_bits_per_s", egress.rate.bits_per_s},
                                {"queue_bytes", egress.queue_bytes},
                                {"held_packets", egress.held_packets}});
  }
  json["plan_frame_bytes"] = config.engine.plan_frame_bytes;
  json["lcores"] = plan.lcores;
  json["memory"] = nullptr;
  if (memory.known) {
    json["memory"] = {{"fits", memory.fits},
                      {"message", memory.message},
                      {"hugepages", memory.hugepages},
                      {"mbufs", memory.mbufs},
                      {"packet_bytes", memory.eal_bytes},
                      {"other_bytes", memory.heap_bytes}};
  }
  return json.dump(2) + '\n';
}

}  // namespace farspan::config
