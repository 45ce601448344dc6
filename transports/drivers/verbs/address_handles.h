// AddressHandles: the address handles of a queue pair's destinations, made once each, by a thread.
//
// Making one may wait for the network to resolve the neighbour (ARP; seconds where nobody answers):
// so that whoever sends never waits, what is for a destination whose handle is not made yet counts
// as lost. The cache is bounded: anybody can write to a queue pair and be answered. A full one
// forgets a handle that no request in flight uses. A destination without a way is asked about again
// after kAskAgain. Threading: one thread calls everything; `make` runs in another. The destructor
// waits for the handle that is being made.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "emulator/base/time.h"
#include "transports/drivers/verbs/gid.h"

namespace farspan::verbs {

class AddressHandles {
 public:
  static constexpr TimeNs kAskAgain{1'000'000'000};

  // Null where there is no way to the address, with errno.
  using Make = std::function<ibv_ah*(const Gid& to, bool ecn_capable)>;
  using Release = std::function<void(ibv_ah*)>;

  AddressHandles(Make make, Release release, size_t most);
  AddressHandles(const AddressHandles&) = delete;
  AddressHandles& operator=(const AddressHandles&) = delete;
  ~AddressHandles();

  // Asks for a destination's, and waits for them, but not longer than that.
  void prepare(const Gid& to, TimeNs at_most);

  enum class Outcome : uint8_t { kFound, kAsked, kNoWay, kAllBusy };
  struct Found {
    Outcome outcome = Outcome::kFound;
    ibv_ah* handle = nullptr;
    int error = 0;  // kNoWay: errno
  };
  // For request number `use`; requests up to `done` have left.
  Found find(const Gid& to, bool ecn_capable, uint64_t use, uint64_t done);

 private:
  enum class State : uint8_t { kAsked, kMade, kNoWay };
  struct Entry {
    Gid to{};
    State state = State::kAsked;
    std::array<ibv_ah*, 2> handles{};  // without and with ECN
    int error = 0;
    TimeNs told_at{};  // kNoWay
    uint64_t last_use = 0;
  };

  Entry* entry_of(const Gid& to);
  Outcome ask(const Gid& to, uint64_t done);
  void take_answers();
  void release(const Entry& entry);
  void work();

  const Make make_;
  const Release release_;
  const size_t most_;
  std::vector<Entry> entries_;

  std::mutex mutex_;  // of what follows
  std::condition_variable asked_, answered_;
  std::deque<Gid> questions_;
  std::vector<Entry> answers_;
  bool end_ = false;
  std::atomic<bool> any_answer_ = false;
  std::thread worker_;
};

}  // namespace farspan::verbs
