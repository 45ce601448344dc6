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

void CompleteContender(const Scenario& scenario, ContenderSpec& spec) {
  const bool controlled = spec.is_library() || spec.congestion != "fixed";
  spec.rate_class = controlled ? RateClass::kControlled : RateClass::kProvisioned;
  spec.schedule = scenario.schedule;
  if (spec.is_library()) {
    spec.name = spec.library.stem().string();
    return;
  }
  spec.name = spec.transport;
  if (!spec.baseline()) {
    spec.name += " " + spec.recovery + ", " + spec.congestion;
    return;
  }
  if (collectives::DefaultSchedule(scenario.collective) == Schedule::kRing) {
    spec.schedule = Schedule::kRing;
  }
  spec.channels = NcclPreset{}.channels;
  if (spec.transport == "tcp") spec.name += " " + spec.congestion;
  spec.name += spec.tuned ? ", tuned" : ", default";
}

std::vector<ContenderSpec> StandardContenders(const Scenario& scenario) {
  std::vector<ContenderSpec> contenders;
  const auto add = [&](ContenderSpec spec) {
    CompleteContender(scenario, spec);
    contenders.push_back(std::move(spec));
  };
  for (const char* recovery : {"auto", "sr", "ec"}) add({.recovery = recovery});
  for (const char* congestion : {"bbr", "cubic", "swift"}) add({.congestion = congestion});
  if (collectives::DefaultSchedule(scenario.collective) == Schedule::kRing &&
      scenario.schedule != Schedule::kRing) {
    contenders.push_back(contenders.front());
    contenders.back().name += ", ring";
    contenders.back().schedule = Schedule::kRing;
  }
  for (const char* transport : {"rc-gbn", "rc-sr"}) {
    for (const bool tuned : {false, true}) add({.transport = transport, .tuned = tuned});
  }
  for (const char* congestion : {"cubic", "bbr"}) {
    for (const bool tuned : {false, true}) {
      add({.transport = "tcp", .congestion = congestion, .tuned = tuned});
    }
  }
  return contenders;
}

}  // namespace farspan::testbed
