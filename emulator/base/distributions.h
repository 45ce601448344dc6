// Distributions over the words of random.h: pure functions, and small tables built once.
//
// Results depend on nothing but their arguments. The arithmetic is plain IEEE doubles; log, exp,
// erfc and sqrt are the C library's, whose last digit may differ between libraries: two machines
// agree as far as their libm does (no std:: distribution is used, whose results are the compiler's
// own affair). Nothing allocates.
#pragma once

#include <array>
#include <cstdint>

#include "emulator/base/random.h"

namespace farspan {

// The standard normal distribution function.
double NormalCdf(double x);

// Its inverse, for u in (0, 1): Wichura, algorithm AS 241 (PPND16), Applied Statistics 37 (1988);
// relative error about 1e-16.
double NormalQuantile(double u);

// How many trials fail before the first success, each succeeding with `probability` in [0, 1];
// kNone where that is beyond 2^62, as for probability 0.
class Geometric {
 public:
  static constexpr uint64_t kNone = uint64_t{1} << 62;

  Geometric() : Geometric(0) {}
  explicit Geometric(double probability);
  uint64_t operator()(uint64_t word) const;

 private:
  double scale_;  // 1 / ln(1 - probability)
};

// Poisson counts of a small mean, by inversion; counts above kMax are given as kMax.
class PoissonCount {
 public:
  static constexpr double kMaxMean = 4;
  static constexpr int kMax = 32;  // exceeded with probability 1e-19 at mean 4

  PoissonCount() : PoissonCount(0) {}
  explicit PoissonCount(double mean);
  int operator()(uint64_t word) const {
    int count = 0;
    while (count < kMax && word >= below_[count]) ++count;
    return count;
  }

 private:
  std::array<uint64_t, kMax> below_;  // P(N <= n) x 2^64
};

}  // namespace farspan
