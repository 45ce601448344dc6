#include "tests/support/tcp_flow.h"

#include <cmath>

#include "emulator/base/check.h"
#include "tests/support/endpoint_pair.h"
#include "tests/support/link_support.h"
#include "transports/baselines/model_endpoint.h"
#include "transports/congestion/controllers.h"

namespace farspan::test {
namespace {

constexpr uint32_t kPayload = 1448;
constexpr Rate kPlenty{100'000'000'000};

std::unique_ptr<transport::Endpoint> Make(const TcpFlow& flow) {
  baselines::ModelConfig config;
  config.model = "tcp";
  config.congestion = flow.congestion;
  config.payload_bytes = kPayload;
  config.lengths_only = true;
  config.seed = flow.seed;
  config.tcp.send_buffer_bytes = config.tcp.receive_buffer_bytes = 64'000'000;
  return Must(baselines::ModelEndpoint::Create(config));
}

}  // namespace

double MeanWindow(const TcpFlow& flow) {
  transport::RegisterControllers();
  WireOptions wire;
  wire.there = wire.back = Plain(kPlenty, TimeNs{flow.rtt.ns / 2});
  link::LossSpec& loss = wire.there.lanes[0].loss;
  loss.kind = flow.random ? link::LossKind::kBernoulli : link::LossKind::kPeriodic;
  loss.probability = flow.loss;
  loss.period = static_cast<uint64_t>(std::lround(1 / flow.loss));
  wire.link_seed = flow.seed;
  wire.sim.granularity = {2'000};
  EndpointPair pair(wire, Make(flow), Make(flow));
  constexpr TimeNs kLimit{100'000'000'000'000};
  FARSPAN_CHECK(pair.connect(kLimit));
  const auto packets = static_cast<uint64_t>(flow.losses / flow.loss);
  pair.exchange(packets / 3 * kPayload, flow.rtt, kLimit);
  const TimeNs taken = pair.exchange(packets * kPayload, flow.rtt, kLimit).receiver;
  FARSPAN_CHECK(taken != kNever);
  return static_cast<double>(packets) * ToSeconds(flow.rtt) / ToSeconds(taken);
}

}  // namespace farspan::test
