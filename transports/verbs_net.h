// Transports over RDMA verbs, where Farspan was built with libibverbs; else an error that says so.
#pragma once

#include <memory>

#include "emulator/base/result.h"
#include "transports/core/span_config.h"
#include "transports/core/transport.h"
#include "transports/drivers/verbs/gid.h"

namespace farspan {

// Span over UD. `payload_bytes` 0: as many as the port's path MTU takes. What is below the
// datagram (framing, checksum of the payload) is filled in.
Result<std::unique_ptr<transport::Transport>> OpenSpanOverVerbs(const verbs::PortChoice& choice,
                                                                transport::SpanConfig config);

}  // namespace farspan
