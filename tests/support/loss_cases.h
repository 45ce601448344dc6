// Loss models by name, and packets back to back through them.
#pragma once

#include <cstdint>
#include <string>

#include "emulator/base/random.h"
#include "emulator/link/loss.h"

namespace farspan::link::testing {

inline LossSpec Bernoulli(Keying keying, double probability) {
  LossSpec spec;
  spec.kind = LossKind::kBernoulli;
  spec.keying = keying;
  spec.probability = probability;
  return spec;
}

inline LossSpec GilbertElliott(Keying keying, double p, double r, double bad = 1, double good = 0) {
  LossSpec spec;
  spec.kind = LossKind::kGilbertElliott;
  spec.keying = keying;
  spec.ge_p = p;
  spec.ge_r = r;
  spec.ge_loss_bad = bad;
  spec.ge_loss_good = good;
  return spec;
}

inline LossSpec Burst(Keying keying, double rate, uint32_t frames) {
  LossSpec spec;
  spec.kind = LossKind::kBurst;
  spec.keying = keying;
  spec.burst_rate = rate;
  spec.burst_frames = frames;
  return spec;
}

inline LossSpec BitError(Keying keying, double rate) {
  LossSpec spec;
  spec.kind = LossKind::kBitError;
  spec.keying = keying;
  spec.bit_error_rate = rate;
  return spec;
}

inline LossSpec Periodic(Keying keying, uint64_t period, uint64_t offset) {
  LossSpec spec;
  spec.kind = LossKind::kPeriodic;
  spec.keying = keying;
  spec.period = period;
  spec.period_offset = offset;
  return spec;
}

inline LossSpec Trace(Keying keying, std::vector<Interval> intervals) {
  LossSpec spec;
  spec.kind = LossKind::kTrace;
  spec.keying = keying;
  spec.trace = std::move(intervals);
  return spec;
}

inline LossSpec Mask(std::vector<bool> mask) {
  LossSpec spec;
  spec.kind = LossKind::kMask;
  spec.mask = std::move(mask);
  return spec;
}

// Packets without gaps between them, at a rate; fractions of a nanosecond are carried.
class BackToBack {
 public:
  explicit BackToBack(Rate rate, TimeNs start = {0}) : rate_(rate.bits_per_s), end_(start) {}

  bool send(LossModel& model, uint32_t wire_bytes) {
    const TimeNs start = end_;
    remainder_ += uint64_t{wire_bytes} * 8 * 1'000'000'000;
    end_ += TimeNs{static_cast<int64_t>(remainder_ / rate_)};
    remainder_ %= rate_;
    return model.lost(start, end_, wire_bytes);
  }
  TimeNs now() const { return end_; }

 private:
  uint64_t rate_;
  uint64_t remainder_ = 0;
  TimeNs end_;
};

}  // namespace farspan::link::testing
