#include "transports/testbed/endpoints.h"

#include "emulator/base/check.h"
#include "transports/baselines/model_endpoint.h"
#include "transports/congestion/controllers.h"
#include "transports/core/registry.h"
#include "transports/drivers/qlog/qlog_endpoint.h"

namespace farspan::testbed {
namespace {

using EndpointResult = Result<std::unique_ptr<transport::Endpoint>>;
using Factory = EndpointResult (*)(const EndpointSpec& spec, uint64_t seed, uint32_t rank);

constexpr uint32_t kMaxRequests = 32;  // NCCL_NET_MAX_REQUESTS

EndpointResult MakeSpan(const EndpointSpec& spec, uint64_t seed, uint32_t rank) {
  transport::SpanConfig config;
  config.recovery = spec.recovery;
  config.congestion = spec.congestion_or_usual();
  config.payload_bytes = spec.payload_or_usual();
  config.controller.rate = spec.rate;
  config.controller.seed = config.seed = seed;
  config.max_requests = kMaxRequests;
  config.lengths_only = spec.lengths_only;
  config.timeout = spec.timeout;
  return transport::MakeSpan(config, spec.qlog, "rank-" + std::to_string(rank));
}

EndpointResult MakeModel(const EndpointSpec& spec, uint64_t seed, uint32_t /*rank*/) {
  baselines::ModelConfig config;
  config.model = spec.transport;
  config.congestion = spec.congestion_or_usual();
  config.payload_bytes = spec.payload_or_usual();
  config.controller.rate = spec.rate;
  config.controller.seed = config.seed = seed;
  config.max_requests = kMaxRequests;
  config.lengths_only = spec.lengths_only;
  config.timeout = spec.timeout;
  config.rc = spec.rc;
  config.rc.selective = spec.transport == "rc-sr";
  config.tcp = spec.tcp;
  auto made = baselines::ModelEndpoint::Create(config);
  if (!made) return tl::unexpected(made.error());
  return std::unique_ptr<transport::Endpoint>(std::move(*made));
}

struct Kind {
  Factory make;
  uint32_t overhead_bytes;
};

// Ethernet 38 and IPv4 20; with UDP 8: Span 32, RC's BTH and ICRC 16, RETH 16 in each packet that
// may come out of order; TCP 32 with time stamps.
const transport::Registry<Kind>& Endpoints() {
  static const transport::Registry<Kind> registry("transport", {{"span", {&MakeSpan, 98}},
                                                                {"rc-gbn", {&MakeModel, 82}},
                                                                {"rc-sr", {&MakeModel, 98}},
                                                                {"tcp", {&MakeModel, 90}}});
  return registry;
}

}  // namespace

std::string EndpointSpec::congestion_or_usual() const {
  if (!congestion.empty()) return congestion;
  if (transport == "span") return "bbr";
  return transport == "tcp" ? "cubic" : "fixed";
}

uint32_t EndpointSpec::payload_or_usual() const {
  if (payload_bytes != 0) return payload_bytes;
  return transport == "tcp" ? 1448 : 4096;
}

std::vector<std::string_view> EndpointNames() { return Endpoints().names(); }

uint32_t OverheadBytes(std::string_view transport) {
  const auto kind = Endpoints().find(transport);
  FARSPAN_CHECK(kind);  // the scenario's reader knows the names
  return kind->overhead_bytes;
}

EndpointResult MakeEndpoint(const EndpointSpec& spec, uint32_t rank) {
  transport::RegisterControllers();
  const auto kind = Endpoints().find(spec.transport);
  if (!kind) return tl::unexpected(kind.error());
  return kind->make(spec, spec.seed * 1000 + rank, rank);
}

transport::Properties PropertiesOf(const EndpointSpec& spec) {
  return {spec.transport,
          transport::MaxMessageBytes(spec.payload_or_usual()),
          kMaxRequests,
          spec.rate.bits_per_s,
          {}};
}

}  // namespace farspan::testbed
