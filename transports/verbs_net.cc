#include "transports/verbs_net.h"

#if FARSPAN_HAS_VERBS
#include <fmt/format.h>
#include <unistd.h>

#include "transports/baselines/rc_transport.h"
#include "transports/drivers/qlog/qlog_endpoint.h"
#include "transports/drivers/verbs/verbs_transport.h"
#endif

namespace farspan {

using transport::Transport;

#if FARSPAN_HAS_VERBS

namespace {

constexpr uint32_t kRoceOverhead = 90;  // Ethernet 38, IPv4 20, UDP 8, BTH 12, DETH 8, ICRC 4

}  // namespace

Result<std::unique_ptr<Transport>> OpenSpanOverVerbs(const verbs::PortChoice& choice,
                                                     transport::SpanConfig config,
                                                     const std::string& qlog) {
  auto device = verbs::Device::Open(choice);
  if (!device) return tl::unexpected(device.error());
  const uint32_t most = device->mtu_bytes() - transport::kMaxHeaderBytes - transport::kMacBytes;
  if (config.payload_bytes > most) {
    return Fail(ErrorCode::kInvalid, fmt::format("{} B of payload: {}'s path MTU takes {} at most",
                                                 config.payload_bytes, device->name(), most));
  }
  if (config.payload_bytes == 0) config.payload_bytes = most / 64 * 64;  // parity likes whole lines
  config.overhead_bytes = kRoceOverhead;
  config.payload_crc = false;  // the ICRC covers it
  config.granularity = verbs::VerbsTransport::kGranularity;
  auto span = transport::MakeSpan(config, qlog, fmt::format("span-{}", getpid()));
  if (!span) return tl::unexpected(span.error());
  auto opened = verbs::VerbsTransport::Open(std::move(*device), std::move(*span),
                                            {"span",
                                             transport::MaxMessageBytes(config.payload_bytes),
                                             config.max_requests,
                                             config.controller.rate.bits_per_s,
                                             {}});
  if (!opened) return tl::unexpected(opened.error());
  return std::unique_ptr<Transport>(std::move(*opened));
}

Result<std::unique_ptr<Transport>> OpenRcOverVerbs(const verbs::PortChoice& choice,
                                                   const SocketAddress& local,
                                                   const baselines::RcConfig& config,
                                                   TimeNs timeout) {
  auto opened = baselines::RcTransport::Open({choice, local, config, timeout});
  if (!opened) return tl::unexpected(opened.error());
  return std::unique_ptr<Transport>(std::move(*opened));
}

#else

namespace {

tl::unexpected<Error> NoVerbs() {
  return Fail(
      ErrorCode::kMachine,
      "this program was built without verbs: apt install libibverbs-dev, then build it with "
      "-DFARSPAN_VERBS=ON");
}

}  // namespace

Result<std::unique_ptr<Transport>> OpenSpanOverVerbs(const verbs::PortChoice&,
                                                     transport::SpanConfig, const std::string&) {
  return NoVerbs();
}

Result<std::unique_ptr<Transport>> OpenRcOverVerbs(const verbs::PortChoice&, const SocketAddress&,
                                                   const baselines::RcConfig&, TimeNs) {
  return NoVerbs();
}

#endif

}  // namespace farspan
