#include "emulator/control/metrics.h"

#include <prometheus/text_serializer.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "emulator/base/check.h"
#include "emulator/control/derived.h"

namespace farspan::control {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;

// Adds samples to one family, all with the labels of one link direction or port.
class Samples {
 public:
  Samples(MetricFamily& family, const std::vector<ClientMetric::Label>& labels)
      : family_(family), labels_(labels) {}

  void value(double v) { add(v, labels_); }
  void value(uint64_t v) { value(static_cast<double>(v)); }
  void value(TimeNs v) { value(ToSeconds(v)); }
  void of_cause(std::string_view cause, uint64_t v) { labelled("cause", cause, v); }
  void labelled(std::string_view name, std::string_view label, uint64_t v) {
    std::vector<ClientMetric::Label> labels = labels_;
    labels.push_back({std::string(name), std::string(label)});
    add(static_cast<double>(v), std::move(labels));
  }
  void of_priority(const std::vector<PausedTime>& times) {
    for (const PausedTime& t : times) {
      std::vector<ClientMetric::Label> labels = labels_;
      labels.push_back({"priority", std::to_string(t.priority)});
      add(ToSeconds(t.time), std::move(labels));
    }
  }
  void of_rule(std::string_view rule, uint64_t v) { labelled("rule", rule, v); }
  void histogram(const HistogramSnapshot& from) {
    if (from.counts.empty()) return;
    FARSPAN_CHECK(from.counts.size() == from.bounds.size() + 1);
    ClientMetric metric;
    metric.label = labels_;
    metric.histogram.sample_count = from.counts.back();
    metric.histogram.sample_sum = from.sum_ns * 1e-9;
    for (size_t i = 0; i < from.bounds.size(); ++i) {
      metric.histogram.bucket.push_back({from.counts[i], ToSeconds(from.bounds[i])});
    }
    family_.metric.push_back(std::move(metric));
  }

 private:
  void add(double v, std::vector<ClientMetric::Label> labels) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = v;  // the serializer reads the member of the family's type
    metric.gauge.value = v;
    family_.metric.push_back(std::move(metric));
  }

  MetricFamily& family_;
  const std::vector<ClientMetric::Label>& labels_;
};

template <typename Source>
struct Row {
  MetricInfo info;
  void (*emit)(const Source&, Samples&);
};

constexpr MetricKind kCounter = MetricKind::kCounter;
constexpr MetricKind kGauge = MetricKind::kGauge;
constexpr MetricKind kHistogram = MetricKind::kHistogram;
constexpr std::string_view kLink = "link,direction";
constexpr std::string_view kLinkCause = "link,direction,cause";
constexpr std::string_view kLinkRule = "link,direction,rule";
constexpr std::string_view kPort = "port";

void DropsOfKind(const DirectionSnapshot& d, bool own, Samples& out) {
  for (int i = 1; i < link::kCauseCount; ++i) {
    const auto cause = static_cast<link::Cause>(i);
    if (link::IsOwn(cause) == own) out.of_cause(ToText(cause), d.counters.dropped_packets[i]);
  }
}

void OfRules(const DirectionSnapshot& d, uint64_t RuleSnapshot::*count, Samples& out) {
  for (const RuleSnapshot& rule : d.rules) {
    if (rule.removed_at == kNever) out.of_rule(rule.name, rule.*count);
  }
}

const Row<EngineSnapshot> kEngineRows[] = {
    {{"farspan_engine_uptime_seconds", kGauge, "seconds", "", "Time since the engine started"},
     [](const EngineSnapshot& e, Samples& out) { out.value(e.uptime); }},
    {{"farspan_engine_valid", kGauge, "", "",
      "1 while the run can be believed, 0 once its certificate says INVALID"},
     [](const EngineSnapshot& e, Samples& out) { out.value(e.valid ? 1.0 : 0.0); }},
    {{"farspan_engine_invalid_reasons", kGauge, "", "", "Reasons for which the run is INVALID"},
     [](const EngineSnapshot& e, Samples& out) { out.value(uint64_t{e.reasons.size()}); }},
    {{"farspan_engine_clock_error_ratio", kGauge, "ratio", "",
      "Rate error of the engine's clock against CLOCK_MONOTONIC_RAW (1e-6 is 1 ppm)"},
     [](const EngineSnapshot& e, Samples& out) { out.value(e.clock_error_ppm * 1e-6); }},
};

const Row<DirectionSnapshot> kLinkRows[] = {
    {{"farspan_link_offered_packets_total", kCounter, "packets", kLink,
      "Packets that entered the link"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.offered_packets); }},
    {{"farspan_link_offered_bytes_total", kCounter, "bytes", kLink,
      "Wire bytes that entered the link (with preamble, FCS and gap)"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.offered_bytes); }},
    {{"farspan_link_forwarded_packets_total", kCounter, "packets", kLink,
      "Packets that left the link at its far end"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.forwarded_packets); }},
    {{"farspan_link_forwarded_bytes_total", kCounter, "bytes", kLink,
      "Wire bytes that left the link at its far end"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.forwarded_bytes); }},
    {{"farspan_link_emulated_dropped_packets_total", kCounter, "packets", kLinkCause,
      "Packets dropped because the emulated link drops them"},
     [](const DirectionSnapshot& d, Samples& out) { DropsOfKind(d, false, out); }},
    {{"farspan_link_own_dropped_packets_total", kCounter, "packets", kLinkCause,
      "Packets dropped by a shortage of the emulator: they make the run INVALID"},
     [](const DirectionSnapshot& d, Samples& out) { DropsOfKind(d, true, out); }},
    {{"farspan_link_duplicated_packets_total", kCounter, "packets", kLink,
      "Packets that the link duplicated"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.duplicated_packets); }},
    {{"farspan_link_marked_packets_total", kCounter, "packets", kLink,
      "Packets that the link marked with ECN CE"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.marked_packets); }},
    {{"farspan_link_corrupted_packets_total", kCounter, "packets", kLink,
      "Packets whose payload the link corrupted"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.corrupted_packets); }},
    {{"farspan_link_rule_matched_packets_total", kCounter, "packets", kLinkRule,
      "Packets that met the conditions of a fault rule in force"},
     [](const DirectionSnapshot& d, Samples& out) { OfRules(d, &RuleSnapshot::matched, out); }},
    {{"farspan_link_rule_hit_packets_total", kCounter, "packets", kLinkRule,
      "Packets that a fault rule in force was carried out on"},
     [](const DirectionSnapshot& d, Samples& out) { OfRules(d, &RuleSnapshot::hits, out); }},
    {{"farspan_link_order_clamped_packets_total", kCounter, "packets", kLink,
      "Packets held back to keep their order after the path became shorter"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.order_clamps); }},
    {{"farspan_link_jitter_clamped_packets_total", kCounter, "packets", kLink,
      "Packets whose ordered jitter was corrected to keep their order"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.jitter_clamps); }},
    {{"farspan_link_held_packets", kGauge, "packets", kLink, "Packets in queues and fibers now"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.held_packets); }},
    {{"farspan_link_queue_packets", kGauge, "packets", kLink, "Packets waiting in the bottleneck"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.queue_packets); }},
    {{"farspan_link_queue_bytes", kGauge, "bytes", kLink, "Wire bytes waiting in the bottleneck"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.counters.queue_bytes); }},
    {{"farspan_link_delay_seconds", kGauge, "seconds", kLink,
      "One-way delay asked for, of the first lane's working path"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(d.delay); }},
    {{"farspan_link_rate_cap_bytes_per_second", kGauge, "bytes per second", kLink,
      "Bottleneck rate asked for, wire bytes, all lanes; absent where there is no bottleneck"},
     [](const DirectionSnapshot& d, Samples& out) {
       if (const auto rate = RateCap(d.spec)) out.value(static_cast<double>(rate->bits_per_s) / 8);
     }},
    {{"farspan_link_expected_loss_ratio", kGauge, "ratio", kLink,
      "Loss to expect as configured, for the mean packet size so far; absent without packets or "
      "for "
      "a trace"},
     [](const DirectionSnapshot& d, Samples& out) {
       if (const auto loss = ExpectedLoss(d)) out.value(*loss);
     }},
    {{"farspan_link_lanes", kGauge, "", kLink, "Parallel paths of the link"},
     [](const DirectionSnapshot& d, Samples& out) { out.value(uint64_t{d.spec.lanes.size()}); }},
};

// --- Queue pairs, summed over each direction of a link; absent where they are not followed ---

template <uint64_t roce::TapCounters::*kField>
void AtTaps(const DirectionSnapshot& d, Samples& out) {
  if (!d.rdma) return;
  out.labelled("tap", "ingress", d.rdma->sum.ingress.*kField);
  out.labelled("tap", "egress", d.rdma->sum.egress.*kField);
}

template <uint64_t roce::ObserverTotals::*kField>
void OfTotals(const DirectionSnapshot& d, Samples& out) {
  if (d.rdma) out.value(d.rdma.value().*kField);
}

template <uint64_t roce::QpCounters::*kField>
void OfSum(const DirectionSnapshot& d, Samples& out) {
  if (d.rdma) out.value(d.rdma->sum.*kField);
}

void Acknowledgements(const DirectionSnapshot& d, Samples& out) {
  if (!d.rdma) return;
  for (int i = 1; i < roce::kAckKindCount; ++i) {
    out.labelled("kind", ToText(static_cast<roce::AckKind>(i)),
                 d.rdma->sum.ingress.acks[static_cast<size_t>(i)]);
  }
}

void RoceFaults(const DirectionSnapshot& d, Samples& out) {
  if (!d.rdma) return;
  for (int i = 0; i < roce::kRoceFaultCount; ++i) {
    const auto fault = static_cast<roce::RoceFault>(i);
    if (fault == roce::RoceFault::kNone || fault == roce::RoceFault::kNotRoce) continue;
    out.of_cause(ToText(fault), d.rdma->faults[static_cast<size_t>(i)]);
  }
}

void RecoveryTimes(const DirectionSnapshot& d, Samples& out) {
  if (!d.rdma) return;
  HistogramSnapshot histogram;
  histogram.bounds.assign(roce::kRecoveryBounds.begin(), roce::kRecoveryBounds.end());
  uint64_t total = 0;
  for (const uint64_t count : d.rdma->recovery) histogram.counts.push_back(total += count);
  histogram.sum_ns = static_cast<double>(d.rdma->sum.recovery.sum_ns);
  out.histogram(histogram);
}

using roce::ObserverTotals;
using roce::QpCounters;
using roce::TapCounters;
constexpr std::string_view kTap = "link,direction,tap";

const Row<DirectionSnapshot> kRdmaRows[] = {
    {{"farspan_rdma_packets_total", kCounter, "packets", kTap,
      "RoCEv2 packets, as hosts sent them (ingress) and as they left the link whole (egress)"},
     AtTaps<&TapCounters::packets>},
    {{"farspan_rdma_payload_bytes_total", kCounter, "bytes", kTap, "Their payload"},
     AtTaps<&TapCounters::payload_bytes>},
    {{"farspan_rdma_goodput_bytes_total", kCounter, "bytes", kTap,
      "Payload of packets whose PSN was there for the first time"},
     AtTaps<&TapCounters::goodput_bytes>},
    {{"farspan_rdma_messages_total", kCounter, "", kTap,
      "Requests whose last packet was there for the first time"},
     AtTaps<&TapCounters::messages>},
    {{"farspan_rdma_responses_total", kCounter, "", kTap,
      "READ and ATOMIC responses whose last packet was there for the first time"},
     AtTaps<&TapCounters::responses>},
    {{"farspan_rdma_repeated_packets_total", kCounter, "packets", kTap,
      "Packets with a PSN that was there before: retransmissions (ingress), duplicates that the "
      "far host got (egress)"},
     AtTaps<&TapCounters::repeated>},
    {{"farspan_rdma_gaps_total", kCounter, "", kTap, "Times that a PSN was skipped"},
     AtTaps<&TapCounters::gaps>},
    {{"farspan_rdma_missing_packets_total", kCounter, "packets", kTap, "PSNs that were skipped"},
     AtTaps<&TapCounters::missing>},
    {{"farspan_rdma_ce_packets_total", kCounter, "packets", kTap, "Packets marked with ECN CE"},
     AtTaps<&TapCounters::ce>},
    {{"farspan_rdma_cnp_packets_total", kCounter, "packets", kTap,
      "Congestion notification packets"},
     AtTaps<&TapCounters::cnps>},
    {{"farspan_rdma_acknowledgements_total", kCounter, "", "link,direction,kind",
      "ACKs and NAKs that entered the link, by what their syndrome says"},
     Acknowledgements},
    {{"farspan_rdma_dropped_packets_total", kCounter, "packets", kLink,
      "RoCEv2 packets that the link dropped"},
     OfSum<&QpCounters::dropped>},
    {{"farspan_rdma_corrupted_packets_total", kCounter, "packets", kLink,
      "RoCEv2 packets that the link corrupted"},
     OfSum<&QpCounters::corrupted>},
    {{"farspan_rdma_spurious_retransmissions_total", kCounter, "", kLink,
      "Retransmissions before anything can have called for them"},
     OfSum<&QpCounters::spurious>},
    {{"farspan_rdma_undecided_retransmissions_total", kCounter, "", kLink,
      "Retransmissions that may be spurious: the last transmission's time is not known well "
      "enough"},
     OfSum<&QpCounters::undecided>},
    {{"farspan_rdma_restarts_total", kCounter, "", kLink,
      "Queue pairs whose PSN jumped: a new connection"},
     OfSum<&QpCounters::restarts>},
    {{"farspan_rdma_recovery_seconds", kHistogram, "seconds", kLink,
      "Time from a lost packet's entry into the link to its retransmission's"},
     RecoveryTimes},
    {{"farspan_rdma_malformed_packets_total", kCounter, "packets", kLinkCause,
      "Packets to RoCEv2's port that are none; forwarded all the same"},
     RoceFaults},
    {{"farspan_rdma_icrc_errors_total", kCounter, "", kLink,
      "Packets that entered with a wrong ICRC (where it is checked)"},
     OfTotals<&ObserverTotals::bad_icrc>},
    {{"farspan_rdma_icrc_unchecked_packets_total", kCounter, "packets", kLink,
      "Packets whose ICRC could not be checked, as they came in several buffers"},
     OfTotals<&ObserverTotals::unchecked_icrc>},
    {{"farspan_rdma_queue_pairs_opened_total", kCounter, "", kLink,
      "Queue pairs that came into the observer's table"},
     OfTotals<&ObserverTotals::opened>},
    {{"farspan_rdma_queue_pairs_evicted_total", kCounter, "", kLink,
      "Queue pairs that were followed no longer, as others came"},
     OfTotals<&ObserverTotals::evicted>},
    {{"farspan_rdma_forgotten_losses_total", kCounter, "", kLink,
      "Lost PSNs that were forgotten, as there were too many"},
     OfTotals<&ObserverTotals::forgotten_losses>},
};

const Row<PortSnapshot> kPortRows[] = {
    {{"farspan_port_lateness_seconds", kHistogram, "seconds", kPort,
      "Time by which packets left the port after they were due: the emulation's error"},
     [](const PortSnapshot& p, Samples& out) { out.histogram(p.lateness); }},
    {{"farspan_port_lateness_max_seconds", kGauge, "seconds", kPort,
      "Greatest lateness of the run"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.lateness.max); }},
    {{"farspan_port_arrival_uncertainty_seconds", kHistogram, "seconds", kPort,
      "Time since the port's previous poll: how much earlier than its stamp a packet may have "
      "come"},
     [](const PortSnapshot& p, Samples& out) { out.histogram(p.arrival_uncertainty); }},
    {{"farspan_port_arrival_uncertainty_max_seconds", kGauge, "seconds", kPort,
      "Greatest arrival uncertainty of the run"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.arrival_uncertainty.max); }},
    {{"farspan_port_received_packets_total", kCounter, "packets", kPort, "Packets received"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.rx_packets); }},
    {{"farspan_port_received_bytes_total", kCounter, "bytes", kPort, "Frame bytes received"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.rx_bytes); }},
    {{"farspan_port_sent_packets_total", kCounter, "packets", kPort, "Packets sent"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.tx_packets); }},
    {{"farspan_port_sent_bytes_total", kCounter, "bytes", kPort, "Frame bytes sent"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.tx_bytes); }},
    {{"farspan_port_own_dropped_packets_total", kCounter, "packets", "port,cause",
      "Packets lost at the port by a shortage of the emulator: they make the run INVALID"},
     [](const PortSnapshot& p, Samples& out) {
       for (const auto& [cause, count] : OwnDrops(p)) out.of_cause(cause, count);
     }},
    {{"farspan_port_super_frames_total", kCounter, "", kPort,
      "Frames longer than the wire's, from a host's offloads: they make the run INVALID"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.super_frames); }},
    {{"farspan_port_malformed_packets_total", kCounter, "packets", kPort,
      "Packets forwarded although their headers could not be parsed"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.malformed); }},
    {{"farspan_port_bypassed_packets_total", kCounter, "packets", kPort,
      "Packets let through beside the link"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.bypassed); }},
    {{"farspan_port_tx_backlog_packets", kGauge, "packets", kPort,
      "Packets waiting in the port's transmit ring"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.tx_backlog); }},
    {{"farspan_port_pause_frames_sent_total", kCounter, "", kPort,
      "PFC frames sent to the host behind the port"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.pause_frames_sent); }},
    {{"farspan_port_pause_frames_received_total", kCounter, "", kPort,
      "MAC control frames of the host that were consumed or dropped"},
     [](const PortSnapshot& p, Samples& out) { out.value(p.pause_frames_received); }},
    {{"farspan_port_pause_asked_seconds_total", kCounter, "seconds", "port,priority",
      "Time for which the host was asked to pause a priority"},
     [](const PortSnapshot& p, Samples& out) { out.of_priority(p.pause_asked); }},
    {{"farspan_port_paused_seconds_total", kCounter, "seconds", "port,priority",
      "Time for which the host had paused a priority of the port's egress"},
     [](const PortSnapshot& p, Samples& out) { out.of_priority(p.paused); }},
};

prometheus::MetricType TypeOf(MetricKind kind) {
  switch (kind) {
    case MetricKind::kCounter:
      return prometheus::MetricType::Counter;
    case MetricKind::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricKind::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  FARSPAN_CHECK(false);
}

std::vector<ClientMetric::Label> LabelsOf(const EngineSnapshot&) { return {}; }
std::vector<ClientMetric::Label> LabelsOf(const DirectionSnapshot& d) {
  return {{"link", d.link}, {"direction", std::string(ToText(d.direction))}};
}
std::vector<ClientMetric::Label> LabelsOf(const PortSnapshot& p) { return {{"port", p.name}}; }

template <typename Source>
void AddFamilies(std::span<const Row<Source>> rows, std::span<const Source> sources,
                 std::vector<MetricFamily>& out) {
  for (const Row<Source>& row : rows) {
    MetricFamily family;
    family.name = row.info.name;
    family.help = row.info.help;
    family.type = TypeOf(row.info.kind);
    for (const Source& source : sources) {
      const std::vector<ClientMetric::Label> labels = LabelsOf(source);
      Samples samples(family, labels);
      row.emit(source, samples);
    }
    if (!family.metric.empty()) out.push_back(std::move(family));
  }
}

}  // namespace

std::string_view ToText(MetricKind kind) {
  switch (kind) {
    case MetricKind::kCounter:
      return "counter";
    case MetricKind::kGauge:
      return "gauge";
    case MetricKind::kHistogram:
      return "histogram";
  }
  FARSPAN_CHECK(false);
}

const std::vector<MetricInfo>& MetricCatalogue() {
  static const std::vector<MetricInfo> catalogue = [] {
    std::vector<MetricInfo> all;
    for (const auto& row : kEngineRows) all.push_back(row.info);
    for (const auto& row : kLinkRows) all.push_back(row.info);
    for (const auto& row : kRdmaRows) all.push_back(row.info);
    for (const auto& row : kPortRows) all.push_back(row.info);
    return all;
  }();
  return catalogue;
}

std::vector<MetricFamily> CollectMetrics(const EngineSnapshot& snapshot) {
  std::vector<MetricFamily> families;
  AddFamilies<EngineSnapshot>(kEngineRows, {&snapshot, 1}, families);
  AddFamilies<DirectionSnapshot>(kLinkRows, snapshot.directions, families);
  AddFamilies<DirectionSnapshot>(kRdmaRows, snapshot.directions, families);
  AddFamilies<PortSnapshot>(kPortRows, snapshot.ports, families);
  return families;
}

std::string MetricsText(const EngineSnapshot& snapshot) {
  return prometheus::TextSerializer().Serialize(CollectMetrics(snapshot));
}

std::string MetricCatalogueJson() {
  nlohmann::ordered_json metrics = nlohmann::ordered_json::array();
  for (const MetricInfo& m : MetricCatalogue()) {
    metrics.push_back({{"name", m.name},
                       {"type", ToText(m.kind)},
                       {"unit", m.unit},
                       {"labels", m.labels},
                       {"help", m.help}});
  }
  nlohmann::ordered_json out{{"schema", "farspan.metrics.v1"}};
  out["metrics"] = std::move(metrics);
  return out.dump(2) + "\n";
}

}  // namespace farspan::control
