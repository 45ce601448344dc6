// Bounds for statistical tests: 99.9 % intervals and chi-square limits; test sizes by build.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace farspan::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

// How often to try: as asked, less under sanitizers, which are ten to fifty times slower. A twin
// that must be found out with so much less to see has to be more wrong.
constexpr uint64_t Tries(uint64_t count) { return kSanitized ? count / 10 : count; }
constexpr double Twin(double factor) { return kSanitized ? 1 + 4 * (factor - 1) : factor; }

// Two-sided 99.9 % interval of a normal distribution, in standard deviations.
inline constexpr double kInterval999 = 3.2905;

// 99.9 % quantile of chi-square (Wilson and Hilferty; within 1 % from 3 degrees of freedom on).
inline double ChiSquareLimit999(double degrees) {
  const double h = 2 / (9 * degrees);
  return degrees * std::pow(1 - h + 3.0902 * std::sqrt(h), 3);
}

struct ChiSquareResult {
  double value;
  double limit;
  bool fits() const { return value <= limit; }
};

// Counts seen against a law given by its probabilities for 0, 1, 2, ...; classes expected fewer
// than 10 times, and all beyond `probabilities`, are one class.
inline ChiSquareResult ChiSquare(const std::vector<uint64_t>& seen,
                                 const std::vector<double>& probabilities) {
  double total = 0;
  for (const uint64_t n : seen) total += static_cast<double>(n);
  double value = 0;
  double rest_seen = total;
  double rest_expected = total;
  int classes = 1;
  for (size_t i = 0; i < probabilities.size(); ++i) {
    const double expected = total * probabilities[i];
    if (expected < 10) continue;
    const double n = i < seen.size() ? static_cast<double>(seen[i]) : 0;
    value += (n - expected) * (n - expected) / expected;
    rest_seen -= n;
    rest_expected -= expected;
    ++classes;
  }
  if (rest_expected >= 1)
    value += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
  return {value, ChiSquareLimit999(classes - 1)};
}

// Kolmogorov's 99.9 % limit for the largest distance between n draws and their law.
inline double KolmogorovLimit999(double n) { return 1.9495 / std::sqrt(n); }

}  // namespace farspan::testing
