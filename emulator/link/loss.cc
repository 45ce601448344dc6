#include "emulator/link/loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "emulator/base/check.h"

namespace farspan::link {
namespace {
constexpr int64_t kFar = std::numeric_limits<int64_t>::max();
constexpr uint64_t kForEver = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kMaskBitsPerCall = 64;

double ReferenceNs(const LossSpec& spec, Rate line_rate) {
  return 8e9 * spec.reference_wire_bytes / static_cast<double>(line_rate.bits_per_s);
}

double Hazard(double probability) { return -std::log1p(-probability); }
}  // namespace

LossModel::LossModel(const LossSpec& spec, StreamKey key, uint32_t lane, Rate line_rate)
    : spec_(spec), key_(key), lane_(lane) {
  if (spec_.kind == LossKind::kNone) {
    mode_ = Mode::kRuns;
  } else if (spec_.keying == Keying::kWireTime) {
    mode_ = Mode::kWireTime;
    build_wire_time(line_rate);
  } else if (spec_.kind == LossKind::kBitError) {
    mode_ = Mode::kBits;
    gap_ = Geometric(spec_.bit_error_rate);
  } else if (spec_.kind == LossKind::kGilbertElliott) {
    leave_ = {Geometric(spec_.ge_p), Geometric(spec_.ge_r)};
    loss_in_ = {Geometric(spec_.ge_loss_good), Geometric(spec_.ge_loss_bad)};
  } else {
    gap_ = Geometric(spec_.kind == LossKind::kBurst ? spec_.burst_rate : spec_.probability);
  }
  start_epoch({0});
}

void LossModel::start_epoch(TimeNs origin) {
  origin_ = origin.ns;
  clear_from_ = clear_to_ = bad_from_ = bad_to_ = 0;
  index_ = run_end_ = gaps_ = sojourns_ = sojourn_end_ = loss_at_ = 0;
  run_lost_ = false;
  if (mode_ == Mode::kBits) good_bits_ = next_gap(gap_, RandomPurpose::kBer, gaps_);
}

// --- By packet -------------------------------------------------------------------------------

uint64_t LossModel::next_gap(const Geometric& gap, RandomPurpose purpose, uint64_t& counter) {
  return gap(Draw(key_, purpose, counter++, lane_).lo);
}

bool LossModel::set_run(bool lost, uint64_t end) {
  run_end_ = end;
  return run_lost_ = lost;
}

bool LossModel::next_run(uint64_t index) {
  switch (spec_.kind) {
    case LossKind::kNone:
      return set_run(false, kForEver);
    case LossKind::kBernoulli:
      return alternate_runs(index, 1);
    case LossKind::kBurst:
      return alternate_runs(index, spec_.burst_frames);
    case LossKind::kGilbertElliott:
      return gilbert_elliott_run(index);
    case LossKind::kMask:
      return mask_run(index);
    case LossKind::kTrace:
      return trace_run(index);
    case LossKind::kPeriodic:
      return periodic_run(index);
    case LossKind::kBitError:
      break;
  }
  FARSPAN_CHECK(false);
  return false;
}

// Geometric gaps between runs of `lost_packets`; a gap may be empty, and the runs then touch.
bool LossModel::alternate_runs(uint64_t index, uint64_t lost_packets) {
  if (!run_lost_ && index > 0) return set_run(true, index + lost_packets);
  const uint64_t gap = next_gap(gap_, RandomPurpose::kLoss, gaps_);
  return gap == 0 ? set_run(true, index + lost_packets) : set_run(false, index + gap);
}

bool LossModel::gilbert_elliott_run(uint64_t index) {
  if (index >= sojourn_end_) {
    if (index == 0) {
      const double bad_share = spec_.ge_p / (spec_.ge_p + spec_.ge_r);
      bad_ = ToUnit(Draw(key_, RandomPurpose::kLossState, sojourns_++, lane_).lo) < bad_share;
    } else {
      bad_ = !bad_;
    }
    sojourn_end_ = index + 1 + next_gap(leave_[bad_], RandomPurpose::kLossState, sojourns_);
    loss_at_ = index + next_gap(loss_in_[bad_], RandomPurpose::kLoss, gaps_);
  }
  if (index < loss_at_) return set_run(false, std::min(loss_at_, sojourn_end_));
  const double loss = bad_ ? spec_.ge_loss_bad : spec_.ge_loss_good;
  if (loss == 1) return set_run(true, sojourn_end_);
  loss_at_ = index + 1 + next_gap(loss_in_[bad_], RandomPurpose::kLoss, gaps_);
  return set_run(true, index + 1);
}

bool LossModel::mask_run(uint64_t index) {
  const uint64_t size = spec_.mask.size();
  const uint64_t first = index % size;
  const uint64_t limit = std::min(size, first + kMaskBitsPerCall);
  uint64_t last = first + 1;
  while (last < limit && spec_.mask[last] == spec_.mask[first]) ++last;
  return set_run(spec_.mask[first], index + last - first);
}

bool LossModel::trace_run(uint64_t index) {
  const auto next = std::upper_bound(spec_.trace.begin(), spec_.trace.end(), index,
                                     [](uint64_t i, const Interval& lost) { return i < lost.end; });
  if (next == spec_.trace.end()) return set_run(false, kForEver);
  return index < next->begin ? set_run(false, next->begin) : set_run(true, next->end);
}

bool LossModel::periodic_run(uint64_t index) {
  const uint64_t since = (index + spec_.period - spec_.period_offset) % spec_.period;
  return since == 0 ? set_run(true, index + 1) : set_run(false, index + spec_.period - since);
}

// What is left of the frame after its first bad bit does not matter, and geometric gaps have no
// memory: the next one counts from the next frame's first bit.
bool LossModel::bit_error() {
  good_bits_ = next_gap(gap_, RandomPurpose::kBer, gaps_);
  return true;
}

// --- In wire time ----------------------------------------------------------------------------

void LossModel::build_wire_time(Rate line_rate) {
  const double frame_ns = ReferenceNs(spec_, line_rate);
  const auto train = [&](RandomPurpose purpose, uint32_t stream, double rate_per_ns) {
    return PoissonTrain(key_, purpose, lane_, stream, rate_per_ns);
  };
  switch (spec_.kind) {
    case LossKind::kBernoulli:
      points_ = train(RandomPurpose::kLoss, 0, Hazard(spec_.probability) / frame_ns);
      break;
    case LossKind::kBurst:
      points_ = train(RandomPurpose::kLoss, 0, Hazard(spec_.burst_rate) / frame_ns);
      burst_ = InstantFromNs(frame_ns * spec_.burst_frames);
      break;
    case LossKind::kBitError:
      points_ =
          train(RandomPurpose::kBer, 0,
                Hazard(spec_.bit_error_rate) * 1e-9 * static_cast<double>(line_rate.bits_per_s));
      break;
    case LossKind::kGilbertElliott: {
      begin_ = {train(RandomPurpose::kLossState, 0, spec_.ge_r / frame_ns),
                train(RandomPurpose::kLossState, 1, spec_.ge_p / frame_ns)};
      const auto inside = [&](uint32_t state, double loss) {
        return loss == 1 ? PoissonTrain()
                         : train(RandomPurpose::kLoss, state, Hazard(loss) / frame_ns);
      };
      loss_train_ = {inside(0, spec_.ge_loss_good), inside(1, spec_.ge_loss_bad)};
      break;
    }
    default:
      break;
  }
}

bool LossModel::meets(int64_t from, int64_t to, uint32_t wire_bytes) {
  switch (spec_.kind) {
    case LossKind::kBernoulli: {
      const auto [at, found] = points_.first({from, 0}, {to, 0});
      if (found && at.ns < to) return true;
      clear_from_ = from;
      clear_to_ = at.ns;
      return false;
    }
    case LossKind::kBurst:
      return meets_burst(from, to);
    case LossKind::kBitError:
      return meets_bit_error(from, to, wire_bytes);
    case LossKind::kGilbertElliott:
      return meets_gilbert_elliott(from, to);
    case LossKind::kTrace:
      return meets_trace(from, to);
    case LossKind::kPeriodic:
      return meets_periodic(from, to);
    case LossKind::kNone:
    case LossKind::kMask:
      break;
  }
  FARSPAN_CHECK(false);
  return false;
}

// A burst [x, x + length) meets [from, to) if from - length < x < to.
bool LossModel::meets_burst(int64_t from, int64_t to) {
  const auto [at, found] = points_.first((Instant{from, 0} - burst_).next(), {to, 0});
  if (found && at.ns < to) {
    bad_from_ = std::max(from, at.ns + 1);
    bad_to_ = (at + burst_).ns;
    return true;
  }
  clear_from_ = from;
  clear_to_ = at.ns;
  return false;
}

// The line sends 8 bytes of preamble, the frame, 12 bytes of gap.
bool LossModel::meets_bit_error(int64_t from, int64_t to, uint32_t wire_bytes) {
  const double bytes_per_ns = wire_bytes / static_cast<double>(to - from);
  Instant at{from, 0};
  while (true) {
    const auto [error, found] = points_.first(at, {to, 0});
    if (!found || error.ns >= to) {
      clear_from_ = at.ns + (at.fraction != 0);
      clear_to_ = error.ns;
      return false;
    }
    const double since =
        static_cast<double>(error.ns - from) + static_cast<double>(error.fraction) * 0x1p-64;
    const double byte = since * bytes_per_ns;
    if (byte >= 8 && byte < wire_bytes - 12.0) return true;
    at = error.next();
  }
}

LossModel::Sojourn LossModel::sojourn(Instant at, Instant horizon) {
  const Instant bad_since = begin_[1].last(at);
  const auto [good, found] = begin_[0].first(bad_since, std::max(at.next(), horizon));
  if (found && good <= at) return {false, begin_[1].first(at.next(), horizon).at};
  return {true, good};
}

bool LossModel::meets_gilbert_elliott(int64_t from, int64_t to) {
  const Instant end{to, 0};
  Instant at{from, 0};
  while (true) {
    const auto [bad, until] = sojourn(at, end);
    if ((bad ? spec_.ge_loss_bad : spec_.ge_loss_good) == 1) {
      bad_from_ = at.ns + (at.fraction != 0);
      bad_to_ = until.ns;
      return true;
    }
    const auto [loss, found] = loss_train_[bad].first(at, std::min(until, end));
    if (found && loss < std::min(until, end)) return true;
    if (until >= end) {
      clear_from_ = from;
      clear_to_ = std::min(until, loss).ns;
      return false;
    }
    at = until;
  }
}

bool LossModel::meets_trace(int64_t from, int64_t to) {
  const auto next = std::upper_bound(
      spec_.trace.begin(), spec_.trace.end(), from,
      [](int64_t t, const Interval& i) { return t < static_cast<int64_t>(i.end); });
  const int64_t begin = next == spec_.trace.end() ? kFar : static_cast<int64_t>(next->begin);
  if (begin < to) {
    bad_from_ = std::max(from, begin);
    bad_to_ = static_cast<int64_t>(next->end);
    return true;
  }
  clear_from_ = from;
  clear_to_ = begin;
  return false;
}

bool LossModel::meets_periodic(int64_t from, int64_t to) {
  const int64_t period = static_cast<int64_t>(spec_.period);
  int64_t since = (from - static_cast<int64_t>(spec_.period_offset)) % period;
  if (since < 0) since += period;
  const int64_t next = since == 0 ? from : from + period - since;
  if (next < to) return true;
  clear_from_ = from;
  clear_to_ = next;
  return false;
}

}  // namespace farspan::link
