// LossEstimate: how lossy a path may be, and in what bursts, judged from what became of packets.
//
// Losses are counted as Poisson events with a Gamma prior of shape 1 and weight kPriorPackets: an
// unknown path is thought to lose 1e-3 on average, and 4.6e-3 with 99 % confidence. upper() is that
// quantile of the posterior (Wilson and Hilferty, PNAS 17, 1931, within a few per cent). Counts are
// halved every kMemoryPackets, so that the estimate follows a path that changes.
//
// burst() is the longest run of consecutive losses, forgotten slowly. Nothing allocates.
#pragma once

#include <cstdint>

namespace farspan::transport {

class LossEstimate {
 public:
  static constexpr double kPriorPackets = 1'000;
  static constexpr uint64_t kMemoryPackets = 1u << 20;

  void on_delivered(uint64_t packets) { packets_ += packets; }
  void on_lost(uint64_t number);
  // A loss that was none.
  void on_late() { losses_ -= losses_ > 0 ? 1 : 0; }

  double upper();
  uint32_t burst() const { return static_cast<uint32_t>(burst_ + 0.5); }

 private:
  uint64_t packets_ = 0;
  uint64_t losses_ = 0;
  uint64_t last_lost_ = ~uint64_t{0} - 1;
  uint32_t run_ = 0;
  double burst_ = 1;
};

// The least parity for which a block of `data` symbols cannot be decoded with probability `target`
// at most, each symbol lost with probability `loss`; at most `parity_max`.
uint32_t ParityFor(uint32_t data, double loss, double target, uint32_t parity_max);

}  // namespace farspan::transport
