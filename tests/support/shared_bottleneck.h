// Greedy flows of Span, and of kernel TCP's model, over one bottleneck in virtual time.
//
// Every flow has its own two hosts; all data leave through one wire and its queue. Acknowledgements
// come back over a wire of each flow's own, whose length makes up the flow's round trip. Lengths
// only. Where tests/support/dumbbell.h tries a controller alone, this is the whole transport.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "transports/core/span.h"
#include "transports/drivers/sim/sim_network.h"

namespace farspan::test {

struct BottleneckOptions {
  Rate rate{1'000'000'000};
  TimeNs delay{5'000'000};           // of the shared wire, one way
  uint64_t queue_bytes = 2'500'000;  // in front of it
  uint32_t payload_bytes = 4096;     // of Span's datagrams and TCP's segments
  TimeNs stall{};                    // once a second nothing arrives for so long, then all at once
  double loss = 0;                   // of each packet by itself, in the fiber
  TimeNs cut{};                      // once a second everything is lost for so long,
  int cuts = 60;                     // for so many seconds
  TimeNs detour{};  // for 1 ms each second packets take so much longer, and others overtake them
};

class SharedBottleneck {
 public:
  // What cannot be built ends the test program with the reason.
  explicit SharedBottleneck(const BottleneckOptions& options);
  ~SharedBottleneck();

  // A flow that sends from now on. `rtt` is at least twice the shared wire's delay; `rate` is for
  // `fixed`.
  void add(const std::string& congestion, TimeNs rtt, Rate rate = {});
  // A flow of one socket of kernel TCP (transports/baselines), with buffers that never limit.
  void add_tcp(const std::string& congestion, TimeNs rtt);
  void run_until(TimeNs time) { network_.run_until(time); }

  // Payload that flow `i` has brought across so far, once each.
  uint64_t delivered(size_t i) const;
  // Of the packets that came to the shared wire.
  double loss() const;

 private:
  class Flow;
  void add_flow(std::unique_ptr<transport::Endpoint> sender,
                std::unique_ptr<transport::Endpoint> receiver, TimeNs rtt,
                std::function<uint64_t()> delivered);

  BottleneckOptions options_;
  transport::SimNetwork network_;
  transport::WireId wire_;
  std::vector<std::unique_ptr<Flow>> flows_;
};

// Jain, Chiu and Hawe's index (DEC-TR-301, 1984) of two: 1 where they are equal, 1/2 at worst.
inline double JainIndex(double a, double b) { return (a + b) * (a + b) / (2 * (a * a + b * b)); }

}  // namespace farspan::test
