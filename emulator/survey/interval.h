// Intervals that hold the truth in 99.9 % of all runs.
//
// Counts: Clopper & Pearson (Biometrika 26, 1934), exact for independent trials; for trials that
// come in clusters, on the number of trials that would tell as much (Kish's design effect). Means
// of what is correlated (jitter): batch means (Law & Carson, Operations Research 27, 1979) over
// equal blocks that are long against the correlation, with Student's t.
#pragma once

#include <cstdint>
#include <span>

namespace farspan::survey {

inline constexpr double kConfidence = 0.999;
inline constexpr size_t kBlocks = 32;

struct Interval {
  double low = 0;
  double high = 0;
  bool holds(double value) const { return low <= value && value <= high; }
};

// Of a probability, where `hits` of `trials` were seen; `cluster` trials tell as much as one
// independent one.
Interval ProportionInterval(uint64_t hits, uint64_t trials, double cluster = 1);

// Of the mean of a long correlated series; at least kBlocks values.
Interval MeanInterval(std::span<const double> series);

double Mean(std::span<const double> series);

}  // namespace farspan::survey
