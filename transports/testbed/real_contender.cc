#include "transports/testbed/real_contender.h"

#include "transports/baselines/tcp_transport.h"
#include "transports/core/span.h"
#include "transports/doors/open_library.h"
#include "transports/drivers/udp/udp_transport.h"

namespace farspan::testbed {
namespace {

Result<RealContender> MakeUdp(const EndpointOrder& order, const SocketAddress& local) {
  transport::SpanConfig config = SpanConfigOf(order);
  config.granularity = udp::UdpTransport::kGranularity;
  auto span = transport::Span::Create(config);
  if (!span) return tl::unexpected(span.error());
  const transport::Span* raw = span->get();
  udp::UdpConfig udp;
  udp.local = {local};
  auto opened = udp::UdpTransport::Open(udp, std::move(*span),
                                        {order.spec->name,
                                         transport::MaxMessageBytes(config.payload_bytes),
                                         config.max_requests,
                                         order.rate.bits_per_s,
                                         {}});
  if (!opened) return tl::unexpected(opened.error());
  return RealContender{std::move(*opened), [raw] { return TrafficOf(*raw); }};
}

Result<RealContender> MakeTcp(const EndpointOrder& order, const SocketAddress& local) {
  baselines::TcpConfig config;
  config.local = local;
  config.congestion = order.spec->congestion;
  config.sockets = order.preset.tcp.sockets;
  config.timeout = order.timeout;
  auto opened = baselines::TcpTransport::Open(config);
  if (!opened) return tl::unexpected(opened.error());
  const baselines::TcpTransport* raw = opened->get();
  return RealContender{std::move(*opened), [raw] {
                         const baselines::TcpRepeats repeats = raw->repeats();
                         return TrafficBytes{0, repeats.resent_bytes, repeats.duplicate_bytes, 0};
                       }};
}

Result<RealContender> MakeLibrary(const EndpointOrder& order, const SocketAddress& local) {
  auto opened = doors::OpenLibrary(order.spec->library,
                                   {HostOf(local), order.spec->options, order.timeout, false});
  if (!opened) return tl::unexpected(opened.error());
  return RealContender{std::move(opened->transport), [] { return TrafficBytes{}; }};
}

}  // namespace

bool RunsInRealTime(const ContenderSpec& spec) {
  return spec.transport == "span" || spec.transport == "tcp" || spec.is_library();
}

Result<RealContender> MakeRealContender(const EndpointOrder& order, const SocketAddress& local) {
  if (order.spec->is_library()) return MakeLibrary(order, local);
  return order.spec->transport == "span" ? MakeUdp(order, local) : MakeTcp(order, local);
}

}  // namespace farspan::testbed
