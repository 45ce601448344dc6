#include "tests/lab/probe/analysis.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

namespace farspan::probe {
namespace {

// The first copies, in order of arrival; fills the counts of order and duplicates.
std::vector<uint64_t> CountOrder(std::span<const Sample> samples, Analysis& result) {
  std::vector<uint64_t> order;
  std::vector<uint64_t> largest;  // of order[0..i]
  std::unordered_set<uint64_t> seen;
  order.reserve(samples.size());
  largest.reserve(samples.size());
  seen.reserve(samples.size());
  for (const Sample& sample : samples) {
    const uint64_t sequence = sample.sequence;
    if (!seen.insert(sequence).second) {
      ++result.duplicates;
      continue;
    }
    if (!largest.empty() && sequence < largest.back()) {
      ++result.reordered;
      const auto earliest_later = std::upper_bound(largest.begin(), largest.end(), sequence);
      result.reorder_extent_max =
          std::max<uint64_t>(result.reorder_extent_max, largest.end() - earliest_later);
    }
    largest.push_back(largest.empty() ? sequence : std::max(sequence, largest.back()));
    order.push_back(sequence);
  }
  return order;
}

void FindGaps(std::vector<uint64_t> sequences, Analysis& result) {
  std::sort(sequences.begin(), sequences.end());
  uint64_t expected = 0;
  for (uint64_t sequence : sequences) {
    if (sequence > expected) {
      result.gaps.push_back({expected, sequence - expected});
      result.missing += sequence - expected;
    }
    expected = sequence + 1;
  }
}

void MeasureRate(std::span<const Sample> samples, Analysis& result) {
  if (samples.size() < 10) return;
  const int64_t start = samples.front().received_ns;
  const int64_t span = samples.back().received_ns - start;
  const auto at = [&](double share) {
    return std::partition_point(samples.begin(), samples.end(), [&](const Sample& s) {
      return static_cast<double>(s.received_ns - start) < share * static_cast<double>(span);
    });
  };
  const auto first = at(0.2);
  const auto last = at(0.8);
  if (last <= first || last->received_ns == first->received_ns) return;
  uint64_t bytes = 0;
  for (auto s = first; s != last; ++s) bytes += s->bytes;
  const double seconds = static_cast<double>(last->received_ns - first->received_ns) * 1e-9;
  result.payload_bits_per_s = 8 * static_cast<double>(bytes) / seconds;
  result.packets_per_s = static_cast<double>(last - first) / seconds;
  const double sending = static_cast<double>(last->sent_ns - first->sent_ns) * 1e-9;
  if (sending > 0) result.sent_packets_per_s = static_cast<double>(last - first) / sending;
}

}  // namespace

DelayStatistics Summarise(std::vector<int64_t> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(values.size())));
    return static_cast<double>(values[std::max<size_t>(rank, 1) - 1]);
  };
  double sum = 0;
  for (int64_t v : values) sum += static_cast<double>(v);
  const double mean = sum / static_cast<double>(values.size());
  double squares = 0;
  for (int64_t v : values) squares += std::pow(static_cast<double>(v) - mean, 2);
  return {.count = values.size(),
          .min = static_cast<double>(values.front()),
          .mean = mean,
          .stddev = std::sqrt(squares / static_cast<double>(values.size())),
          .p16 = quantile(0.1587),
          .p50 = quantile(0.5),
          .p84 = quantile(0.8413),
          .p99 = quantile(0.99),
          .p999 = quantile(0.999),
          .max = static_cast<double>(values.back())};
}

Analysis Analyse(std::span<const Sample> samples) {
  Analysis result;
  result.received = samples.size();
  std::vector<int64_t> delays;
  delays.reserve(samples.size());
  for (const Sample& s : samples) {
    ++result.ecn[s.tos & 3];
    delays.push_back(s.received_ns - s.sent_ns);
  }
  std::vector<uint64_t> sequences = CountOrder(samples, result);
  result.unique = sequences.size();
  FindGaps(std::move(sequences), result);
  result.delay = Summarise(std::move(delays));
  MeasureRate(samples, result);
  return result;
}

nlohmann::json ToJson(const DelayStatistics& s) {
  return {{"count", s.count}, {"min", s.min}, {"mean", s.mean}, {"stddev", s.stddev},
          {"p16", s.p16},     {"p50", s.p50}, {"p84", s.p84},   {"p99", s.p99},
          {"p999", s.p999},   {"max", s.max}};
}

nlohmann::json ToJson(const Analysis& a, size_t gaps_max) {
  nlohmann::json gaps = nlohmann::json::array();
  for (const Gap& gap : std::span(a.gaps).first(std::min(a.gaps.size(), gaps_max))) {
    gaps.push_back({gap.first, gap.count});
  }
  return {
      {"received", a.received},
      {"unique", a.unique},
      {"duplicates", a.duplicates},
      {"reordered", a.reordered},
      {"reorder_extent_max", a.reorder_extent_max},
      {"missing", a.missing},
      {"gap_count", a.gaps.size()},
      {"gaps", gaps},
      {"ecn", {{"not_ect", a.ecn[0]}, {"ect1", a.ecn[1]}, {"ect0", a.ecn[2]}, {"ce", a.ecn[3]}}},
      {"delay_ns", ToJson(a.delay)},
      {"payload_bits_per_s", a.payload_bits_per_s},
      {"packets_per_s", a.packets_per_s},
      {"sent_packets_per_s", a.sent_packets_per_s}};
}

}  // namespace farspan::probe
