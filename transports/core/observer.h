// Observer: told, one by one, what an endpoint's counters only sum up and its driver cannot see.
// For logs, which live outside of the core. Called on the data path by the endpoint's thread.
#pragma once

#include <cstdint>

#include "emulator/base/time.h"

namespace farspan::transport {

struct LostInfo {
  TimeNs now{};
  uint64_t connection = 0;  // as the packet named it: the receiver's id
  uint64_t number = 0;
  uint32_t path = 0;
  uint32_t wire_bytes = 0;
  bool reported = false;  // by the receiver; else nothing was heard of it for too long
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_lost(const LostInfo& lost) = 0;
};

}  // namespace farspan::transport
