// The transports over verbs against the conformance suite, both ends in this process and on this
// machine's RDMA device. tests/vm runs it in a guest. Usage: conform_verbs span|rc
#include <fmt/core.h>

#include <cstdio>
#include <string_view>

#include "transports/testbed/conform.h"
#include "transports/verbs_net.h"

namespace farspan {
namespace {

using namespace farspan::literals;

Result<std::unique_ptr<transport::Transport>> Open(std::string_view name, uint64_t seed) {
  if (name == "rc") return OpenRcOverVerbs({}, *ParseSocketAddress("127.0.0.1:0"), {}, 10_s);
  transport::SpanConfig config;
  config.payload_bytes = 0;
  config.seed = seed;
  config.controller.rate = {100'000'000};
  return OpenSpanOverVerbs({}, config);
}

int Run(std::string_view name) {
  const auto a = Open(name, 1), b = Open(name, 2);
  if (!a || !b) {
    fmt::print("{}\n", (a ? b : a).error().text());
    return 2;
  }
  const auto pump = [&] {
    (*a)->progress((*a)->now());
    (*b)->progress((*b)->now() + 200_us);
  };
  bool good = true;
  for (size_t i = 0; i < testbed::ConformanceTitles().size(); ++i) {
    const auto result = testbed::RunConformanceCase({a->get(), b->get(), pump, 20_s}, i);
    fmt::print("{} {:<34} {} {}\n", (*a)->properties().name, result.name,
               result.passed ? "passed" : "FAILED", result.detail);
    std::fflush(stdout);
    good &= result.passed;
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace farspan

int main(int argc, char** argv) { return farspan::Run(argc > 1 ? argv[1] : "span"); }
