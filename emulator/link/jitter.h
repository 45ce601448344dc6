// JitterModel: deviation of a packet's delay from its path's.
//
// In order: a stationary process in wire time, a function of (key, wire time) alone. Nodes every
// tau = max(correlation, 10 deviations) carry z_k ~ N(0, 1); between them
//   x(f) = cos(pi f / 2) z_k + sin(pi f / 2) z_k+1
// is N(0, 1) at every instant, and jitter = deviation x G(x), where G maps the normal distribution
// onto the wanted one. So the mean and the deviation are those asked for at any packet spacing
// (clamping independent draws into order would shift the mean by several deviations). Rotating
// rather than blending linearly keeps the slope's own deviation at pi / 2 per tau throughout.
// x is followed by chords over 1/64 tau: relative error of the deviation below 1e-4.
// Departures overtake where the slope is below -1, which normal jitter reaches at 6.4 standard
// deviations of its slope; steeper maps (pareto's) do so more often. Whoever keeps the order clamps
// there and counts.
//
// With `reorder`, each packet draws for itself: one Philox call by packet index.
//
// Distributions, mean 0 and deviation 1 before scaling: normal; uniform; pareto (shape 3) and
// paretonormal (1/4 normal + 3/4 pareto, quantile by quantile), both as iproute2 makes its tables,
// cut at 4 of its units, then standardised, which iproute2's own tables are not (0.82 and 0.83).
// A table of the user's is taken as it is, as tc does: its mean and deviation come with it.
// G is tabulated in steps of 1/256 over |x| <= 8 and interpolated linearly: its error is below 1e-4
// (0.007 in the one step where pareto is cut).
//
// Threading: one thread. Nothing is allocated after construction.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "emulator/base/random.h"
#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/link/spec.h"

namespace farspan::link {

class JitterModel {
 public:
  JitterModel(const JitterSpec& spec, StreamKey key);  // `spec` has passed Validate

  // Wire time begins again at 0, with the same key: the same process.
  void start_epoch(TimeNs origin);

  // Deviation of what is on the wire at wire_time; may be negative. Cheapest where calls come in
  // rising time, right in any order.
  TimeNs ordered(TimeNs wire_time) {
    if (deviation_ == 0) return {0};
    int64_t since = wire_time.ns - chord_start_;
    if (static_cast<uint64_t>(since) >= static_cast<uint64_t>(chord_ns_)) {
      seek(wire_time);
      since = wire_time.ns - chord_start_;
    }
    return Round(chord_value_ + chord_slope_ * static_cast<double>(since));
  }

  // Deviation of the packet_index-th packet of the epoch, independent of all others.
  TimeNs drawn(uint64_t packet_index) const {
    if (deviation_ == 0) return {0};
    return Round(deviation_ * map(normal(packet_index, kDrawn)));
  }

 private:
  static constexpr int kChords = 64;  // per node
  enum Stream : uint32_t { kOrdered, kDrawn };

  // To the nearest, for |value| < 2^40 ns.
  static TimeNs Round(double value) {
    return {static_cast<int64_t>(value + (0x1p40 + 0.5)) - (int64_t{1} << 40)};
  }
  double normal(uint64_t index, Stream stream) const;
  double map(double x) const;  // G
  double at_chord(int64_t index);
  void seek(TimeNs wire_time);

  StreamKey key_;
  double deviation_;  // ns
  int64_t origin_ = 0;
  int64_t chord_ns_;  // tau / kChords
  int64_t chord_start_ = 0;
  double chord_value_ = 0;
  double chord_slope_ = 0;
  int64_t chord_ = 0;  // index of the current chord, where known_
  bool known_ = false;
  double chord_end_value_ = 0;
  int64_t node_ = 0;  // index of node_values_[0], where known_
  std::array<double, 2> node_values_{};
  std::array<double, kChords + 1> cosine_;
  std::vector<double> map_;  // empty: the identity
};

Result<void> Validate(const JitterSpec& spec);

}  // namespace farspan::link
