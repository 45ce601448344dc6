#include "transports/testbed/contender.h"

#include <algorithm>
#include <string>

#include "emulator/base/check.h"
#include "transports/baselines/model_endpoint.h"
#include "transports/testbed/endpoints.h"

namespace farspan::testbed {
namespace {

using collectives::Schedule;

Result<ContenderEndpoint> MakeSpan(const EndpointOrder& order) {
  transport::SpanConfig config = SpanConfigOf(order);
  config.lengths_only = true;
  auto span = transport::Span::Create(config);
  if (!span) return tl::unexpected(span.error());
  const transport::Span* raw = span->get();
  return ContenderEndpoint{std::move(*span), [raw] { return TrafficOf(*raw); }};
}

Result<ContenderEndpoint> MakeModel(const EndpointOrder& order) {
  EndpointSpec spec;
  spec.transport = order.spec->transport;
  spec.congestion = order.spec->congestion;
  spec.payload_bytes = order.payload_bytes;
  spec.rate = order.rate;
  spec.lengths_only = true;
  spec.timeout = order.timeout;
  spec.seed = order.seed;
  spec.rc = order.preset.rc;
  spec.tcp = order.preset.tcp;
  auto made = MakeEndpoint(spec, 0);
  if (!made) return tl::unexpected(made.error());
  const auto* model = static_cast<const baselines::ModelEndpoint*>(made->get());
  return ContenderEndpoint{std::move(*made), [model] {
                             const baselines::ModelCounters& counters = model->counters();
                             const uint64_t each = model->config().payload_bytes;
                             return TrafficBytes{counters.received_bytes, counters.resent_bytes,
                                                 counters.data_duplicate * each, 0};
                           }};
}

}  // namespace

TrafficBytes& TrafficBytes::operator+=(const TrafficBytes& other) {
  received += other.received;
  resent += other.resent;
  duplicate += other.duplicate;
  parity += other.parity;
  return *this;
}

TrafficBytes operator-(const TrafficBytes& a, const TrafficBytes& b) {
  return {a.received - b.received, a.resent - b.resent, a.duplicate - b.duplicate,
          a.parity - b.parity};
}

transport::SpanConfig SpanConfigOf(const EndpointOrder& order) {
  transport::SpanConfig config;
  config.recovery = order.spec->recovery;
  config.congestion = order.spec->congestion;
  config.controller.rate = order.rate;
  config.controller.seed = order.seed;
  config.seed = order.seed;
  config.timeout = order.timeout;
  config.payload_bytes = order.payload_bytes;
  config.window_packets = order.window_packets;
  return config;
}

TrafficBytes TrafficOf(const transport::Span& span) {
  const transport::SpanCounters& counters = span.counters();
  const uint64_t each = span.config().payload_bytes;
  const uint64_t received =
      counters.data_received - counters.data_duplicate - counters.data_discarded + counters.decoded;
  return {received * each, counters.data_resent * each, counters.data_duplicate * each,
          counters.parity_sent * each};
}

Result<ContenderEndpoint> MakeContender(const EndpointOrder& order) {
  return order.spec->baseline() ? MakeModel(order) : MakeSpan(order);
}

std::vector<ContenderSpec> StandardContenders(const Scenario& scenario) {
  const bool has_ring = collectives::DefaultSchedule(scenario.collective) == Schedule::kRing;
  const auto span = [&](const std::string& recovery, const std::string& congestion) {
    ContenderSpec spec;
    spec.name = "span " + recovery + ", " + congestion;
    spec.recovery = recovery;
    spec.congestion = congestion;
    spec.rate_class = congestion == "fixed" ? RateClass::kProvisioned : RateClass::kControlled;
    spec.schedule = scenario.schedule;
    return spec;
  };
  std::vector<ContenderSpec> contenders{span("auto", "fixed"), span("sr", "fixed"),
                                        span("ec", "fixed"),   span("auto", "bbr"),
                                        span("auto", "cubic"), span("auto", "swift")};
  if (has_ring && scenario.schedule != Schedule::kRing) {
    contenders.push_back(span("auto", "fixed"));
    contenders.back().name += ", ring";
    contenders.back().schedule = Schedule::kRing;
  }
  const auto baseline = [&](const std::string& transport, const std::string& congestion,
                            bool tuned) {
    ContenderSpec spec;
    spec.transport = transport;
    spec.name = transport == "tcp" ? transport + " " + congestion : transport;
    spec.name += tuned ? ", tuned" : ", default";
    spec.congestion = congestion;
    spec.rate_class = congestion == "fixed" ? RateClass::kProvisioned : RateClass::kControlled;
    spec.tuned = tuned;
    spec.schedule = has_ring ? Schedule::kRing : scenario.schedule;
    spec.channels = NcclPreset{}.channels;
    return spec;
  };
  for (const char* transport : {"rc-gbn", "rc-sr"}) {
    for (const bool tuned : {false, true})
      contenders.push_back(baseline(transport, "fixed", tuned));
  }
  for (const char* congestion : {"cubic", "bbr"}) {
    for (const bool tuned : {false, true}) contenders.push_back(baseline("tcp", congestion, tuned));
  }
  return contenders;
}

}  // namespace farspan::testbed
