#include "transports/testbed/contender.h"

#include <algorithm>
#include <string>

#include "transports/congestion/controllers.h"
#include "transports/core/span.h"

namespace farspan::testbed {
namespace {

using collectives::Schedule;

Result<ContenderEndpoint> MakeSpan(const EndpointOrder& order) {
  transport::SpanConfig config;
  config.recovery = order.spec->recovery;
  config.congestion = order.spec->congestion;
  config.controller.rate = order.rate;
  config.controller.seed = order.seed;
  config.seed = order.seed;
  config.timeout = order.timeout;
  config.payload_bytes = order.payload_bytes;
  config.lengths_only = true;
  config.window_packets = order.window_packets;
  auto span = transport::Span::Create(config);
  if (!span) return tl::unexpected(span.error());
  const transport::Span* raw = span->get();
  return ContenderEndpoint{
      std::move(*span), [raw] {
        const transport::SpanCounters& counters = raw->counters();
        const uint64_t each = raw->config().payload_bytes;
        const uint64_t received = counters.data_received - counters.data_duplicate -
                                  counters.data_discarded + counters.decoded;
        return TrafficBytes{received * each, counters.data_resent * each,
                            counters.data_duplicate * each, counters.parity_sent * each};
      }};
}

struct Maker {
  std::string_view name;
  bool baseline;
  Result<ContenderEndpoint> (*make)(const EndpointOrder& order);
};
constexpr Maker kMakers[] = {{"span", false, MakeSpan}};

}  // namespace

std::vector<std::string_view> TransportNames() {
  std::vector<std::string_view> names;
  for (const Maker& maker : kMakers) names.push_back(maker.name);
  return names;
}

bool IsBaseline(std::string_view transport) {
  return std::any_of(std::begin(kMakers), std::end(kMakers),
                     [&](const Maker& m) { return m.name == transport && m.baseline; });
}

Result<ContenderEndpoint> MakeContender(const EndpointOrder& order) {
  for (const Maker& maker : kMakers) {
    if (maker.name == order.spec->transport) return maker.make(order);
  }
  return Fail(ErrorCode::kInvalid, "no transport is called \"" + order.spec->transport + '"');
}

std::vector<ContenderSpec> StandardContenders(const Scenario& scenario) {
  const auto span = [&](std::string recovery, std::string congestion) {
    ContenderSpec spec;
    spec.name = "span " + recovery + ", " + congestion;
    spec.recovery = std::move(recovery);
    spec.rate_class = congestion == "fixed" ? RateClass::kProvisioned : RateClass::kControlled;
    spec.congestion = std::move(congestion);
    spec.schedule = scenario.schedule;
    return spec;
  };
  std::vector<ContenderSpec> contenders{span("auto", "fixed"), span("sr", "fixed"),
                                        span("ec", "fixed"),   span("auto", "bbr"),
                                        span("auto", "cubic"), span("auto", "swift")};
  return contenders;
}

}  // namespace farspan::testbed
