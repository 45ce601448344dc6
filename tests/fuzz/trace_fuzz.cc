// Trace files and tc's .dist tables from arbitrary text: points in order, or one error.

#include <cstdint>
#include <string_view>

#include "emulator/base/check.h"
#include "emulator/config/trace_file.h"

namespace {

template <typename T>
void CheckOrder(const farspan::Result<std::vector<farspan::config::TracePoint<T>>>& points) {
  if (!points) {
    FARSPAN_CHECK(points.error().context.starts_with("fuzz:"));
    return;
  }
  FARSPAN_CHECK(!points->empty());
  for (size_t i = 1; i < points->size(); ++i) {
    FARSPAN_CHECK((*points)[i - 1].at < (*points)[i].at);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace farspan::config;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckOrder(ParseRateTrace(text, "fuzz"));
  CheckOrder(ParseDelayTrace(text, "fuzz"));
  CheckOrder(ParseLossTrace(text, "fuzz"));
  const auto table = ParseDistribution(text, "fuzz");
  FARSPAN_CHECK(!table || !table->empty());
  return 0;
}
