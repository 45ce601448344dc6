#include "emulator/survey/interval.h"

#include <array>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>

#include "emulator/base/check.h"

namespace farspan::survey {

Interval ProportionInterval(uint64_t hits, uint64_t trials, double cluster) {
  if (trials == 0) return {0, 1};
  using Binomial = boost::math::binomial_distribution<>;
  const auto n = static_cast<double>(trials) / cluster;
  const auto k = static_cast<double>(hits) / cluster;
  const double tail = (1 - kConfidence) / 2;
  return {Binomial::find_lower_bound_on_p(n, k, tail), Binomial::find_upper_bound_on_p(n, k, tail)};
}

double Mean(std::span<const double> series) {
  return series.empty() ? 0
                        : std::accumulate(series.begin(), series.end(), 0.0) /
                              static_cast<double>(series.size());
}

Interval MeanInterval(std::span<const double> series) {
  FARSPAN_CHECK(series.size() >= kBlocks);
  std::array<double, kBlocks> means;
  const size_t block = series.size() / kBlocks;
  for (size_t i = 0; i < kBlocks; ++i) means[i] = Mean(series.subspan(i * block, block));
  const double centre = Mean(means);
  double square = 0;
  for (const double mean : means) square += (mean - centre) * (mean - centre);
  const double error = std::sqrt(square / (kBlocks - 1) / kBlocks);
  const boost::math::students_t_distribution<> student(kBlocks - 1);
  const double reach = boost::math::quantile(student, (1 + kConfidence) / 2) * error;
  return {centre - reach, centre + reach};
}

}  // namespace farspan::survey
