// The rows of a comparison, and what samples make of them; the same for both clocks.
#include <algorithm>

#include "transports/testbed/compare_case.h"

namespace farspan::testbed {
namespace {

void AddMeasured(std::span<const CompareSample> samples, CompareRow& row) {
  Measured measured;
  for (const CompareSample& sample : samples) {
    if (!sample.measured) continue;
    measured.cpu_s_per_gb += sample.measured->cpu_s;
    measured.certificates.push_back(sample.measured->certificate);
  }
  if (measured.certificates.empty()) return;
  const double gigabytes = 1e-9 * static_cast<double>(row.user_bytes);
  measured.cpu_s_per_gb /= static_cast<double>(measured.certificates.size()) * gigabytes;
  row.measured = std::move(measured);
}

void Condense(std::span<const CompareSample> samples, CompareRow& row) {
  std::vector<double> seconds;
  for (const CompareSample& sample : samples) {
    if (!sample.failure.empty()) {
      row.failure = sample.failure;
      return;
    }
    seconds.push_back(sample.seconds);
    row.wan_bytes += sample.wan_bytes;
    row.resent_bytes += static_cast<double>(sample.traffic.resent);
    row.duplicate_bytes += static_cast<double>(sample.traffic.duplicate);
    row.parity_bytes += static_cast<double>(sample.traffic.parity);
    row.cross_bits_per_s += sample.cross_bits_per_s;
  }
  const auto n = static_cast<double>(samples.size());
  for (double* sum : {&row.wan_bytes, &row.resent_bytes, &row.duplicate_bytes, &row.parity_bytes,
                      &row.cross_bits_per_s}) {
    *sum /= n;
  }
  row.seconds = Summarise(std::move(seconds));
  row.over_time = samples[0].over_time;
}

void AddFactors(const Scenario& scenario, std::vector<CompareRow>& rows) {
  for (CompareRow& row : rows) {
    const RateClass rate_class = scenario.contenders[row.contender].rate_class;
    double best = 0;
    for (const CompareRow& other : rows) {
      const ContenderSpec& rival = scenario.contenders[other.contender];
      if (other.point != row.point || other.bytes != row.bytes || !other.failure.empty()) continue;
      if (!rival.baseline() || rival.rate_class != rate_class) continue;
      best = best == 0 ? other.seconds.mean : std::min(best, other.seconds.mean);
    }
    if (best != 0 && row.failure.empty()) row.factor = best / row.seconds.mean;
  }
}

}  // namespace

size_t Measured::valid() const {
  return static_cast<size_t>(std::count_if(
      certificates.begin(), certificates.end(),
      [](const nlohmann::json& one) { return one.is_object() && one.value("valid", false); }));
}

std::vector<CompareRow> RowsOf(const Scenario& scenario) {
  std::vector<CompareRow> rows;
  for (size_t point = 0; point < scenario.points.size(); ++point) {
    for (const uint64_t bytes : scenario.sizes) {
      for (size_t contender = 0; contender < scenario.contenders.size(); ++contender) {
        CompareRow row;
        row.point = point;
        row.bytes = bytes;
        row.contender = contender;
        row.bound_s = LowerBound(scenario, scenario.points[point], bytes);
        row.user_bytes = CrossingBytes(MakeCase(scenario, row));
        rows.push_back(std::move(row));
      }
    }
  }
  return rows;
}

void Conclude(const Scenario& scenario, std::span<const CompareSample> samples,
              std::vector<CompareRow>& rows) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto own = samples.subspan(i * scenario.samples, scenario.samples);
    Condense(own, rows[i]);
    AddMeasured(own, rows[i]);
  }
  AddFactors(scenario, rows);
}

}  // namespace farspan::testbed
