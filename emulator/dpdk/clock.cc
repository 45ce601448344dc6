#include "emulator/dpdk/clock.h"

#include <cpuid.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "emulator/base/check.h"
#include "emulator/dpdk/control_thread.h"

namespace farspan::dpdk {
namespace {

constexpr int kSampleTries = 500;   // some 30 us
constexpr double kTrustFactor = 4;  // a bracket this much wider than the best tells little
constexpr uint32_t kSkipsInRowMax = 8;

int64_t ToQ48(double ns_per_tick) { return std::llround(std::ldexp(ns_per_tick, 48)); }

// Leaf 80000007H, EDX bit 8 (Intel SDM 18.17.1, AMD APM 3): constant rate in all P-, C- and
// T-states.
bool HasInvariantTsc() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid(0x80000007u, &eax, &ebx, &ecx, &edx) != 0 && (edx & (1u << 8)) != 0;
}

uint64_t ReadTicksInOrder() {
  _mm_lfence();
  const uint64_t ticks = __rdtsc();
  _mm_lfence();
  return ticks;
}

}  // namespace

ClockDiscipline::ClockDiscipline(const ClockSample& first, const ClockSample& second)
    : origin_ns_(second.ns) {
  FARSPAN_CHECK(second.ticks > first.ticks && second.ns > first.ns);
  window_.push_back(first);
  const double rate = estimate_rate(second);
  window_.push_back(second);
  map_ = {.base_ticks = second.ticks, .base_ns = 0, .ns_per_tick_q48 = ToQ48(rate)};
  quality_.tick_hz = 1e9 / rate;
  quality_.sample_uncertainty_ns = second.uncertainty_ns;
  quality_.samples = 2;
}

bool ClockDiscipline::trusted(const ClockSample& sample) {
  const ClockSample& last = window_.back();
  if (sample.ticks <= last.ticks || sample.ns <= last.ns) return false;
  const auto best = std::min_element(window_.begin(), window_.end(),
                                     [](const ClockSample& a, const ClockSample& b) {
                                       return a.uncertainty_ns < b.uncertainty_ns;
                                     });
  if (sample.uncertainty_ns <= kTrustFactor * best->uncertainty_ns ||
      ++skipped_in_row_ > kSkipsInRowMax) {
    skipped_in_row_ = 0;
    return true;
  }
  return false;
}

double ClockDiscipline::estimate_rate(const ClockSample& newest) {
  const ClockSample& oldest = window_.front();
  const auto elapsed_ns = static_cast<double>(newest.ns - oldest.ns);
  quality_.rate_uncertainty_ppm =
      1e6 * (newest.uncertainty_ns + oldest.uncertainty_ns) / elapsed_ns;
  return elapsed_ns / static_cast<double>(newest.ticks - oldest.ticks);
}

const ClockMap& ClockDiscipline::update(const ClockSample& sample) {
  if (!trusted(sample)) {
    ++quality_.samples_skipped;
    return map_;
  }
  const TimeNs engine = map_.at(sample.ticks);
  const auto offset = static_cast<double>(engine.ns - (sample.ns - origin_ns_));
  const double rate = estimate_rate(sample);
  const double slew = std::clamp(-offset * 1e-9 / kOffsetTimeS, -kSlewMax, kSlewMax);
  map_ = {.base_ticks = sample.ticks,
          .base_ns = engine.ns,
          .ns_per_tick_q48 = ToQ48(rate * (1 + slew))};

  window_.push_back(sample);
  if (window_.size() > kWindowSamples) window_.pop_front();
  quality_.tick_hz = 1e9 / rate;
  quality_.slew_ppm = slew * 1e6;
  quality_.slew_ppm_max = std::max(quality_.slew_ppm_max, std::abs(slew) * 1e6);
  quality_.offset_ns = offset;
  quality_.offset_ns_max = std::max(quality_.offset_ns_max, std::abs(offset));
  quality_.sample_uncertainty_ns = sample.uncertainty_ns;
  ++quality_.samples;
  return map_;
}

DisciplinedClock::DisciplinedClock(Sampler sampler, const Options& options) {
  const ClockSample first = sampler();
  std::this_thread::sleep_for(std::chrono::nanoseconds(options.calibration.ns));
  ClockDiscipline discipline(first, sampler());
  origin_ns_ = discipline.origin_ns();
  publish(discipline);
  thread_ =
      StartControlThread(options.thread_name,
                         [this, sampler = std::move(sampler), interval = options.interval,
                          discipline = std::move(discipline)](const std::stop_token& stop) mutable {
                           while (SleepUnlessStopped(stop, interval)) {
                             discipline.update(sampler());
                             publish(discipline);
                           }
                         });
}

void DisciplinedClock::publish(const ClockDiscipline& discipline) {
  map_.store(discipline.map());
  quality_.store(discipline.quality());
}

ClockSample SampleMonotonicRaw(int tries) {
  ClockSample best;
  uint64_t best_width = std::numeric_limits<uint64_t>::max();
  for (int i = 0; i < tries; ++i) {
    timespec time{};
    const uint64_t before = ReadTicksInOrder();
    clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    const uint64_t after = ReadTicksInOrder();
    if (after - before >= best_width) continue;
    best_width = after - before;
    best.ticks = before + best_width / 2;
    best.ns = time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
  }
  // Half the bracket, taking a tick for 1 ns (it is less on every CPU with an invariant TSC), and
  // the whole nanoseconds of the reference.
  best.uncertainty_ns = static_cast<double>(best_width) / 2 + 1;
  return best;
}

EngineClock::EngineClock(const DisciplinedClock::Options& options)
    : clock_([] { return SampleMonotonicRaw(kSampleTries); }, options) {}

Result<std::unique_ptr<EngineClock>> EngineClock::Start(const DisciplinedClock::Options& options) {
  if (!HasInvariantTsc()) {
    return Fail(ErrorCode::kMachine,
                "the CPU's time stamp counter is not invariant (CPUID 80000007H: EDX bit 8 is 0), "
                "so it cannot time packets; in QEMU start the guest with -cpu host,+invtsc");
  }
  return std::unique_ptr<EngineClock>(new EngineClock(options));
}

}  // namespace farspan::dpdk
