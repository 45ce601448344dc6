// Quantities with units: rates, lengths, sizes, probabilities; how people write and read them.
//
// Rates are bits per second with SI prefixes ("400 Gbps", "25 Mbit/s"; tc's "gbit" too, but not its
// "bps" for bytes: a capital B in a rate is refused), sizes are bytes with SI or binary prefixes
// ("64 MiB", "9 kB"), lengths are metres ("350 km", "825 mi"), times "25 ms", probabilities a
// fraction or a percentage ("1e-5", "0.001 %"). A bare number where a unit is needed is an error,
// and so is a bare probability of 0.1 or more where tc's users would have meant percent: "0.5"
// could be a half or half a percent.
//
// Parsing is in exact decimals, rounded half up to the quantum (1 ns, 1 bit/s, 1 mm, 1 byte); what
// is not zero but rounds to it is refused, and so is what overflows.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "emulator/base/result.h"
#include "emulator/base/time.h"

namespace farspan {

struct Rate {
  uint64_t bits_per_s = 0;
  friend constexpr auto operator<=>(Rate, Rate) = default;
};

struct Length {
  int64_t mm = 0;  // whole millimetres: 1 mm of glass is 5 ps
  friend constexpr auto operator<=>(Length, Length) = default;
};

namespace literals {
constexpr Rate operator""_gbps(unsigned long long n) { return {n * 1'000'000'000}; }
constexpr Rate operator""_mbps(unsigned long long n) { return {n * 1'000'000}; }
constexpr Length operator""_km(unsigned long long n) {
  return {static_cast<int64_t>(n) * 1'000'000};
}
}  // namespace literals

Result<TimeNs> ParseTime(std::string_view text);
Result<Rate> ParseRate(std::string_view text);
Result<Length> ParseLength(std::string_view text);
Result<uint64_t> ParseBytes(std::string_view text);
Result<double> ParseProbability(std::string_view text);   // in [0, 1]
Result<uint64_t> ParsePacketRate(std::string_view text);  // packets/s: "12 Mpps"

// Exact text that the parser reads back: "2.5 ms", "400 Gbps", "1328 km", "64 MiB", "1e-5".
// (Two texts are for people only: kNever is "never", and negative values have a sign.)
std::string ToText(TimeNs time);
std::string ToText(Rate rate);
std::string ToText(Length length);
std::string BytesToText(uint64_t bytes);
std::string ProbabilityToText(double probability);
std::string PacketRateToText(uint64_t packets_per_s);

}  // namespace farspan
