#include "tests/support/span_cross_check.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "emulator/base/check.h"
#include "tests/support/link_support.h"
#include "tests/support/span_pair.h"
#include "tests/support/statistics.h"

namespace farspan::test {
namespace {

constexpr uint32_t kPayload = 4096;
constexpr TimeNs kLimit{10'000'000'000'000};

transport::SpanConfig Config(const CrossCase& c) {
  transport::SpanConfig config;
  config.recovery = c.recovery;
  config.payload_bytes = kPayload;
  config.lengths_only = true;
  config.max_connections = 1;
  config.controller.rate = c.rate;
  config.window_packets = c.window;
  return config;
}

PairOptions Options(const CrossCase& c, uint64_t seed) {
  PairOptions options;
  options.config = Config(c);
  options.there = options.back = Plain(c.rate, TimeNs{c.rtt.ns / 2});
  for (auto* direction : {&options.there, &options.back}) {
    direction->lanes[0].loss.kind = link::LossKind::kBernoulli;
    direction->lanes[0].loss.probability = c.loss;
  }
  options.link_seed = MakeStreamKey(seed, c.recovery, static_cast<uint32_t>(c.datagrams)).value;
  const double bits = static_cast<double>(c.rate.bits_per_s) * ToSeconds(c.rtt);
  options.capacity.packets = 1'024 + static_cast<size_t>(bits / 8 / kPayload);
  options.sim.granularity = c.granularity;
  return options;
}

uint64_t WarmUp(const CrossCase& c) { return c.warm_up == 0 ? c.datagrams : c.warm_up; }

}  // namespace

CrossSamples Simulated(const CrossCase& c) {
  CrossSamples samples;
  for (uint64_t seed = 0; seed < c.seeds; ++seed) {
    SpanPair pair(Options(c, seed));
    FARSPAN_CHECK(pair.connect(kLimit));
    pair.exchange(WarmUp(c) * kPayload, c.rtt, kLimit);
    for (uint64_t i = 0; i < c.messages; ++i) {
      const transport::SpanCounters before = pair.span_a->counters();
      const MessageTimes times = pair.exchange(c.datagrams * kPayload, c.rtt, kLimit);
      FARSPAN_CHECK(times.sender != kNever && times.receiver != kNever);
      const transport::SpanCounters& after = pair.span_a->counters();
      samples.receiver_s.push_back(ToSeconds(times.receiver));
      samples.sender_s.push_back(ToSeconds(times.sender));
      samples.resent.push_back(static_cast<double>(after.data_resent - before.data_resent));
      samples.parity.push_back(static_cast<double>(after.parity_sent - before.parity_sent));
    }
  }
  return samples;
}

CrossSamples Modelled(const CrossCase& c,
                      const std::function<void(testbed::SpanModelOptions&)>& change) {
  CrossSamples samples;
  for (uint64_t seed = 0; seed < c.seeds; ++seed) {
    testbed::SpanModelOptions options{
        .config = Config(c), .rtt = c.rtt, .loss = c.loss, .loss_back = c.loss, .seed = seed};
    change(options);
    testbed::SpanModel model = Must(testbed::SpanModel::Create(options));
    model.exchange(WarmUp(c));
    for (uint64_t i = 0; i < c.messages; ++i) {
      const testbed::ModelledMessage message = model.exchange(c.datagrams);
      samples.receiver_s.push_back(message.receiver_s);
      samples.sender_s.push_back(message.sender_s);
      samples.resent.push_back(static_cast<double>(message.resent));
      samples.parity.push_back(static_cast<double>(message.parity));
    }
  }
  return samples;
}

double Distance(std::vector<double> a, std::vector<double> b, double slack) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  // How far the first's distribution function may lie above that of the second, were it later.
  const auto above = [slack](const std::vector<double>& first, const std::vector<double>& second) {
    double most = 0;
    size_t below = 0;
    for (size_t i = 0; i < first.size(); ++i) {
      const double at = first[i] * (1 + slack);
      while (below < second.size() && second[below] <= at) ++below;
      most = std::max(most, static_cast<double>(i + 1) / static_cast<double>(first.size()) -
                                static_cast<double>(below) / static_cast<double>(second.size()));
    }
    return most;
  };
  return std::max(above(a, b), above(b, a));
}

double DistanceLimit999(size_t a, size_t b) {
  const double n = static_cast<double>(a) * static_cast<double>(b) / static_cast<double>(a + b);
  return testing::KolmogorovLimit999(n);
}

testbed::Estimate CountDifference(const std::vector<double>& a, const std::vector<double>& b) {
  const auto sum = [](const std::vector<double>& counts) {
    return std::accumulate(counts.begin(), counts.end(), 0.0);
  };
  const auto samples = [](const auto& counts) { return static_cast<double>(counts.size()); };
  const double poisson = (sum(a) + sum(b)) / (samples(a) + samples(b));
  double variance = 0;  // of the difference
  for (const auto* counts : {&a, &b}) {
    const double mean = sum(*counts) / samples(*counts);
    double square = 0;
    for (const double count : *counts) square += (count - mean) * (count - mean);
    variance += std::max(poisson, square / (samples(*counts) - 1)) / samples(*counts);
  }
  const double difference = sum(a) / samples(a) - sum(b) / samples(b);
  const double reach = testing::kInterval999 * std::sqrt(variance);
  return {difference, difference - reach, difference + reach};
}

}  // namespace farspan::test
