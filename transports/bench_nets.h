// The nets that `farspan bench` runs on, as their options (net_options.h) say.
#pragma once

#include <boost/program_options.hpp>
#include <memory>

#include "emulator/base/result.h"
#include "transports/core/transport.h"
#include "transports/drivers/address.h"
#include "transports/testbed/bench.h"
#include "transports/testbed/presets.h"

namespace farspan {

// "64M" as nccl-tests writes it (binary), or "64 MiB".
Result<uint64_t> ParseSize(const std::string& text);

// The preset, if one was asked for, and what the command line says instead.
Result<testbed::NcclPreset> ReadNccl(const boost::program_options::variables_map& values);

// tcp: kernel TCP; udp and verbs: Span. `local` has port 0.
Result<std::unique_ptr<transport::Transport>> OpenNet(
    const boost::program_options::variables_map& values, const SocketAddress& local,
    TimeNs timeout);

// All ranks in virtual time.
Result<std::unique_ptr<testbed::Group>> MakeSim(const boost::program_options::variables_map& values,
                                                const testbed::BenchOptions& options);

}  // namespace farspan
