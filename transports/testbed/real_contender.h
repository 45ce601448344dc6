// Contenders over real networks: Span over UDP, kernel TCP as NCCL's Socket transport uses it, and
// users' libraries by their doors (transports/doors); what a library sends again nobody counts.
//
// What a scenario's models stand for has no real thing here (rc needs RDMA hosts): it is left out.
#pragma once

#include <functional>
#include <memory>

#include "transports/core/transport.h"
#include "transports/drivers/address.h"
#include "transports/testbed/contender.h"

namespace farspan::testbed {

struct RealContender {
  std::unique_ptr<transport::Transport> transport;
  std::function<TrafficBytes()> traffic;  // so far; while the transport lives
};

bool RunsInRealTime(const ContenderSpec& spec);

// `local` has port 0. TCP's socket buffers are the system's to grow: whoever runs it sets its
// limits.
Result<RealContender> MakeRealContender(const EndpointOrder& order, const SocketAddress& local);

}  // namespace farspan::testbed
