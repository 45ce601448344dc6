#include "tests/support/span_pair.h"

#include <utility>

namespace farspan::test {
namespace {

std::unique_ptr<transport::Span> MakeSpan(const PairOptions& options, uint64_t which) {
  transport::SpanConfig config = options.config;
  config.seed = 2 * options.link_seed + which;
  return Must(transport::Span::Create(config));
}

}  // namespace

SpanPair::SpanPair(const PairOptions& options)
    : EndpointPair(options, MakeSpan(options, 0), MakeSpan(options, 1)),
      span_a(static_cast<transport::Span*>(&a->endpoint())),
      span_b(static_cast<transport::Span*>(&b->endpoint())) {}

}  // namespace farspan::test
