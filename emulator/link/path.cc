#include "emulator/link/path.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "emulator/base/int128.h"

namespace farspan::link {
namespace {

constexpr int64_t kIndexScale = 1'000'000'000;
constexpr int64_t kLightMetresPerSecond = 299'792'458;

uint64_t Amplifiers(const PathSpec& path) {
  if (path.amplifier_spacing.mm <= 0) return 0;
  return static_cast<uint64_t>(path.length.mm / path.amplifier_spacing.mm);
}

TimeNs Times(uint64_t count, TimeNs each) {
  const Int128 ns = static_cast<Int128>(count) * each.ns;
  return ns > kNever.ns ? kNever : TimeNs{static_cast<int64_t>(ns)};
}

std::string Shortest(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

}  // namespace

TimeNs GlassDelay(Length length, double group_index) {
  const auto index = static_cast<Int128>(std::llround(group_index * kIndexScale));
  // mm x index / (m/s) is ms; 10^6 ns each.
  const Int128 numerator = length.mm * index * 1'000'000;
  const Int128 denominator = static_cast<Int128>(kLightMetresPerSecond) * kIndexScale;
  const Int128 ns = (numerator + denominator / 2) / denominator;
  return ns > kNever.ns ? kNever : TimeNs{static_cast<int64_t>(ns)};
}

std::vector<DelayTerm> DelayTerms(const PathSpec& path) {
  std::vector<DelayTerm> terms;
  if (path.length.mm != 0) {
    terms.push_back({ToText(path.length) + " of glass, group index " + Shortest(path.group_index),
                     GlassDelay(path.length, path.group_index)});
  }
  if (const uint64_t count = Amplifiers(path); count != 0) {
    terms.push_back({std::to_string(count) + " amplifiers of " + ToText(path.amplifier_delay),
                     Times(count, path.amplifier_delay)});
  }
  if (path.regenerators != 0) {
    terms.push_back(
        {std::to_string(path.regenerators) + " regenerators of " + ToText(path.regenerator_delay),
         Times(path.regenerators, path.regenerator_delay)});
  }
  if (path.fec_delay.ns != 0) terms.push_back({"transponder FEC", path.fec_delay});
  if (path.delay.ns != 0 || terms.empty()) terms.push_back({"fixed delay", path.delay});
  return terms;
}

TimeNs OneWayDelay(const PathSpec& path) {
  return GlassDelay(path.length, path.group_index) + Times(Amplifiers(path), path.amplifier_delay) +
         Times(path.regenerators, path.regenerator_delay) + path.fec_delay + path.delay;
}

}  // namespace farspan::link
