// A RoCE device without hardware: libibverbs's functions for a test program that is linked with
// fake_verbs.cc, whose definitions stand before the library's.
//
// One device "fake0", one port, GID index 0 of 127.0.0.1. UD sends arrive at once, a datagram
// without a posted receive is lost. RC: writes with immediate, which copy at once; what has no
// posted receive waits for one. No PSNs, keys, credits or limits. Threading: ibv_create_ah may be
// called from any thread, the rest from one.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>
#include <vector>

namespace farspan::test {

struct FakeVerbs {
  std::atomic<int64_t> resolve_ms = 0;  // that ibv_create_ah takes
  std::atomic<int> resolve_error = 0;   // errno that it fails with
  std::atomic<bool> released = false;   // true: those that wait do so no longer
  int arm_error = 0;                    // that ibv_req_notify_cq gives
  std::vector<uint32_t> numbers;        // of the queue pairs, oldest first

  // The queue pair stops: a completion of that status to the queue of its sends, or receives, and
  // flushed receives.
  void fail(uint32_t number, ibv_wc_status status, bool of_send);
};
FakeVerbs& Fake();

}  // namespace farspan::test
