// Validate and ExpectedLoss: what a LossSpec may say, and what it means in closed form.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "emulator/link/loss.h"

namespace farspan::link {
namespace {

Result<void> Refuse(const std::string& message) {
  return Fail(ErrorCode::kInvalid, "loss: " + message);
}

Result<void> CheckBelowOne(const char* name, double value) {
  if (value >= 0 && value < 1) return {};
  return Refuse(std::string(name) + " is " + std::to_string(value) +
                "; expected a fraction from 0 to below 1 (1 would lose everything: use a cut for "
                "that), such as 1e-4 or \"0.01 %\"");
}

Result<void> CheckFraction(const char* name, double value, bool zero_allowed) {
  if (value <= 1 && (value > 0 || (zero_allowed && value == 0))) return {};
  return Refuse(std::string(name) + " is " + std::to_string(value) + "; expected a fraction " +
                (zero_allowed ? "from 0 to 1" : "above 0 and at most 1"));
}

Result<void> CheckTrace(const LossSpec& spec) {
  uint64_t previous_end = 0;
  const uint64_t limit = std::numeric_limits<int64_t>::max();
  if (spec.trace.empty()) return Refuse("the trace has no intervals; expected at least one");
  for (size_t i = 0; i < spec.trace.size(); ++i) {
    const auto [begin, end] = spec.trace[i];
    if (begin < previous_end || begin >= end || end > limit) {
      return Refuse("interval " + std::to_string(i + 1) + " of the trace, [" +
                    std::to_string(begin) + ", " + std::to_string(end) +
                    "), is empty, before its predecessor's end, or beyond 2^63 - 1; expected "
                    "begin < end, in rising order, not overlapping");
    }
    previous_end = end;
  }
  return {};
}

Result<void> CheckPeriodic(const LossSpec& spec) {
  if (spec.period < 2 || spec.period >= uint64_t{1} << 62) {
    return Refuse("period is " + std::to_string(spec.period) +
                  "; expected at least 2 (packets, or ns of wire time) and less than 2^62");
  }
  if (spec.period_offset >= spec.period) {
    return Refuse("offset " + std::to_string(spec.period_offset) + " is not below the period of " +
                  std::to_string(spec.period));
  }
  return {};
}

Result<void> CheckParameters(const LossSpec& spec) {
  switch (spec.kind) {
    case LossKind::kNone:
      return {};
    case LossKind::kBernoulli:
      return CheckBelowOne("probability", spec.probability);
    case LossKind::kGilbertElliott:
      return CheckFraction("p (good to bad)", spec.ge_p, false)
          .and_then([&] { return CheckFraction("r (bad to good)", spec.ge_r, false); })
          .and_then([&] { return CheckFraction("loss in the bad state", spec.ge_loss_bad, true); })
          .and_then([&] { return CheckBelowOne("loss in the good state", spec.ge_loss_good); });
    case LossKind::kBurst:
      if (spec.burst_frames == 0) return Refuse("a burst has 0 frames; expected at least 1");
      return CheckBelowOne("the rate of bursts", spec.burst_rate);
    case LossKind::kBitError:
      return CheckBelowOne("the bit error rate", spec.bit_error_rate);
    case LossKind::kMask:
      if (std::find(spec.mask.begin(), spec.mask.end(), false) == spec.mask.end()) {
        return Refuse("the mask is empty or loses everything; expected at least one packet passed");
      }
      return {};
    case LossKind::kTrace:
      return CheckTrace(spec);
    case LossKind::kPeriodic:
      return CheckPeriodic(spec);
  }
  return Refuse("unknown kind " + std::to_string(static_cast<int>(spec.kind)));
}

double FrameNs(uint32_t wire_bytes, Rate line_rate) {
  return 8e9 * wire_bytes / static_cast<double>(line_rate.bits_per_s);
}

double Hazard(double probability) { return -std::log1p(-probability); }

Result<void> CheckPointRate(double per_ns) {
  if (per_ns == 0 || (per_ns >= PoissonTrain::kMinRate && per_ns <= PoissonTrain::kMaxRate)) {
    return {};
  }
  return Refuse(per_ns < PoissonTrain::kMinRate
                    ? "so rare that one bad instant comes in more than 36 years; use none, or a "
                      "larger probability"
                    : "more than 4 bad instants per ns at this line rate, which times in whole ns "
                      "cannot resolve; lower the probability, or key it by packet");
}

Result<void> CheckWireTime(const LossSpec& spec, Rate line_rate) {
  if (spec.kind == LossKind::kMask) {
    return Refuse(
        "a mask names packets and has no meaning in wire time; key it by packet, or give a "
        "trace of intervals in ns");
  }
  if (line_rate.bits_per_s == 0) {
    return Refuse(
        "keyed by wire time, but the link has no rate, so that packets take no time on the "
        "wire; set a rate, or key the loss by packet");
  }
  if (spec.reference_wire_bytes == 0) {
    return Refuse("the reference frame has 0 bytes; expected its size on the wire, such as 1538");
  }
  const double frame_ns = FrameNs(spec.reference_wire_bytes, line_rate);
  switch (spec.kind) {
    case LossKind::kBernoulli:
      return CheckPointRate(Hazard(spec.probability) / frame_ns);
    case LossKind::kBurst:
      return CheckPointRate(Hazard(spec.burst_rate) / frame_ns);
    case LossKind::kBitError:
      return CheckPointRate(Hazard(spec.bit_error_rate) / FrameNs(1, line_rate) * 8);
    case LossKind::kGilbertElliott: {
      const double bad = spec.ge_loss_bad == 1 ? 0 : Hazard(spec.ge_loss_bad);
      return CheckPointRate(spec.ge_p / frame_ns)
          .and_then([&] { return CheckPointRate(spec.ge_r / frame_ns); })
          .and_then([&] { return CheckPointRate(bad / frame_ns); })
          .and_then([&] { return CheckPointRate(Hazard(spec.ge_loss_good) / frame_ns); });
    }
    default:
      return {};
  }
}

// 1 - P(a two-state Markov-modulated Poisson process has no point in a time t), where the states
// change at rates a (good to bad) and b and have points at rates good and bad; an infinite rate
// means that any time in that state has one.
double MarkovModulatedLoss(double a, double b, double good, double bad, double t) {
  const double share_bad = a / (a + b);
  if (std::isinf(bad)) return 1 - (1 - share_bad) * std::exp(-(a + good) * t);
  // exp(M t) with M = generator - diag(good, bad), by its two real eigenvalues mean +- half.
  const double mean = -(a + good + b + bad) / 2;
  const double skew = (-(a + good) + (b + bad)) / 2;
  const double half = std::sqrt(skew * skew + a * b);
  const double grow = (std::exp((mean + half) * t) + std::exp((mean - half) * t)) / 2;
  const double turn = (std::exp((mean + half) * t) - std::exp((mean - half) * t)) / (2 * half);
  const double from_good = grow + turn * (skew + a);
  const double from_bad = grow + turn * (b - skew);
  return 1 - (1 - share_bad) * from_good - share_bad * from_bad;
}

double TraceShare(const LossSpec& spec, double before) {
  double lost = 0;
  double covered = 0;  // up to here
  for (const auto& [begin, end] : spec.trace) {
    const double from = std::max(covered, static_cast<double>(begin) - before);
    lost += static_cast<double>(end) - from;
    covered = static_cast<double>(end);
  }
  return lost / covered;
}

double ByPacket(const LossSpec& spec, uint32_t wire_bytes) {
  switch (spec.kind) {
    case LossKind::kNone:
      return 0;
    case LossKind::kBernoulli:
      return spec.probability;
    case LossKind::kGilbertElliott:
      return (spec.ge_p * spec.ge_loss_bad + spec.ge_r * spec.ge_loss_good) /
             (spec.ge_p + spec.ge_r);
    case LossKind::kBurst: {
      const double lost = spec.burst_rate * spec.burst_frames;
      return lost / (lost + 1 - spec.burst_rate);
    }
    case LossKind::kBitError: {
      const double bits = 8 * std::max(0.0, wire_bytes - double{kPreambleAndGapBytes});
      return -std::expm1(-bits * Hazard(spec.bit_error_rate));
    }
    case LossKind::kMask:
      return static_cast<double>(std::count(spec.mask.begin(), spec.mask.end(), true)) /
             static_cast<double>(spec.mask.size());
    case LossKind::kTrace:
      return TraceShare(spec, 0);
    case LossKind::kPeriodic:
      return 1 / static_cast<double>(spec.period);
  }
  return 0;
}

}  // namespace

Result<void> Validate(const LossSpec& spec, Rate line_rate) {
  return CheckParameters(spec).and_then([&]() -> Result<void> {
    if (spec.kind == LossKind::kNone || spec.keying == Keying::kPacket) return {};
    return CheckWireTime(spec, line_rate);
  });
}

double ExpectedLoss(const LossSpec& spec, uint32_t wire_bytes, Rate line_rate) {
  if (spec.keying == Keying::kPacket) return ByPacket(spec, wire_bytes);
  const double frames = static_cast<double>(wire_bytes) / spec.reference_wire_bytes;
  const double ns = FrameNs(wire_bytes, line_rate);
  switch (spec.kind) {
    case LossKind::kBernoulli:
      return -std::expm1(-frames * Hazard(spec.probability));
    case LossKind::kGilbertElliott:
      return MarkovModulatedLoss(spec.ge_p, spec.ge_r, Hazard(spec.ge_loss_good),
                                 Hazard(spec.ge_loss_bad), frames);
    case LossKind::kBurst:
      return -std::expm1(-(frames + spec.burst_frames) * Hazard(spec.burst_rate));
    case LossKind::kTrace:
      return TraceShare(spec, ns);
    case LossKind::kPeriodic:
      return std::min(1.0, ns / static_cast<double>(spec.period));
    default:
      return ByPacket(spec, wire_bytes);
  }
}

}  // namespace farspan::link
