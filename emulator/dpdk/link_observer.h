// LinkObserver: a link's QpObserver where its packets pass, and readings of it for other threads.
//
// One for both directions of a link where they share an lcore, else one for each.
// Threads: observer(), serve() and publish() are for the lcore; totals() and read() for any other,
// read() by one at a time (it takes a lock). The lcore copies the table a few entries at a time
// between bursts, so that each queue pair is consistent in itself, and no packet waits for it.
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/seqlock.h"
#include "emulator/link/spec.h"
#include "emulator/roce/qp_observer.h"

namespace farspan::dpdk {

// The least time in which an answer can come back, over all lanes and what the timelines make of
// them.
TimeNs LeastRoundTrip(const link::DirectionSpec& ab, const link::DirectionSpec& ba);

class LinkObserver {
 public:
  LinkObserver(const roce::ObserverSpec& spec, TimeNs round_trip);

  roce::QpObserver& observer() { return observer_; }
  // True while there is more to do.
  bool serve() { return wanted_.load(std::memory_order_acquire) && serve_some(); }
  void publish(uint32_t direction) { published_[direction].store(observer_.totals(direction)); }

  roce::ObserverTotals totals(uint32_t direction) const { return published_[direction].load(); }
  void set_round_trip(TimeNs round_trip);
  // Asks the lcore and waits for it; kIo where it does not answer in time.
  Result<std::vector<roce::QpSnapshot>> read();
  // Once no lcore serves it any more.
  std::vector<roce::QpSnapshot> read_at_rest() const;

 private:
  static constexpr uint32_t kEntriesAtATime = 16;
  bool serve_some();

  roce::QpObserver observer_;
  std::array<Seqlock<roce::ObserverTotals>, 2> published_;
  std::atomic<bool> wanted_{false};
  std::atomic<int64_t> round_trip_ns_;

  std::mutex reading_;
  std::vector<roce::QpSnapshot> copy_;  // the lcore's while it is wanted
  uint32_t copied_ = 0;                 // likewise
};

}  // namespace farspan::dpdk
