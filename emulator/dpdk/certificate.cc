#include "emulator/dpdk/certificate.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "emulator/base/check.h"

namespace farspan::dpdk {
namespace {

using Reasons = std::vector<std::string>;

std::string_view BudgetKey(config::PortKind kind) {
  return kind == config::PortKind::kPci ? "engine.budgets.pci" : "engine.budgets.software";
}

std::string Name(const PortRecord& port) {
  return fmt::format("port {} of site {}", port.name, port.site);
}

std::string Name(const DirectionRecord& d) {
  return fmt::format("link {} {} ({} to {})", d.link, d.direction, d.from, d.to);
}

std::string Count(uint64_t packets, uint64_t bound) {
  return packets == bound ? fmt::format("{}", packets)
                          : fmt::format("at least {} and at most {}", packets, bound);
}

void JudgeClock(const RunRecord& record, Reasons& out) {
  const double error = record.clock.error_ppm();
  if (!(record.clock.tick_hz > 0)) {
    out.push_back("clock: it was never calibrated, so no time of this run is known: a bug");
  } else if (!(error <= record.budgets.clock_ppm)) {
    out.push_back(fmt::format(
        "clock: its rate may be off by {:.3g} ppm, the budget is {:.3g} ppm: let the run last "
        "longer, see that /sys/devices/system/clocksource/clocksource0/current_clocksource is tsc, "
        "or raise engine.budgets.clock_ppm",
        error, record.budgets.clock_ppm));
  }
}

// How late a perfect engine would have been on that CPU, before or after the run; 0: not measured.
TimeNs MachineLateness(const RunRecord& record, size_t lcore, double q) {
  if (lcore >= record.lcores.size()) return {};
  const auto of = [&](const std::optional<SpinGaps>& gaps) {
    return gaps ? gaps->expected_lateness(q) : TimeNs{};
  };
  return std::max(of(record.lcores[lcore].before), of(record.lcores[lcore].after));
}

std::string BesideMachine(TimeNs machine) {
  if (machine == TimeNs{}) return "";
  return fmt::format(" (a bare spin loop on its CPU, before and after: {})", ShortText(machine));
}

void JudgeLoop(const RunRecord& record, size_t index, Reasons& out) {
  const LcoreRecord& lcore = record.lcores[index];
  const TimeNs budget = LoopBudget(record, index);
  if (lcore.loop->max() <= budget) return;
  out.push_back(fmt::format(
      "CPU {}: the packet loop stood still for {}, the budget is {}{}: give it a CPU that nothing "
      "else uses (engine.lcores), do not stop or suspend the engine, or raise lateness_max of its "
      "ports",
      lcore.cpu, ShortText(lcore.loop->max()), ShortText(budget),
      BesideMachine(MachineLateness(record, index, 1))));
}

void JudgeTimes(const RunRecord& record, const PortRecord& port, Reasons& out) {
  const config::PortBudget& budget = record.budgets.of(port.kind);
  const LatencyHistogram& late = port.seen->lateness;
  if (late.negative() != 0) {
    out.push_back(fmt::format(
        "{}: {} packets left before they were due, none ever may: a bug, please report it with "
        "this certificate",
        Name(port), late.negative()));
  }
  if (port.reading.pace_errors != 0) {
    out.push_back(fmt::format(
        "{}: it counted {} errors of its send scheduling, there must be none, as packets may have "
        "left up to {} before they were due: restart the engine, or set send_ahead = \"0 s\" at "
        "its site",
        Name(port), port.reading.pace_errors, ShortText(port.lead)));
  }
  const auto judge = [&](std::string_view what, std::string_view key, TimeNs measured,
                         TimeNs allowed, double q) {
    if (measured <= allowed) return;
    out.push_back(fmt::format(
        "{}: {} is {}, the budget is {}{}: give the engine CPUs of its own (engine.lcores, "
        "engine.idle = \"spin\"), send less, or raise {}.{}",
        Name(port), what, ShortText(measured), ShortText(allowed),
        BesideMachine(MachineLateness(record, port.lcore, q)), BudgetKey(port.kind), key));
  };
  judge("the median lateness of what left", "lateness_p50", late.quantile(0.5), budget.lateness_p50,
        0.5);
  judge("the lateness of what left, p99,", "lateness_p99", late.quantile(0.99), budget.lateness_p99,
        0.99);
  judge("the greatest lateness of what left", "lateness_max", late.max(), budget.lateness_max, 1);
  judge("the uncertainty of when packets arrived, p99,", "arrival_p99",
        port.seen->arrival_uncertainty.quantile(0.99), budget.arrival_p99, 0.99);
}

// What happened, and what mends it; by cause of OwnDropsOf.
struct OwnDropWords {
  std::string_view cause;
  std::string_view what;
  std::string_view mend;
};
constexpr OwnDropWords kOwnDropWords[] = {
    {"missed", "frames arrived that the engine never got, its port having no room",
     "give the engine a CPU of its own (engine.lcores), or send less"},
    {"no_buffer_arriving", "frames arrived when no buffer was free",
     "plan more memory: a smaller engine.plan_frame, or a truer engine.max_packet_rate"},
    {"handover_full", "frames arrived faster than the lcore of their link took them over",
     "give the engine more CPUs (engine.lcores), or send less"},
    {"no_buffer", "packets were due to leave when no buffer was free",
     "plan more memory: a smaller engine.plan_frame, or a truer engine.max_packet_rate"},
    {"egress_full", "packets were due to leave and the port did not take them in time",
     "give the links into this site a rate below the port's, or the site an egress"},
    {"oversize", "packets were longer than the port can send",
     "raise the MTU of the interface and engine.mtu, or lower that of the hosts"},
    {"unsent", "packets were taken by the driver and not sent by the kernel",
     "see that the interface and its peer are up, and send less"},
};

void JudgeOwnDrops(const PortRecord& port, Reasons& out) {
  for (const OwnDropCount& drop : OwnDropsOf(port)) {
    if (drop.packets == 0) continue;
    const auto* words = std::find_if(std::begin(kOwnDropWords), std::end(kOwnDropWords),
                                     [&](const auto& w) { return w.cause == drop.cause; });
    FARSPAN_CHECK(words != std::end(kOwnDropWords));
    out.push_back(fmt::format("{}: {} {}, own drops must be 0: {}", Name(port),
                              Count(drop.packets, drop.bound), words->what, words->mend));
  }
  // Only hardware means by these what it says: net_vhost counts retries, af_packet late sends.
  if (port.kind != config::PortKind::kPci) return;
  if (const uint64_t errors = port.reading.rx_errors + port.reading.tx_errors; errors != 0) {
    out.push_back(fmt::format(
        "{}: its hardware counted {} receive and {} transmit errors, there must be none: look at "
        "the cable, the optics and the port's other end",
        Name(port), port.reading.rx_errors, port.reading.tx_errors));
  }
}

// Late pauses void the promise of the headroom, if anything was dropped.
void JudgePauses(const RunRecord& record, const PortRecord& port, Reasons& out) {
  const TimeNs late{port.seen->pause_late_max_ns.load()};
  if (port.pause_priorities == 0 || late <= port.pause_gap) return;
  uint64_t dropped = 0;
  for (const DirectionRecord& d : record.directions) {
    if (d.from != port.site) continue;
    dropped += d.counters.dropped_packets[static_cast<size_t>(link::Cause::kTailDrop)];
  }
  if (dropped == 0) return;
  out.push_back(fmt::format(
      "{}: a pause frame left {} after it was due, the headroom is made for {}, and {} packets "
      "were dropped at their queue's limit, perhaps for that: give the engine CPUs of its own "
      "(engine.lcores, engine.idle = \"spin\"), or raise pfc.poll_gap",
      Name(port), ShortText(late), ShortText(port.pause_gap), dropped));
}

void JudgeFrames(const PortRecord& port, Reasons& out) {
  if (const uint64_t frames = port.seen->super_frames.load(); frames != 0) {
    out.push_back(fmt::format(
        "{}: {} super-frames arrived, which no wire carries: they come from segmentation offload "
        "on the host behind it; there, run: ethtool -K DEV tso off gso off tx off",
        Name(port), frames));
  }
  if (const uint64_t frames = port.seen->truncated.load(); frames != 0) {
    out.push_back(fmt::format(
        "{}: {} frames were cut short on arrival: they are longer than engine.mtu allows; raise "
        "it, or lower the MTU of the hosts",
        Name(port), frames));
  }
}

void JudgeEnd(const PortRecord& port, Reasons& out) {
  const PortReading& r = port.reading;
  if (!r.settled()) {
    out.push_back(fmt::format(
        "{}: its books with the kernel did not close: {} to {} frames may have been lost on "
        "arrival and {} to {} on departure: stop the hosts' traffic before the engine",
        Name(port), r.own_missed, r.own_missed_bound, r.own_unsent, r.own_unsent_bound));
  }
  if (const uint64_t backlog = port.seen->backlog.load(); backlog != 0) {
    out.push_back(fmt::format(
        "{}: {} packets were still waiting to leave at the end: see that the port's other end is "
        "up and takes what it is sent",
        Name(port), backlog));
  }
}

void JudgeBooks(std::string_view what, const Books& books, Reasons& out) {
  if (books.balanced()) return;
  out.push_back(fmt::format(
      "{} packets {} and {} are accounted for: a bug, please report it with this certificate",
      books.came, what, books.accounted));
}

void JudgeDirection(const RunRecord& record, const DirectionRecord& d, Reasons& out) {
  const auto& dropped = d.counters.dropped_packets;
  for (size_t i = 0; i < dropped.size(); ++i) {
    const auto cause = static_cast<link::Cause>(i);
    if (!link::IsOwn(cause) || dropped[i] == 0) continue;
    out.push_back(fmt::format(
        "{}: {} packets found no room in the link ({}), own drops must be 0: plan more memory: a "
        "smaller engine.plan_frame, or a truer engine.max_packet_rate",
        Name(d), dropped[i], link::ToText(cause)));
  }
  if (const Books books = LinkBooks(d.counters); !books.balanced()) {
    out.push_back(fmt::format(
        "{}: {} packets came (duplicates included) and {} were forwarded, dropped or held: a bug, "
        "please report it with this certificate",
        Name(d), books.came, books.accounted));
  }
  if (record.finished && d.counters.held_packets != 0) {
    out.push_back(fmt::format(
        "{}: {} packets were still in the link at the end, its drain being cut short: give the "
        "engine CPUs of its own (engine.lcores); if it had them, please report it",
        Name(d), d.counters.held_packets));
  }
}

}  // namespace

TimeNs LoopBudget(const RunRecord& record, size_t lcore) {
  TimeNs own = kNever;
  TimeNs any = kNever;
  for (const PortRecord& port : record.ports) {
    const TimeNs budget = record.budgets.of(port.kind).lateness_max;
    any = std::min(any, budget);
    if (port.lcore == lcore) own = std::min(own, budget);
  }
  return own == kNever ? any : own;
}

std::vector<OwnDropCount> OwnDropsOf(const PortRecord& port) {
  const PortReading& r = port.reading;
  const auto exact = [](std::string_view cause, uint64_t packets) {
    return OwnDropCount{cause, packets, packets};
  };
  return {{"missed", r.own_missed, r.own_missed_bound},
          exact("no_buffer_arriving", r.own_no_buffer),
          exact("handover_full", port.seen->handover_full.load()),
          exact("no_buffer", port.seen->no_buffer.load()),
          exact("egress_full", port.seen->egress_full.load()),
          exact("oversize", r.own_oversize),
          {"unsent", r.own_unsent, r.own_unsent_bound}};
}

Books ArrivalBooks(const RunRecord& record) {
  Books books;
  for (const PortRecord& port : record.ports) {
    const PortObservations& seen = *port.seen;
    // Hardware counts frames that were still in its ring when polling ended.
    books.came += port.kind == config::PortKind::kPci ? seen.arrival_uncertainty.count()
                                                      : port.reading.rx_packets;
    books.came += seen.copies.load() - seen.broadcasts.load();
    books.accounted += seen.bypassed.load() + seen.unroutable.load() + seen.handover_full.load() +
                       seen.pause_received.load();
    books.tolerance += seen.no_buffer.load() + seen.egress_full.load();
  }
  for (const DirectionRecord& d : record.directions) books.accounted += d.counters.offered_packets;
  return books;
}

Books DepartureBooks(const RunRecord& record) {
  Books books;
  for (const DirectionRecord& d : record.directions) books.came += d.counters.forwarded_packets;
  for (const PortRecord& port : record.ports) {
    const PortObservations& seen = *port.seen;
    books.came += seen.bypassed.load() + seen.pause_sent.load();
    books.accounted += port.reading.tx_packets + port.reading.own_oversize +
                       seen.egress_dropped.load() + seen.backlog.load();
    // Errors: taken by a driver, and not called sent.
    books.tolerance += seen.no_buffer.load() + seen.egress_full.load() + port.reading.tx_errors;
  }
  return books;
}

Books LinkBooks(const link::DirectionCounters& c) {
  return {.came = c.offered_packets + c.duplicated_packets,
          .accounted = c.forwarded_packets + c.dropped_total() + c.held_packets};
}

std::vector<std::string> ReasonsAgainst(const RunRecord& record) {
  Reasons out;
  JudgeClock(record, out);
  for (size_t i = 0; i < record.lcores.size(); ++i) {
    FARSPAN_CHECK(record.lcores[i].loop != nullptr);
    JudgeLoop(record, i, out);
  }
  for (const PortRecord& port : record.ports) {
    FARSPAN_CHECK(port.seen != nullptr);
    JudgeTimes(record, port, out);
    JudgeOwnDrops(port, out);
    JudgeFrames(port, out);
    JudgePauses(record, port, out);
    if (record.finished) JudgeEnd(port, out);
  }
  for (const DirectionRecord& d : record.directions) JudgeDirection(record, d, out);
  if (record.finished) {
    JudgeBooks("arrived at the ports", ArrivalBooks(record), out);
    JudgeBooks("were to leave by the ports", DepartureBooks(record), out);
  }
  return out;
}

Certificate Certify(const RunRecord& record) {
  Certificate certificate;
  certificate.reasons = ReasonsAgainst(record);
  certificate.valid = certificate.reasons.empty();
  certificate.json = CertificateJson(record, certificate.reasons);
  certificate.text = CertificateText(record, certificate.reasons);
  return certificate;
}

}  // namespace farspan::dpdk
