// Transports over RDMA verbs, where Farspan was built with libibverbs; else an error that says so.
#pragma once

#include <memory>
#include <string>

#include "emulator/base/result.h"
#include "transports/baselines/model_config.h"
#include "transports/core/span_config.h"
#include "transports/core/transport.h"
#include "transports/drivers/verbs/gid.h"

namespace farspan {

// Span over UD. `payload_bytes` 0: as many as the port's path MTU takes. What is below the
// datagram (framing, checksum of the payload) is filled in. `qlog`: see drivers/qlog.
Result<std::unique_ptr<transport::Transport>> OpenSpanOverVerbs(const verbs::PortChoice& choice,
                                                                transport::SpanConfig config,
                                                                const std::string& qlog = {});

// Verbs RC as NCCL's net_ib uses it; `local`, port 0, for the TCP connections beside.
Result<std::unique_ptr<transport::Transport>> OpenRcOverVerbs(const verbs::PortChoice& choice,
                                                              const SocketAddress& local,
                                                              const baselines::RcConfig& config,
                                                              TimeNs timeout);

}  // namespace farspan
