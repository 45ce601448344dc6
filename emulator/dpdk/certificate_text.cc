// The certificate for a terminal: the verdict, then one block per clock, lcore, port and direction.
#include <fmt/format.h>

#include <cmath>
#include <iterator>

#include "emulator/dpdk/certificate.h"

namespace farspan::dpdk {
namespace {

using Out = fmt::memory_buffer;

template <typename... T>
void Line(Out& out, fmt::format_string<T...> format, T&&... values) {
  fmt::format_to(std::back_inserter(out), format, std::forward<T>(values)...);
  out.push_back('\n');
}

std::string Quantiles(const LatencyHistogram& h) {
  return fmt::format("p50 {}, p99 {}, p99.9 {}, max {}", ShortText(h.quantile(0.5)),
                     ShortText(h.quantile(0.99)), ShortText(h.quantile(0.999)), ShortText(h.max()));
}

void WriteLcore(const RunRecord& record, size_t index, Out& out) {
  const LcoreRecord& lcore = record.lcores[index];
  Line(out, "CPU {} ({}): loop {} (budget: max {})", lcore.cpu, lcore.spins ? "spins" : "sleeps",
       Quantiles(*lcore.loop), ShortText(LoopBudget(record, index)));
  const auto gaps = [&](std::string_view when, const std::optional<SpinGaps>& g) {
    if (!g) return;
    Line(out,
         "  a bare spin loop {}: {:.3g} % of time in gaps above 1 us, max {}; a perfect engine's "
         "lateness p50 {}, p99 {}",
         when, 100 * g->share_in_long_gaps(), ShortText(g->max()),
         ShortText(g->expected_lateness(0.5)), ShortText(g->expected_lateness(0.99)));
  };
  gaps("before", lcore.before);
  gaps("after", lcore.after);
}

void WritePort(const RunRecord& record, const PortRecord& port, Out& out) {
  const config::PortBudget& budget = record.budgets.of(port.kind);
  const PortReading& r = port.reading;
  std::string oddities;
  const auto note = [&](std::string_view what, const std::atomic<uint64_t>& packets) {
    if (packets != 0) oddities += fmt::format(", {} {}", what, packets.load());
  };
  note("bypassed", port.seen->bypassed);
  note("unroutable", port.seen->unroutable);
  note("dropped by the site's egress", port.seen->egress_dropped);
  note("malformed", port.seen->malformed);
  note("truncated", port.seen->truncated);
  note("super-frames", port.seen->super_frames);
  note("waiting", port.seen->backlog);
  note("pause frames sent", port.seen->pause_sent);
  note("pause frames kept", port.seen->pause_received);
  Line(out, "port {} (site {}, {}): received {}, sent {}{}", port.name, port.site,
       ToText(port.kind), r.rx_packets, r.tx_packets, oddities);
  Line(out, "  lateness ({}): {}; early {} (budget: p50 {}, p99 {}, max {}, early 0)",
       ToText(port.left), Quantiles(port.seen->lateness), port.seen->lateness.negative(),
       ShortText(budget.lateness_p50), ShortText(budget.lateness_p99),
       ShortText(budget.lateness_max));
  if (port.left == LeftAt::kScheduled) {
    Line(out,
         "  {} packets were handed to the port up to {} before they were due, with their times: "
         "their lateness is the error of its clock; how well it keeps them was not measured",
         port.seen->scheduled.load(), ShortText(port.lead));
  }
  Line(out, "  arrival known within {} (budget: p99 {})", Quantiles(port.seen->arrival_uncertainty),
       ShortText(budget.arrival_p99));
  std::string drops;
  for (const OwnDropCount& drop : OwnDropsOf(port)) {
    if (drop.bound == 0) continue;
    drops += drop.packets == drop.bound
                 ? fmt::format(", {} {}", drop.cause, drop.packets)
                 : fmt::format(", {} {} to {}", drop.cause, drop.packets, drop.bound);
  }
  const std::string books = !record.finished ? ""
                            : r.settled()    ? "; books closed"
                                             : "; books not closed";
  Line(out, "  own drops: {}{}", drops.empty() ? "none" : drops.substr(2), books);
}

void WriteDirection(const DirectionRecord& d, Out& out) {
  const link::DirectionCounters& c = d.counters;
  std::string fate;
  for (int i = 1; i < link::kCauseCount; ++i) {
    const uint64_t packets = c.dropped_packets[static_cast<size_t>(i)];
    if (packets != 0) {
      fate += fmt::format(", {} {}", link::ToText(static_cast<link::Cause>(i)), packets);
    }
  }
  if (c.duplicated_packets != 0) fate += fmt::format(", duplicated {}", c.duplicated_packets);
  if (c.marked_packets != 0) fate += fmt::format(", marked {}", c.marked_packets);
  if (c.corrupted_packets != 0) fate += fmt::format(", corrupted {}", c.corrupted_packets);
  if (c.held_packets != 0) fate += fmt::format(", held {}", c.held_packets);
  Line(out, "link {} {} ({} to {}): offered {}, forwarded {}{}", d.link, d.direction, d.from, d.to,
       c.offered_packets, c.forwarded_packets, fate);
  for (const RuleRecord& r : d.rules) {
    Line(out, "  rule {}{}: {}{}: {}; matched {}, hit {}", r.rule.name,
         r.removed_at == kNever ? "" : " (removed)",
         r.rule.match.empty() ? "every packet" : r.rule.match,
         r.rule.limits.empty() ? "" : ", " + r.rule.limits, r.rule.action, r.tally.matched,
         r.tally.hits);
  }
}

}  // namespace

std::string_view ToText(config::PortKind kind) {
  switch (kind) {
    case config::PortKind::kPci:
      return "pci";
    case config::PortKind::kAfPacket:
      return "af_packet";
    case config::PortKind::kAfXdp:
      return "af_xdp";
    case config::PortKind::kVhost:
      return "vhost";
    case config::PortKind::kVdev:
      return "vdev";
  }
  return "?";
}

std::string_view ToText(LeftAt left) {
  switch (left) {
    case LeftAt::kReleased:
      return "released";
    case LeftAt::kHanded:
      return "handed";
    case LeftAt::kWire:
      return "wire";
    case LeftAt::kScheduled:
      return "scheduled";
  }
  return "?";
}

std::string ShortText(TimeNs time) {
  const double ns = static_cast<double>(time.ns);
  if (std::abs(ns) < 1e3) return fmt::format("{} ns", time.ns);
  if (std::abs(ns) < 1e6) return fmt::format("{:.4g} us", ns * 1e-3);
  if (std::abs(ns) < 1e9) return fmt::format("{:.4g} ms", ns * 1e-6);
  return fmt::format("{:.4g} s", ns * 1e-9);
}

std::string CertificateText(const RunRecord& record, const std::vector<std::string>& reasons) {
  Out out;
  if (reasons.empty()) Line(out, "VALID");
  for (const std::string& reason : reasons) Line(out, "INVALID: {}", reason);
  Line(out, "run: {}{}, seed {}, farspan {}", ShortText(record.duration),
       record.finished ? "" : " so far", record.seed, FARSPAN_VERSION);
  Line(out, "clock: within {:.3g} ppm of CLOCK_MONOTONIC_RAW (budget {:.3g}), offset at most {}",
       record.clock.error_ppm(), record.budgets.clock_ppm,
       ShortText({static_cast<int64_t>(std::ceil(record.clock.offset_ns_max))}));
  for (size_t i = 0; i < record.lcores.size(); ++i) WriteLcore(record, i, out);
  for (const PortRecord& port : record.ports) WritePort(record, port, out);
  for (const DirectionRecord& d : record.directions) WriteDirection(d, out);
  return fmt::to_string(out);
}

}  // namespace farspan::dpdk
