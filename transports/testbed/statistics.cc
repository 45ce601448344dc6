#include "transports/testbed/statistics.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>

namespace farspan::testbed {
namespace {

constexpr double kTail = 0.025;

}  // namespace

std::optional<Estimate> Quantile(std::span<const double> sorted, double q, size_t needed) {
  if (sorted.size() < needed || sorted.empty()) return std::nullopt;
  const auto n = static_cast<double>(sorted.size());
  const auto at = [&](double rank) {  // 1 is the smallest
    return sorted[static_cast<size_t>(std::clamp(rank, 1.0, n)) - 1];
  };
  using Policy = boost::math::policies::policy<
      boost::math::policies::discrete_quantile<boost::math::policies::integer_round_outwards>>;
  const boost::math::binomial_distribution<double, Policy> below(n, q);
  return Estimate{at(std::ceil(q * n)), at(boost::math::quantile(below, kTail)),
                  at(boost::math::quantile(boost::math::complement(below, kTail)) + 1)};
}

Summary Summarise(std::vector<double> samples) {
  Summary summary;
  summary.samples = samples.size();
  if (samples.empty()) return summary;
  const auto n = static_cast<double>(samples.size());
  summary.mean = std::accumulate(samples.begin(), samples.end(), 0.0) / n;
  if (samples.size() > 1) {
    double square = 0;
    for (const double sample : samples) square += (sample - summary.mean) * (sample - summary.mean);
    const boost::math::students_t student(n - 1);
    const double reach =
        boost::math::quantile(student, 1 - kTail) * std::sqrt(square / (n - 1) / n);
    summary.mean_interval = {summary.mean, summary.mean - reach, summary.mean + reach};
  }
  std::sort(samples.begin(), samples.end());
  summary.p50 = Quantile(samples, 0.5, 10);
  summary.p99 = Quantile(samples, 0.99, 1'000);
  summary.p999 = Quantile(samples, 0.999, 10'000);
  return summary;
}

}  // namespace farspan::testbed
