#include "emulator/link/jitter.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "emulator/base/distributions.h"

namespace farspan::link {
namespace {

constexpr double kMapEnd = 8;
constexpr int kMapSteps = 256;  // per unit
constexpr int kMapSize = 2 * static_cast<int>(kMapEnd) * kMapSteps + 1;
constexpr TimeNs kMaxDeviation{10'000'000'000};
constexpr TimeNs kMaxCorrelation{3'600'000'000'000};
constexpr double kTableUnit = 8192;  // tc's NETEM_DIST_SCALE

// iproute2's netem/pareto.c: shape 3, less its mean, times 4/3, cut where 16 bits end.
double TcPareto(double upper_tail) {
  return std::min((std::cbrt(1 / upper_tail) - 1.5) * 4 / 3, 4.0);
}

// The i-th of n entries is the quantile at (i + 1/2) / n.
double TableQuantile(const std::vector<int16_t>& table, double u) {
  const double last = static_cast<double>(table.size() - 1);
  const double at = std::clamp(u * static_cast<double>(table.size()) - 0.5, 0.0, last);
  const size_t i = std::min(static_cast<size_t>(at), table.size() - 2);
  const double part = at - static_cast<double>(i);
  return (table[i] * (1 - part) + table[i + 1] * part) / kTableUnit;
}

double Quantile(const JitterSpec& spec, double x) {
  switch (spec.distribution) {
    case JitterDistribution::kNormal:
      return x;
    case JitterDistribution::kUniform:
      return NormalCdf(x);
    case JitterDistribution::kPareto:
      return TcPareto(NormalCdf(-x));
    case JitterDistribution::kParetoNormal:
      return (x + 3 * TcPareto(NormalCdf(-x))) / 4;
    case JitterDistribution::kTable:
      return TableQuantile(spec.table, NormalCdf(x));
  }
  return x;
}

double MapPoint(int i) { return static_cast<double>(i) / kMapSteps - kMapEnd; }

// Mean 0 and deviation 1 under the normal density (trapezoids, which converge geometrically here).
void Standardise(std::vector<double>& map) {
  double weights = 0;
  double mean = 0;
  double square = 0;
  for (int i = 0; i < kMapSize; ++i) {
    const double weight = std::exp(-MapPoint(i) * MapPoint(i) / 2);
    weights += weight;
    mean += weight * map[i];
    square += weight * map[i] * map[i];
  }
  mean /= weights;
  const double scale = 1 / std::sqrt(square / weights - mean * mean);
  for (double& value : map) value = (value - mean) * scale;
}

std::vector<double> BuildMap(const JitterSpec& spec) {
  if (spec.deviation.ns == 0 || spec.distribution == JitterDistribution::kNormal) return {};
  std::vector<double> map(kMapSize);
  for (int i = 0; i < kMapSize; ++i) map[i] = Quantile(spec, MapPoint(i));
  if (spec.distribution != JitterDistribution::kTable) Standardise(map);
  return map;
}

int64_t ChordNs(const JitterSpec& spec, int chords) {
  const int64_t tau = std::max(spec.correlation.ns, 10 * spec.deviation.ns);
  return std::max<int64_t>(1, (tau + chords - 1) / chords);
}

int64_t FloorDivide(int64_t a, int64_t b) { return a / b - (a % b < 0); }

}  // namespace

JitterModel::JitterModel(const JitterSpec& spec, StreamKey key)
    : key_(key),
      deviation_(static_cast<double>(spec.deviation.ns)),
      chord_ns_(ChordNs(spec, kChords)),
      map_(BuildMap(spec)) {
  for (int i = 0; i <= kChords; ++i) cosine_[i] = std::cos(std::numbers::pi / 2 * i / kChords);
  start_epoch({0});
}

void JitterModel::start_epoch(TimeNs origin) {
  origin_ = origin.ns;
  if (deviation_ != 0) seek(origin);
}

double JitterModel::normal(uint64_t index, Stream stream) const {
  return NormalQuantile(ToUnit(Draw(key_, RandomPurpose::kJitter, index, stream).lo));
}

double JitterModel::map(double x) const {
  if (map_.empty()) return x;
  const double at = std::clamp((x + kMapEnd) * kMapSteps, 0.0, kMapSize - 1.0);
  const int i = std::min(static_cast<int>(at), kMapSize - 2);
  return map_[i] + (map_[i + 1] - map_[i]) * (at - i);
}

// The jitter where the index-th chord begins.
double JitterModel::at_chord(int64_t index) {
  const int64_t node = FloorDivide(index, kChords);
  if (!known_ || node != node_) {
    const bool next = known_ && node == node_ + 1;
    node_values_[0] = next ? node_values_[1] : normal(static_cast<uint64_t>(node), kOrdered);
    node_values_[1] = normal(static_cast<uint64_t>(node + 1), kOrdered);
    node_ = node;
  }
  const int64_t i = index - node * kChords;
  const double x = cosine_[i] * node_values_[0] + cosine_[kChords - i] * node_values_[1];
  return deviation_ * map(x);
}

void JitterModel::seek(TimeNs wire_time) {
  const int64_t chord = FloorDivide(wire_time.ns - origin_, chord_ns_);
  const bool next = known_ && chord == chord_ + 1;
  chord_value_ = next ? chord_end_value_ : at_chord(chord);
  known_ = true;
  chord_end_value_ = at_chord(chord + 1);
  chord_slope_ = (chord_end_value_ - chord_value_) / static_cast<double>(chord_ns_);
  chord_start_ = origin_ + chord * chord_ns_;
  chord_ = chord;
}

Result<void> Validate(const JitterSpec& spec) {
  if (spec.deviation.ns < 0 || spec.deviation > kMaxDeviation) {
    return Fail(ErrorCode::kInvalid, "jitter: the deviation is " + ToText(spec.deviation) +
                                         "; expected 0 to " + ToText(kMaxDeviation));
  }
  if (spec.correlation.ns < 0 || spec.correlation > kMaxCorrelation) {
    return Fail(ErrorCode::kInvalid, "jitter: the correlation time is " + ToText(spec.correlation) +
                                         "; expected 0 to " + ToText(kMaxCorrelation));
  }
  if (spec.distribution == JitterDistribution::kTable && spec.table.size() < 2) {
    return Fail(ErrorCode::kInvalid,
                "jitter: the table has " + std::to_string(spec.table.size()) +
                    " entries; expected the quantiles of a tc .dist file, at least 2");
  }
  return {};
}

}  // namespace farspan::link
