// Quantities from arbitrary text: never a crash, and what is read survives being written.

#include <cstdint>
#include <string_view>

#include "emulator/base/check.h"
#include "emulator/base/units.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace farspan;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto time = ParseTime(text); time && *time != kNever) {
    FARSPAN_CHECK(time->ns >= 0 && *ParseTime(ToText(*time)) == *time);
  }
  if (const auto rate = ParseRate(text)) FARSPAN_CHECK(*ParseRate(ToText(*rate)) == *rate);
  if (const auto length = ParseLength(text)) {
    FARSPAN_CHECK(length->mm >= 0 && *ParseLength(ToText(*length)) == *length);
  }
  if (const auto bytes = ParseBytes(text))
    FARSPAN_CHECK(*ParseBytes(BytesToText(*bytes)) == *bytes);
  if (const auto p = ParseProbability(text)) {
    FARSPAN_CHECK(*p >= 0 && *p <= 1 && *ParseProbability(ProbabilityToText(*p)) == *p);
  }
  return 0;
}
