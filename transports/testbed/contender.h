// Contenders: the endpoints that a comparison sets against each other in virtual time, by name.
//
// Span with any recovery and congestion controller, and the models of today's transports under the
// names of endpoints.h. All ranks of a run are made alike but for their seed.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "transports/core/span.h"
#include "transports/testbed/presets.h"
#include "transports/testbed/scenario.h"

namespace farspan::testbed {

// What an endpoint has put on the wire, or found there.
struct TrafficBytes {
  uint64_t received = 0;  // each byte once, those that parity gave too
  uint64_t resent = 0;
  uint64_t duplicate = 0;  // received again
  uint64_t parity = 0;

  TrafficBytes& operator+=(const TrafficBytes& other);
  friend TrafficBytes operator-(const TrafficBytes& a, const TrafficBytes& b);
  friend bool operator==(const TrafficBytes&, const TrafficBytes&) = default;
};

struct ContenderEndpoint {
  std::unique_ptr<transport::Endpoint> endpoint;
  std::function<TrafficBytes()> traffic;  // so far
};

struct EndpointOrder {
  const ContenderSpec* spec = nullptr;
  Rate rate{};        // `fixed`: of one path of a rank; others: of the host's port
  NcclPreset preset;  // baselines
  uint32_t payload_bytes = 4096;
  uint32_t window_packets = 1u << 19;  // in flight on a path, a power of two
  TimeNs timeout{};
  uint64_t seed = 1;
};

// Span's part of an order, and what a Span has counted.
transport::SpanConfig SpanConfigOf(const EndpointOrder& order);
TrafficBytes TrafficOf(const transport::Span& span);

Result<ContenderEndpoint> MakeContender(const EndpointOrder& order);

// What follows from a contender's transport, recovery, congestion control and tuning where nothing
// else is said: class, schedule, channels and name.
void CompleteContender(const Scenario& scenario, ContenderSpec& spec);
// What a scenario runs that names no contenders.
std::vector<ContenderSpec> StandardContenders(const Scenario& scenario);

}  // namespace farspan::testbed
