// The engine's clock: TSC ticks to TimeNs, calibrated against CLOCK_MONOTONIC_RAW.
//
// The rate that DPDK reports is rounded (rte_get_tsc_hz: +1,492 ppm was seen) and is not used. The
// counter is compared with CLOCK_MONOTONIC_RAW for at least a second before the first packet, then
// again a few times per second for as long as the engine lives. Corrections change the rate by at
// most kSlewMax and never step: engine time is continuous and monotonic.
//
// Units: nanoseconds since the clock's start (engine time 0); ticks of the counter.
// Threads: a control thread disciplines the clock; each lcore has a ClockReader of its own, which
// costs a version check and a multiply-shift per reading.
// Not modelled: the error of CLOCK_MONOTONIC_RAW itself against true time (crystals: tens of ppm),
// nor skew between the TSCs of sockets (invariant TSCs are synchronised by firmware; Linux drops
// the tsc clocksource where they are not).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "emulator/base/int128.h"
#include "emulator/base/result.h"
#include "emulator/base/seqlock.h"
#include "emulator/base/time.h"

namespace farspan::dpdk {

// ns = base_ns + floor((ticks - base_ticks) x ns_per_tick), ns_per_tick in 2^-48.
struct ClockMap {
  uint64_t base_ticks = 0;
  int64_t base_ns = 0;
  int64_t ns_per_tick_q48 = 0;

  TimeNs at(uint64_t ticks) const {
    const auto delta = static_cast<int64_t>(ticks - base_ticks);
    return {base_ns + static_cast<int64_t>((static_cast<Int128>(delta) * ns_per_tick_q48) >> 48)};
  }
};

// The reference clock read `ns` when the counter read `ticks`, give or take uncertainty_ns.
struct ClockSample {
  uint64_t ticks = 0;
  int64_t ns = 0;
  double uncertainty_ns = 0;
};

// How well the clock is known; for the certificate. Everything is against the reference clock.
struct ClockQuality {
  double tick_hz = 0;
  double rate_uncertainty_ppm = 0;   // of the rate's estimate: bound from the samples' brackets
  double slew_ppm = 0;               // applied now, to work off the offset
  double slew_ppm_max = 0;           // the largest magnitude since start
  double offset_ns = 0;              // engine time less reference time, at the last sample
  double offset_ns_max = 0;          // the largest magnitude since start
  double sample_uncertainty_ns = 0;  // of the last sample: offsets below it are not knowable
  uint64_t samples = 0;
  uint64_t samples_skipped = 0;  // too wide a bracket beside the best ones

  // Bound on |engine rate / reference rate - 1|.
  double error_ppm() const { return rate_uncertainty_ppm + (slew_ppm < 0 ? -slew_ppm : slew_ppm); }
};

// The arithmetic of calibration, without a clock: samples in, maps out. Single thread.
class ClockDiscipline {
 public:
  static constexpr double kSlewMax = 2e-6;       // so that slewing alone keeps within 5 ppm
  static constexpr double kOffsetTimeS = 4;      // an offset is worked off with this time constant
  static constexpr size_t kWindowSamples = 256;  // the rate is taken over the last so many

  // Time 0 is at `second`, which lies a calibration time after `first`.
  ClockDiscipline(const ClockSample& first, const ClockSample& second);

  // The new map equals the old one at sample.ticks: no step, forward or back.
  const ClockMap& update(const ClockSample& sample);

  const ClockMap& map() const { return map_; }
  const ClockQuality& quality() const { return quality_; }
  int64_t origin_ns() const { return origin_ns_; }  // reference time at time 0

 private:
  bool trusted(const ClockSample& sample);
  double estimate_rate(const ClockSample& newest);  // ns per tick; sets its uncertainty

  std::deque<ClockSample> window_;
  ClockMap map_;
  ClockQuality quality_;
  int64_t origin_ns_ = 0;
  uint32_t skipped_in_row_ = 0;
};

// A disciplined clock that lives: samples a reference on a control thread, publishes maps.
class DisciplinedClock {
 public:
  using Sampler = std::function<ClockSample()>;
  struct Options {
    TimeNs calibration{1'000'000'000};
    TimeNs interval{250'000'000};
    std::string thread_name = "farspan-clock";
  };

  // Blocks for the calibration time (asleep but for two short bursts of readings).
  DisciplinedClock(Sampler sampler, const Options& options);

  const Seqlock<ClockMap>& map() const { return map_; }
  ClockQuality quality() const { return quality_.load(); }
  int64_t origin_ns() const { return origin_ns_; }

 private:
  void publish(const ClockDiscipline& discipline);

  Seqlock<ClockMap> map_;
  Seqlock<ClockQuality> quality_;
  int64_t origin_ns_ = 0;
  std::jthread thread_;  // last: it must end before what it writes
};

uint64_t ReadTicks();  // the TSC

// One thread's view of a map. The map is refreshed when a newer one is published.
class MapReader {
 public:
  explicit MapReader(const Seqlock<ClockMap>& published) : published_(&published) { refresh(); }

  TimeNs at(uint64_t ticks) {
    look();
    return map_.at(ticks);
  }
  // The way back, for a time after the clock's last sample, by a day at most: a reading that the
  // map puts at `time` or less than two ticks after it, never before.
  uint64_t ticks_at(TimeNs time) {
    look();
    if (map_.ns_per_tick_q48 != inverse_of_) [[unlikely]]
      invert();
    const Int128 delta = Int128{time.ns - map_.base_ns} * ticks_per_ns_q48_;
    return map_.base_ticks + static_cast<uint64_t>(delta >> 48) + 1;
  }

 private:
  void look() {
    if (published_->version() != version_) [[unlikely]]
      refresh();
  }
  void refresh() { map_ = published_->load(version_); }
  // Rounded up, so that whole ticks are not missed by a fraction.
  void invert() {
    inverse_of_ = map_.ns_per_tick_q48;
    ticks_per_ns_q48_ = static_cast<int64_t>((Int128{1} << 96) / inverse_of_) + 1;
  }

  const Seqlock<ClockMap>* published_;
  ClockMap map_;
  int64_t inverse_of_ = 0;
  int64_t ticks_per_ns_q48_ = 0;
  uint64_t version_ = 0;
};

// One thread's engine time; never goes back. Must not outlive its EngineClock.
class ClockReader {
 public:
  explicit ClockReader(const Seqlock<ClockMap>& published) : reader_(published) {}

  TimeNs now() {
    const TimeNs time = reader_.at(ReadTicks());
    if (time > last_) last_ = time;
    return last_;
  }

 private:
  MapReader reader_;
  TimeNs last_{0};
};

class EngineClock {
 public:
  // kMachine where the TSC is not invariant.
  static Result<std::unique_ptr<EngineClock>> Start(const DisciplinedClock::Options& options = {});

  ClockReader reader() const { return ClockReader(clock_.map()); }    // one for each thread
  TimeNs now() const { return clock_.map().load().at(ReadTicks()); }  // any thread, off the path
  ClockQuality quality() const { return clock_.quality(); }
  // CLOCK_MONOTONIC_RAW at engine time 0: lets another process check offset and rate.
  int64_t origin_raw_ns() const { return clock_.origin_ns(); }

 private:
  explicit EngineClock(const DisciplinedClock::Options& options);
  DisciplinedClock clock_;
};

// The tightest of `tries` bracketed readings of CLOCK_MONOTONIC_RAW.
ClockSample SampleMonotonicRaw(int tries);

}  // namespace farspan::dpdk

#include <x86intrin.h>

inline uint64_t farspan::dpdk::ReadTicks() { return __rdtsc(); }
