#include "emulator/link/poisson_train.h"

#include <algorithm>
#include <cmath>

#include "emulator/base/check.h"

namespace farspan::link {
namespace {
__extension__ using Uint128 = unsigned __int128;
}  // namespace

Instant InstantFromNs(double ns) {
  const double whole = std::floor(ns);
  return {static_cast<int64_t>(whole), static_cast<uint64_t>((ns - whole) * 0x1p64)};
}

PoissonTrain::PoissonTrain(StreamKey key, RandomPurpose purpose, uint32_t lane, uint32_t stream,
                           double rate_per_ns)
    : key_(key), purpose_(purpose), tag_(lane | stream << 16) {
  FARSPAN_CHECK(lane < 1u << 16 && stream < 1u << 8);
  if (rate_per_ns == 0) return;
  FARSPAN_CHECK(rate_per_ns >= kMinRate && rate_per_ns <= kMaxRate);
  width_ = std::max<int64_t>(1, std::llround(1 / rate_per_ns));
  count_ = PoissonCount(rate_per_ns * static_cast<double>(width_));
}

int64_t PoissonTrain::index_of(Instant t) const {
  const int64_t quotient = t.ns / width_;
  return quotient - (t.ns % width_ < 0);
}

void PoissonTrain::fill(Cell& cell, int64_t index) const {
  const auto draw = [&](uint32_t number) {
    return Draw(key_, purpose_, static_cast<uint64_t>(index), tag_ | number << 24);
  };
  const int64_t start = index * width_;
  const auto place = [&](uint64_t word) {
    const Uint128 offset = static_cast<Uint128>(word) * static_cast<uint64_t>(width_);
    return Instant{start + static_cast<int64_t>(offset >> 64), static_cast<uint64_t>(offset)};
  };
  RandomWords words = draw(0);
  cell.index = index;
  cell.count = count_(words.lo);
  for (int i = 0; i < cell.count; ++i) {
    if (i % 2 == 1) words = draw(static_cast<uint32_t>(i + 1) / 2);
    cell.points[i] = place(i % 2 == 1 ? words.lo : words.hi);
  }
  std::sort(cell.points.begin(), cell.points.begin() + cell.count);
}

const PoissonTrain::Cell& PoissonTrain::cell(int64_t index) {
  Cell& cell = cells_[static_cast<uint64_t>(index) & 1];
  if (cell.index != index) fill(cell, index);
  return cell;
}

PoissonTrain::Found PoissonTrain::first(Instant from, Instant horizon) {
  if (empty()) return {{std::numeric_limits<int64_t>::max(), 0}, false};
  for (int64_t index = index_of(from);; ++index) {
    const Cell& c = cell(index);
    for (int i = 0; i < c.count; ++i) {
      if (c.points[i] >= from) return {c.points[i], true};
    }
    const Instant end{(index + 1) * width_, 0};
    if (end >= horizon) return {end, false};
  }
}

Instant PoissonTrain::last(Instant until) {
  FARSPAN_CHECK(!empty());
  for (int64_t index = index_of(until);; --index) {
    const Cell& c = cell(index);
    for (int i = c.count; i-- > 0;) {
      if (c.points[i] <= until) return c.points[i];
    }
  }
}

}  // namespace farspan::link
