// FaultTable: what the fault rules of one direction do, by the number in PacketRef::rule, and how
// often they did.
//
// Every lane's fiber looks here as a matched packet enters. A rule may be set while packets that an
// earlier rule of the same number picked still wait in a queue: whoever sets it makes sure that
// there are none, by `settled` (as many as were picked).
// Threading: the link's thread writes; counts() may be called from any. Nothing is allocated after
// construction.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "emulator/base/check.h"
#include "emulator/link/spec.h"

namespace farspan::link {

struct FaultCounts {
  uint64_t hits = 0;     // packets that the action was carried out on
  uint64_t settled = 0;  // packets that entered the fiber, or were dropped before
};

class FaultTable {
 public:
  static constexpr size_t kMaxFaults = 255;  // PacketRef::rule has 8 bits, and 0 means none

  // Number i + 1 does faults[i]; the others do nothing.
  explicit FaultTable(const std::vector<FaultSpec>& faults) {
    FARSPAN_CHECK(faults.size() <= kMaxFaults);
    for (size_t i = 0; i < faults.size(); ++i) specs_[i + 1] = faults[i];
  }

  const FaultSpec& of(uint8_t rule) const { return specs_[rule]; }
  // Its counts start again.
  void set(uint8_t rule, const FaultSpec& fault) {
    specs_[rule] = fault;
    counters_[rule].hits.store(0, std::memory_order_relaxed);
    counters_[rule].settled.store(0, std::memory_order_relaxed);
  }

  void hit(uint8_t rule) { Add(counters_[rule].hits); }
  void settle(uint8_t rule) { Add(counters_[rule].settled); }
  // Once all that was picked has settled, the hits are final.
  FaultCounts counts(uint8_t rule) const {
    const uint64_t settled = counters_[rule].settled.load(std::memory_order_acquire);
    return {counters_[rule].hits.load(std::memory_order_relaxed), settled};
  }

 private:
  struct Counters {
    std::atomic<uint64_t> hits{0};
    std::atomic<uint64_t> settled{0};
  };
  static void Add(std::atomic<uint64_t>& counter) {  // of a single writer
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

  std::array<FaultSpec, kMaxFaults + 1> specs_{};
  std::array<Counters, kMaxFaults + 1> counters_{};
};

}  // namespace farspan::link
