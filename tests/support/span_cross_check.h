// The same messages of Span by the packet simulator and by the model of losses (span_model.h), and
// whether their times have one law.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "transports/testbed/span_model.h"
#include "transports/testbed/statistics.h"

namespace farspan::test {

struct CrossCase {
  std::string recovery;
  uint64_t datagrams = 32'768;
  double loss = 0;
  Rate rate{400'000'000'000};
  TimeNs rtt{25'000'000};
  uint64_t seeds = 200;   // connections
  uint64_t messages = 1;  // on each, after one that is not looked at
  uint64_t warm_up = 0;   // datagrams of that one; 0: as many as the others
  uint32_t window = 1u << 20;
  TimeNs granularity{2'000};  // of the simulator
};

struct CrossSamples {
  std::vector<double> receiver_s, sender_s;
  std::vector<double> resent;  // datagrams
  std::vector<double> parity;
};

CrossSamples Simulated(const CrossCase& c);
// `change` may spoil the options, for twins that must be found out.
CrossSamples Modelled(
    const CrossCase& c,
    const std::function<void(testbed::SpanModelOptions&)>& change = [](auto&) {});

// Kolmogorov and Smirnov's largest distance between two distributions of which one may be later
// than the other by `slack`, a fraction of the time; and what it exceeds once in a thousand times
// where the two have one law.
double Distance(std::vector<double> a, std::vector<double> b, double slack);
double DistanceLimit999(size_t a, size_t b);

// Difference of the mean counts, a's over b's, with its 99.9 % interval (normal; counts vary at
// least as Poisson's do, which matters where hardly any is not 0).
testbed::Estimate CountDifference(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace farspan::test
