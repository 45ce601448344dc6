// TimeNs: an instant or a span of time in whole nanoseconds.
//
// Instants count from an origin that the driver chooses (the simulator starts at 0, the engine at
// its own start). Sums saturate, so that kNever + x stays kNever. Fractions of a nanosecond are
// carried by whoever divides (see link/serializer.h), never dropped here.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace farspan {

struct TimeNs {
  int64_t ns = 0;

  friend constexpr auto operator<=>(TimeNs, TimeNs) = default;

  friend constexpr TimeNs operator+(TimeNs a, TimeNs b) {
    int64_t sum = 0;
    if (__builtin_add_overflow(a.ns, b.ns, &sum)) {
      sum = b.ns > 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
    }
    return {sum};
  }
  friend constexpr TimeNs operator-(TimeNs a, TimeNs b) {
    int64_t difference = 0;
    if (__builtin_sub_overflow(a.ns, b.ns, &difference)) {
      difference =
          b.ns < 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
    }
    return {difference};
  }
  constexpr TimeNs& operator+=(TimeNs other) { return *this = *this + other; }
  constexpr TimeNs& operator-=(TimeNs other) { return *this = *this - other; }
};

inline constexpr TimeNs kNever{std::numeric_limits<int64_t>::max()};

constexpr double ToSeconds(TimeNs t) { return static_cast<double>(t.ns) * 1e-9; }

namespace literals {
constexpr TimeNs operator""_ns(unsigned long long n) { return {static_cast<int64_t>(n)}; }
constexpr TimeNs operator""_us(unsigned long long n) { return {static_cast<int64_t>(n) * 1'000}; }
constexpr TimeNs operator""_ms(unsigned long long n) {
  return {static_cast<int64_t>(n) * 1'000'000};
}
constexpr TimeNs operator""_s(unsigned long long n) {
  return {static_cast<int64_t>(n) * 1'000'000'000};
}
}  // namespace literals

}  // namespace farspan
