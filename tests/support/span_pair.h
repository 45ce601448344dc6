// Two Span endpoints on a simulated wire, connected: a sends, b receives.
#pragma once

#include "tests/support/endpoint_pair.h"
#include "transports/core/span.h"

namespace farspan::test {

struct PairOptions : WireOptions {
  transport::SpanConfig config;  // of both, but for the seed
};

class SpanPair : public EndpointPair {
 public:
  explicit SpanPair(const PairOptions& options);

  transport::Span* span_a = nullptr;
  transport::Span* span_b = nullptr;
};

}  // namespace farspan::test
