// Two endpoints on a simulated wire, connected: a sends, b receives.
#pragma once

#include <memory>
#include <optional>

#include "emulator/link/spec.h"
#include "transports/drivers/sim/sim_network.h"

namespace farspan::test {

struct WireOptions {
  link::DirectionSpec there;
  link::DirectionSpec back;
  uint64_t link_seed = 1;
  link::LinkCapacity capacity;
  transport::SimOptions sim;
  uint32_t paths = 1;
};

struct MessageTimes {
  TimeNs receiver = kNever;  // from the send being posted until all of it is there
  TimeNs sender = kNever;    // until the sender knows
};

// The value, or the end of the test program with the reason.
[[noreturn]] void GiveUp(const Error& error);
template <typename T>
T Must(Result<T> result) {
  if (!result) GiveUp(result.error());
  return *std::move(result);
}

class EndpointPair {
 public:
  // What cannot be built ends the test program with the reason.
  EndpointPair(const WireOptions& options, std::unique_ptr<transport::Endpoint> first,
               std::unique_ptr<transport::Endpoint> second,
               const transport::Properties& properties = {});

  // False where it fails, or is not done by `limit` from now.
  bool connect(TimeNs limit);
  // One message with its receive posted a round trip before; lengths only.
  MessageTimes exchange(uint64_t bytes, TimeNs rtt, TimeNs limit);

  transport::SimNetwork network;
  transport::SimTransport* a = nullptr;
  transport::SimTransport* b = nullptr;
  transport::WireId there;
  transport::WireId back;
  transport::CommId comm_a;
  std::optional<transport::CommId> comm_b;
};

}  // namespace farspan::test
