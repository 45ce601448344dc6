// A model of verbs RC under chosen faults, in virtual time: what crosses the link, as JSON.
//
//   rc_model '{"model": "rc-gbn", "rtt_ns": 1, "packet_ns": 1, "timeout": 18, "messages": 8,
//              "packets": 4, "drop_requests": [10], "drop_answers": [], "loss": 0, "seed": 1}'
//
// Messages of so many packets of 4096 B are posted at once, their receives long before. Dropped
// are the n-th request and the n-th answer from 1; `loss` is random, in both directions. Prints
// {"timeouts": N, "events": [["request" | "ack" | "nak", number, time in ns, lost], …]}; `lost` is
// of the chosen ones alone.
// The queue pair is as rxe's: 128 packets in flight, no adaptive retransmission.
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "emulator/base/check.h"
#include "tests/support/endpoint_pair.h"
#include "tests/support/link_support.h"
#include "transports/baselines/model_endpoint.h"
#include "transports/baselines/model_wire.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using baselines::Kind;
using nlohmann::json;

constexpr uint32_t kPayload = 4096;
constexpr TimeNs kFaultsFrom = 100_s;  // all is set up long before

link::LossSpec LossOf(const json& plan, const char* dropped) {
  link::LossSpec loss;
  loss.probability = plan.at("loss");
  loss.kind = loss.probability > 0 ? link::LossKind::kBernoulli : link::LossKind::kTrace;
  for (const uint64_t n : plan.at(dropped)) loss.trace.push_back({n - 1, n});
  if (loss.kind == link::LossKind::kTrace && loss.trace.empty()) loss.kind = link::LossKind::kNone;
  return loss;
}

// Packets count from kFaultsFrom on, and are lost from then on.
link::DirectionSpec Direction(const json& plan, const char* dropped) {
  link::DirectionSpec spec = Plain({}, TimeNs{plan.at("rtt_ns").get<int64_t>() / 2});
  spec.timeline.push_back({.at = kFaultsFrom, .change = link::StartEpoch{}});
  spec.timeline.push_back(
      {.at = kFaultsFrom, .change = link::SetLoss{.loss = LossOf(plan, dropped)}});
  return spec;
}

std::unique_ptr<baselines::ModelEndpoint> Make(const json& plan, uint64_t seed) {
  baselines::ModelConfig config;
  config.model = plan.at("model");
  config.lengths_only = true;
  config.payload_bytes = kPayload;
  config.window_packets = 128;
  config.max_requests = 256;
  config.seed = seed;
  config.controller.rate.bits_per_s =
      (kPayload + 78) * 8'000'000'000 / plan.at("packet_ns").get<uint64_t>();
  config.rc.selective = config.model == "rc-sr";
  config.rc.adaptive = false;
  config.rc.timeout = plan.at("timeout");
  return Must(baselines::ModelEndpoint::Create(config));
}

bool Within(const json& numbers, size_t n) {
  return std::find(numbers.begin(), numbers.end(), n) != numbers.end();
}

json Run(const json& plan) {
  WireOptions options;
  options.there = Direction(plan, "drop_requests");
  options.back = Direction(plan, "drop_answers");
  options.link_seed = plan.at("seed");
  EndpointPair pair(options, Make(plan, 2 * options.link_seed),
                    Make(plan, 2 * options.link_seed + 1));
  FARSPAN_CHECK(pair.connect(20_s));
  const int messages = plan.at("messages");
  const uint64_t bytes = uint64_t{plan.at("packets")} * kPayload;
  for (int i = 0; i < messages; ++i)
    FARSPAN_CHECK(pair.b->post_recv(*pair.comm_b, {nullptr, bytes}, 0));
  pair.network.run_until(kFaultsFrom + 1_us);

  json events = json::array();
  size_t requests = 0, answers = 0;
  pair.network.on_departure = [&](TimeNs at, std::span<const uint8_t> header) {
    transport::RxView view;
    view.bytes = header;
    baselines::Arrival packet;
    FARSPAN_CHECK(baselines::Parse(view, packet));
    const Kind kind = packet.head.kind;
    const bool request = kind == Kind::kData;
    const bool lost = request ? Within(plan.at("drop_requests"), ++requests)
                              : Within(plan.at("drop_answers"), ++answers);
    events.push_back({request              ? "request"
                      : kind == Kind::kNak ? "nak"
                                           : "ack",
                      packet.head.number, (at - kFaultsFrom).ns, lost});
  };
  std::vector<transport::RequestId> sends;
  for (int i = 0; i < messages; ++i) {
    sends.push_back(pair.a->post_send(pair.comm_a, {nullptr, bytes}, 0).value());
  }
  const auto pending = [&] {
    std::erase_if(sends, [&](transport::RequestId id) {
      return pair.a->test(id).progress == transport::Progress::kDone;
    });
    return !sends.empty();
  };
  FARSPAN_CHECK(pair.network.run_while(pending, kFaultsFrom + 10'000_s));
  const auto& sender = static_cast<baselines::ModelEndpoint&>(pair.a->endpoint()).counters();
  return {{"timeouts", sender.timeouts}, {"events", events}};
}

}  // namespace
}  // namespace farspan::test

int main(int argc, char** argv) {
  FARSPAN_CHECK(argc == 2);
  std::cout << farspan::test::Run(nlohmann::json::parse(argv[1])) << "\n";
}
