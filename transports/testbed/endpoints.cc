#include "transports/testbed/endpoints.h"

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

const transport::Registry<Factory>& Endpoints() {
  static const transport::Registry<Factory> registry(
      "transport",
      {{"span", &MakeSpan}, {"rc-gbn", &MakeModel}, {"rc-sr", &MakeModel}, {"tcp", &MakeModel}});
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

EndpointResult MakeEndpoint(const EndpointSpec& spec, uint32_t rank) {
  transport::RegisterControllers();
  const auto make = Endpoints().find(spec.transport);
  if (!make) return tl::unexpected(make.error());
  return (*make)(spec, spec.seed * 1000 + rank, rank);
}

transport::Properties PropertiesOf(const EndpointSpec& spec) {
  return {spec.transport,
          transport::MaxMessageBytes(spec.payload_or_usual()),
          kMaxRequests,
          spec.rate.bits_per_s,
          {}};
}

}  // namespace farspan::testbed
