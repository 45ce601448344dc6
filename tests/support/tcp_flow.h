// One flow of the TCP model over a link that loses and never queues: its mean window.
#pragma once

#include <cstdint>
#include <string>

#include "emulator/base/time.h"
#include "transports/baselines/model_config.h"

namespace farspan::test {

struct TcpFlow {
  std::string congestion = "cubic";
  TimeNs rtt{};
  double loss = 0;      // towards the receiver
  bool random = false;  // else every (1 / loss)-th packet is lost
  int losses = 100;     // that the measured part shall meet; a third as many come before
  uint64_t seed = 1;
};

// In packets, over time; the end of the program where the model fails.
double MeanWindow(const TcpFlow& flow);

}  // namespace farspan::test
