// PoissonTrain: the points of a Poisson process on the line of wire time, by random access.
//
// Time is cut into cells of about one point each; the number of a cell's points and their places
// are pure functions of (key, cell), so any stretch of time can be asked about without visiting
// what came before: an idle hour costs nothing, and all who ask see the same points. Work per call
// is bounded by the points and cells between the question and its answer (a few on average).
//
// Points have a fraction of a nanosecond, so that two trains never tie and their rates are exact.
// Threading: one thread (the last two cells are cached). No allocation.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <limits>

#include "emulator/base/distributions.h"
#include "emulator/base/random.h"

namespace farspan::link {

// A point of continuous wire time: whole ns since the epoch's start and a fraction in 2^-64 ns.
struct Instant {
  int64_t ns = 0;
  uint64_t fraction = 0;
  friend constexpr auto operator<=>(const Instant&, const Instant&) = default;

  constexpr Instant next() const { return {ns + (fraction == UINT64_MAX), fraction + 1}; }
  constexpr Instant operator+(Instant span) const {
    const uint64_t sum = fraction + span.fraction;
    return {ns + span.ns + (sum < fraction), sum};
  }
  constexpr Instant operator-(Instant span) const {
    return {ns - span.ns - (fraction < span.fraction), fraction - span.fraction};
  }
};
Instant InstantFromNs(double ns);

class PoissonTrain {
 public:
  // The widest cell, and so the longest mean distance of points: 2^60 ns (36 years).
  static constexpr double kMinRate = 0x1p-60;
  // Points per ns; more than this is beyond what whole nanoseconds can tell apart.
  static constexpr double kMaxRate = PoissonCount::kMaxMean;

  PoissonTrain() = default;  // no points, ever
  // `stream` tells apart the trains of one purpose and lane. rate_per_ns is 0 or in [kMinRate,
  // kMaxRate].
  PoissonTrain(StreamKey key, RandomPurpose purpose, uint32_t lane, uint32_t stream,
               double rate_per_ns);

  bool empty() const { return width_ == 0; }

  // The first point at or after `from` if it comes before `horizon`. Otherwise found is false or
  // the point is beyond: either way nothing lies in [from, at), and at >= horizon.
  struct Found {
    Instant at;
    bool found;
  };
  Found first(Instant from, Instant horizon);

  // The last point at or before `until`; there must be points.
  Instant last(Instant until);

 private:
  struct Cell {
    int64_t index = std::numeric_limits<int64_t>::min();
    int count = 0;
    std::array<Instant, PoissonCount::kMax> points;  // sorted
  };
  const Cell& cell(int64_t index);
  void fill(Cell& cell, int64_t index) const;
  int64_t index_of(Instant t) const;

  StreamKey key_;
  RandomPurpose purpose_{};
  uint32_t tag_ = 0;
  int64_t width_ = 0;  // ns; 0: no points
  PoissonCount count_;
  std::array<Cell, 2> cells_;  // by parity of their index
};

}  // namespace farspan::link
