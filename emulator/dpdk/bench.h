// The engine's benchmark: packets per second that one core carries through a link, no NIC needed.
//
// A source on the polling lcore allocates mbufs and writes real headers (RoCEv2 over
// IPv4, of 64 queue pairs in turn), a Pipe and a SitePort of the engine carry them, a net_null port
// ends them. What is held is really held: the bottleneck is 400 Gb/s, so the fiber holds rate x
// delay. Threads: Run launches the loop on the Eal's first polling lcore and waits.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/dpdk/clock.h"
#include "emulator/dpdk/eal.h"
#include "emulator/dpdk/spin_gaps.h"

namespace farspan::dpdk {

struct BenchCase {
  uint32_t frame_bytes = 64;  // with FCS
  TimeNs delay{50'000'000};
  TimeNs measured{2'000'000'000};  // after the fiber has filled
  uint64_t packets_per_s = 0;      // offered; 0: as many as the core can
  bool observed = false;           // the queue pairs are followed
};

struct StageCycles {  // per packet
  double source = 0;  // allocate, write headers
  double accept = 0;  // parse, store, offer
  double depart = 0;  // release, open, send
};

struct BenchResult {
  BenchCase asked;
  double packets_per_s = 0;
  uint64_t held_packets = 0;  // at the end of the measurement
  uint64_t forwarded = 0;
  uint64_t emulated_losses = 0;
  uint64_t own_drops = 0;
  uint64_t early = 0;
  uint64_t observed = 0;  // packets that the observer saw leave
  StageCycles cycles;
  double tick_hz = 0;
  TimeNs loop_p50{};
  TimeNs late_p50{};
  TimeNs late_p99{};
  TimeNs late_p999{};
  TimeNs late_max{};
  SpinGaps gaps_before;
  SpinGaps gaps_after;
};

class Bench {
 public:
  struct Options {
    uint32_t largest_frame_bytes = 64;  // of all cases
    uint64_t held_packets_max = 0;      // capacity of the link, in packets
    bool reserve_hugepages = false;
    std::vector<std::string> eal_arguments;
  };
  static Result<std::unique_ptr<Bench>> Create(const Options& options);
  ~Bench();

  Result<BenchResult> run(const BenchCase& bench_case);
  bool hugepages() const;

 private:
  struct Impl;
  explicit Bench(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace farspan::dpdk
