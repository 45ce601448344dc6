#include "emulator/base/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "emulator/base/int128.h"

namespace farspan {
namespace {

// 10^24 x the largest unit (60e9 ns, 1 TiB) stays below 2^127.
constexpr int kMaxDigits = 24;
constexpr size_t kMaxTextBytes = 64;

// mantissa x 10^exponent, exact.
struct Decimal {
  Uint128 mantissa = 0;
  int exponent = 0;
};

struct Unit {
  std::string_view name;
  uint64_t quanta;  // in ns, bit/s, mm or bytes
};

struct Quantity {
  const char* what;
  const char* example;
  const char* smallest;
  std::span<const Unit> units;
  uint64_t max;
  std::string (*canonical)(std::string_view unit);  // other spellings to those of `units`
};

constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }
constexpr bool IsSpace(char c) { return c == ' ' || c == '\t'; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, kMaxTextBytes)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  if (text.size() > kMaxTextBytes) out += "...";
  return out + '"';
}

// Takes "12", "2.5", ".5", "1e-4" off the front of `text`. False: no number, or too many digits.
bool TakeDecimal(std::string_view& text, Decimal& out) {
  size_t i = 0;
  int digits = 0;
  int significant = 0;
  bool fraction = false;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.' && !fraction) {
      fraction = true;
      continue;
    }
    if (!IsDigit(c)) break;
    ++digits;
    if (out.mantissa != 0 || c != '0') ++significant;
    if (significant > kMaxDigits) return false;
    out.mantissa = out.mantissa * 10 + static_cast<unsigned>(c - '0');
    if (fraction) --out.exponent;
  }
  if (digits == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    size_t j = i + 1;
    if (j < text.size() && text[j] == '+') ++j;
    int exponent = 0;
    const auto [end, error] = std::from_chars(text.data() + j, text.data() + text.size(), exponent);
    if (error == std::errc{} && exponent >= -400 && exponent <= 400) {
      out.exponent += exponent;
      i = static_cast<size_t>(end - text.data());
    }
  }
  text.remove_prefix(i);
  return true;
}

// round(decimal x unit), half up; false on overflow of 64 bits.
bool Scale(const Decimal& decimal, uint64_t unit, uint64_t& out) {
  Uint128 value = decimal.mantissa * unit;
  constexpr Uint128 kMax = std::numeric_limits<uint64_t>::max();
  for (int e = decimal.exponent; e > 0 && value != 0; --e) {
    if (value > kMax) return false;
    value *= 10;
  }
  for (int e = decimal.exponent; e < -1 && value != 0; ++e) value /= 10;
  if (decimal.exponent < 0) value = (value + 5) / 10;
  out = static_cast<uint64_t>(value);
  return value <= kMax;
}

std::string UnitList(const Quantity& quantity) {
  std::string list;
  for (const Unit& unit : quantity.units) list.append(list.empty() ? "" : ", ").append(unit.name);
  return list;
}

auto Refuse(const char* what, const char* example, std::string_view text, const std::string& why) {
  return Fail(ErrorCode::kInvalid,
              Quoted(text) + ": " + why + "; expected " + what + " such as \"" + example + '"');
}

// The number at the front of `text`, which keeps the rest. An error is why not.
tl::expected<Decimal, std::string> ParseNumber(std::string_view& text) {
  text = Trim(text);
  Decimal decimal;
  if (text.empty()) return tl::unexpected<std::string>("it is empty");
  if (text.size() > kMaxTextBytes) return tl::unexpected<std::string>("it is too long");
  if (text.front() == '-') return tl::unexpected<std::string>("it must not be negative");
  if (text.front() == '+') text.remove_prefix(1);
  if (!TakeDecimal(text, decimal)) {
    return tl::unexpected<std::string>("it does not begin with a number of at most 24 digits");
  }
  text = Trim(text);
  return decimal;
}

Result<uint64_t> Parse(const Quantity& quantity, std::string_view whole) {
  const auto refuse = [&](const std::string& why) {
    return Refuse(quantity.what, quantity.example, whole, why);
  };
  std::string_view text = whole;
  const auto decimal = ParseNumber(text);
  if (!decimal) return refuse(decimal.error());
  if (text.empty()) return refuse("it has no unit (" + UnitList(quantity) + ")");
  const std::string name = quantity.canonical(text);
  for (const Unit& unit : quantity.units) {
    if (name != unit.name) continue;
    uint64_t value = 0;
    if (!Scale(*decimal, unit.quanta, value) || value > quantity.max) {
      return refuse("it is too large");
    }
    if (value == 0 && decimal->mantissa != 0) {
      return refuse(std::string("it is less than ") + quantity.smallest);
    }
    return value;
  }
  return refuse("unknown unit " + Quoted(text) + " (know " + UnitList(quantity) + ")");
}

std::string AsWritten(std::string_view unit) { return std::string(unit); }

// tc's "msec", "usecs"; the micro sign (U+00B5) and the Greek letter (U+03BC).
std::string CanonicalTime(std::string_view unit) {
  std::string name(unit);
  if (name.starts_with("\xc2\xb5") || name.starts_with("\xce\xbc")) name.replace(0, 2, "u");
  for (const std::string_view word : {"secs", "sec"}) {
    if (name.ends_with(word)) return name.substr(0, name.size() - word.size()) + "s";
  }
  return name;
}

// tc's "gbit", "Gbit/s", "Gb/s"; a prefix in either case. Capital B is bytes, and refused.
std::string CanonicalRate(std::string_view unit) {
  for (const std::string_view word : {"bits/s", "bit/s", "b/s", "bits", "bit", "bps"}) {
    if (!unit.ends_with(word)) continue;
    std::string prefix(unit.substr(0, unit.size() - word.size()));
    if (prefix == "K") prefix = "k";
    if (prefix == "ki") prefix = "Ki";
    for (const char c : {'m', 'g', 't'}) {
      if (prefix.starts_with(c)) prefix[0] = static_cast<char>(c - 'a' + 'A');
    }
    return prefix + "bps";
  }
  return std::string(unit);
}

constexpr auto kTimeUnits = std::to_array<Unit>(
    {{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"min", 60'000'000'000}});
constexpr auto kRateUnits = std::to_array<Unit>({{"bps", 1},
                                                 {"kbps", 1'000},
                                                 {"Mbps", 1'000'000},
                                                 {"Gbps", 1'000'000'000},
                                                 {"Tbps", 1'000'000'000'000},
                                                 {"Kibps", uint64_t{1} << 10},
                                                 {"Mibps", uint64_t{1} << 20},
                                                 {"Gibps", uint64_t{1} << 30}});
constexpr auto kLengthUnits = std::to_array<Unit>(
    {{"mm", 1}, {"cm", 10}, {"m", 1'000}, {"km", 1'000'000}, {"mi", 1'609'344}});
constexpr auto kByteUnits = std::to_array<Unit>({{"B", 1},
                                                 {"kB", 1'000},
                                                 {"MB", 1'000'000},
                                                 {"GB", 1'000'000'000},
                                                 {"TB", 1'000'000'000'000},
                                                 {"KiB", uint64_t{1} << 10},
                                                 {"MiB", uint64_t{1} << 20},
                                                 {"GiB", uint64_t{1} << 30},
                                                 {"TiB", uint64_t{1} << 40}});

constexpr auto kPacketRateUnits = std::to_array<Unit>(
    {{"pps", 1}, {"kpps", 1'000}, {"Mpps", 1'000'000}, {"Gpps", 1'000'000'000}});

constexpr uint64_t kMaxSigned = std::numeric_limits<int64_t>::max();
constexpr uint64_t kMaxUnsigned = std::numeric_limits<uint64_t>::max();
constexpr Quantity kTime{"a time", "25 ms", "1 ns", kTimeUnits, kMaxSigned, CanonicalTime};
constexpr Quantity kRate{
    "a rate in bits per second", "400 Gbps", "1 bps", kRateUnits, kMaxUnsigned, CanonicalRate};
constexpr Quantity kLength{"a length", "350 km", "1 mm", kLengthUnits, kMaxSigned, AsWritten};
constexpr Quantity kBytes{"a size in bytes", "64 MiB", "1 B", kByteUnits, kMaxUnsigned, AsWritten};
constexpr Quantity kPacketRate{"a packet rate",  "12 Mpps",    "1 pps",
                               kPacketRateUnits, kMaxUnsigned, AsWritten};

std::string DecimalText(Uint128 mantissa, int exponent) {
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(mantissa % 10)));
    mantissa /= 10;
  } while (mantissa != 0);
  return digits + "e" + std::to_string(exponent);
}

// value / unit as an exact decimal; `unit` is a power of ten.
std::string Quotient(uint64_t value, uint64_t unit) {
  std::string text = std::to_string(value / unit);
  const uint64_t rest = value % unit;
  if (rest == 0) return text;
  std::string fraction = std::to_string(unit + rest).substr(1);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return text + '.' + fraction;
}

struct DecimalUnit {
  uint64_t quanta;
  const char* name;
};

// In the largest unit of which there is at least one.
std::string InLargest(uint64_t value, std::span<const DecimalUnit> largest_first) {
  for (const DecimalUnit& unit : largest_first) {
    if (value >= unit.quanta) return Quotient(value, unit.quanta) + ' ' + unit.name;
  }
  return std::string("0 ") + largest_first.back().name;
}

}  // namespace

Result<TimeNs> ParseTime(std::string_view text) {
  return Parse(kTime, text).map([](uint64_t ns) { return TimeNs{static_cast<int64_t>(ns)}; });
}

Result<Rate> ParseRate(std::string_view text) {
  return Parse(kRate, text).map([](uint64_t bits) { return Rate{bits}; });
}

Result<Length> ParseLength(std::string_view text) {
  return Parse(kLength, text).map([](uint64_t mm) { return Length{static_cast<int64_t>(mm)}; });
}

Result<uint64_t> ParseBytes(std::string_view text) { return Parse(kBytes, text); }

Result<uint64_t> ParsePacketRate(std::string_view text) { return Parse(kPacketRate, text); }

Result<double> ParseProbability(std::string_view whole) {
  const auto refuse = [&](const std::string& why) {
    return Refuse("a probability", "1e-5\" or \"0.001 %", whole, why);
  };
  std::string_view text = whole;
  const auto decimal = ParseNumber(text);
  if (!decimal) return refuse(decimal.error());
  const bool percent = text == "%";
  if (!percent && !text.empty()) return refuse("unknown unit " + Quoted(text) + " (know %)");
  const std::string digits = DecimalText(decimal->mantissa, decimal->exponent - (percent ? 2 : 0));
  double value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (parsed.ec != std::errc{}) return refuse("it is beyond what a double holds");
  if (!percent && value >= 0.1) {
    return refuse("a bare number of 0.1 or more could be meant as percent: write \"" +
                  std::string(Trim(whole)) + " %\" or the fraction as a percentage");
  }
  if (value > 1) return refuse("it is more than 100 %");
  return value;
}

std::string ToText(TimeNs time) {
  if (time == kNever) return "never";
  static constexpr auto kUnits = std::to_array<DecimalUnit>(
      {{1'000'000'000, "s"}, {1'000'000, "ms"}, {1'000, "us"}, {1, "ns"}});
  const uint64_t magnitude = time.ns < 0 ? -static_cast<uint64_t>(time.ns) : time.ns;
  return (time.ns < 0 ? "-" : "") + InLargest(magnitude, kUnits);
}

std::string ToText(Rate rate) {
  static constexpr auto kUnits = std::to_array<DecimalUnit>({{1'000'000'000'000, "Tbps"},
                                                             {1'000'000'000, "Gbps"},
                                                             {1'000'000, "Mbps"},
                                                             {1'000, "kbps"},
                                                             {1, "bps"}});
  return InLargest(rate.bits_per_s, kUnits);
}

std::string PacketRateToText(uint64_t packets_per_s) {
  static constexpr auto kUnits = std::to_array<DecimalUnit>(
      {{1'000'000'000, "Gpps"}, {1'000'000, "Mpps"}, {1'000, "kpps"}, {1, "pps"}});
  return InLargest(packets_per_s, kUnits);
}

std::string ToText(Length length) {
  static constexpr auto kUnits =
      std::to_array<DecimalUnit>({{1'000'000, "km"}, {1'000, "m"}, {1, "mm"}});
  const uint64_t magnitude = length.mm < 0 ? -static_cast<uint64_t>(length.mm) : length.mm;
  return (length.mm < 0 ? "-" : "") + InLargest(magnitude, kUnits);
}

std::string BytesToText(uint64_t bytes) {
  const Unit* best = &kByteUnits.front();
  for (const Unit& unit : kByteUnits) {
    if (bytes != 0 && bytes % unit.quanta == 0 && unit.quanta > best->quanta) best = &unit;
  }
  return std::to_string(bytes / best->quanta) + ' ' + std::string(best->name);
}

// From 0.1 on as a percentage, because the parser refuses the bare number.
std::string ProbabilityToText(double probability) {
  if (probability == 0) return "0";
  char buffer[64];
  const bool tiny = probability < 1e-3;
  const auto format =
      probability < 0.1 && !tiny ? std::chars_format::fixed : std::chars_format::scientific;
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, probability, format).ptr);
  if (format == std::chars_format::fixed) return text;
  const size_t e = text.find('e');
  if (tiny) {  // "1e-05" to "1e-5"
    const size_t zeros = text.find_first_not_of('0', e + 2);
    return text.substr(0, e + 2) + text.substr(zeros);
  }
  if (probability == 1) return "100 %";
  std::string digits = text.substr(0, 1) + (e > 2 ? text.substr(2, e - 2) : "0");  // "2.5e-01"
  if (digits.size() > 2) digits.insert(2, ".");
  return digits + " %";
}

}  // namespace farspan
