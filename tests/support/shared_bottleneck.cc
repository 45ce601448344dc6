#include "tests/support/shared_bottleneck.h"

#include <deque>
#include <utility>

#include "emulator/link/counters.h"
#include "emulator/link/spec.h"
#include "tests/support/endpoint_pair.h"
#include "transports/baselines/model_endpoint.h"
#include "transports/congestion/controllers.h"

namespace farspan::test {
namespace {

using namespace transport;

constexpr uint64_t kMessageBytes = 16 << 20;
constexpr size_t kDepth = 4;

link::DirectionSpec Wire(Rate rate, TimeNs delay, uint64_t queue_bytes) {
  link::DirectionSpec spec;
  spec.lanes[0].rate = rate;
  spec.lanes[0].path.delay = delay;
  spec.bottleneck.classes[0].limit.bytes = queue_bytes;
  return spec;
}

// Once a second the path is longer for a moment. Where nothing overtakes, that is what an engine or
// a host does that does not get to run.
void AddDetours(TimeNs by, link::DirectionSpec& spec) {
  const link::PathSpec usual = spec.lanes[0].path;
  link::PathSpec longer = usual;
  longer.delay = usual.delay + by;
  for (int64_t second = 1; second <= 60; ++second) {
    const TimeNs at{second * 1'000'000'000};
    spec.timeline.push_back({at, false, link::SetPath{0, longer}});
    spec.timeline.push_back({at + TimeNs{1'000'000}, false, link::SetPath{0, usual}});
  }
}

link::DirectionSpec SharedWire(const BottleneckOptions& options) {
  link::DirectionSpec spec = Wire(options.rate, options.delay, options.queue_bytes);
  if (options.stall.ns > 0) {
    spec.order = link::OrderPolicy::kKeep;
    AddDetours(options.stall, spec);
  }
  if (options.detour.ns > 0) AddDetours(options.detour, spec);
  if (options.loss > 0) spec.lanes[0].loss.kind = link::LossKind::kBernoulli;
  spec.lanes[0].loss.probability = options.loss;
  for (int64_t second = 1; options.cut.ns > 0 && second <= options.cuts; ++second) {
    spec.timeline.push_back(
        {TimeNs{second * 1'000'000'000}, false, link::Cut{.duration = options.cut}});
  }
  return spec;
}

}  // namespace

// Keeps kDepth messages under way.
class SharedBottleneck::Flow final : public ProgressListener {
 public:
  Flow(SimTransport& from, SimTransport& to, std::function<uint64_t()> delivered)
      : from_(from), to_(to), delivered_(std::move(delivered)) {
    Handle handle;
    listener_ = Must(to_.listen(handle));
    send_ = Must(from_.connect(handle));
    from_.set_listener(this);
    to_.set_listener(this);
  }

  void on_progress() override {
    if (!receive_) receive_ = to_.accept(listener_);
    if (!receive_) return;
    move(to_, *receive_, receives_, false);
    move(from_, send_, sends_, true);
  }

  uint64_t delivered() const { return delivered_(); }

 private:
  static void move(SimTransport& at, CommId comm, std::deque<RequestId>& posted, bool sends) {
    while (!posted.empty() && at.test(posted.front()).progress != Progress::kPending) {
      posted.pop_front();
    }
    while (posted.size() < kDepth) {
      const Buffer buffer{nullptr, kMessageBytes};
      const auto request = sends ? at.post_send(comm, buffer, 0) : at.post_recv(comm, buffer, 0);
      if (!request) return;
      posted.push_back(*request);
    }
  }

  SimTransport& from_;
  SimTransport& to_;
  const std::function<uint64_t()> delivered_;
  ListenId listener_;
  CommId send_;
  std::optional<CommId> receive_;
  std::deque<RequestId> sends_, receives_;
};

SharedBottleneck::SharedBottleneck(const BottleneckOptions& options) : options_(options) {
  RegisterControllers();
  wire_ = Must(network_.add_wire(SharedWire(options), {.link = "shared"}, {1u << 16}));
}

SharedBottleneck::~SharedBottleneck() = default;

void SharedBottleneck::add(const std::string& congestion, TimeNs rtt, Rate rate) {
  SpanConfig config;
  config.recovery = "sr";
  config.congestion = congestion;
  config.controller.rate = rate;
  config.payload_bytes = options_.payload_bytes;
  config.lengths_only = true;
  config.max_connections = 1;
  config.window_packets = 1u << 14;
  config.seed = 2 * flows_.size() + 1;
  auto sender = Must(Span::Create(config));
  ++config.seed;
  auto receiver = Must(Span::Create(config));
  const auto delivered = [&c = receiver->counters(), payload = config.payload_bytes] {
    return (c.data_received - c.data_duplicate - c.data_discarded + c.decoded) * payload;
  };
  add_flow(std::move(sender), std::move(receiver), rtt, delivered);
}

void SharedBottleneck::add_tcp(const std::string& congestion, TimeNs rtt) {
  baselines::ModelConfig config;
  config.model = "tcp";
  config.congestion = congestion;
  config.payload_bytes = options_.payload_bytes;
  config.lengths_only = true;
  config.window_packets = 1u << 14;
  config.tcp.send_buffer_bytes = config.tcp.receive_buffer_bytes = 4 * kMessageBytes;
  config.seed = 2 * flows_.size() + 1;
  auto sender = Must(baselines::ModelEndpoint::Create(config));
  ++config.seed;
  auto receiver = Must(baselines::ModelEndpoint::Create(config));
  const auto delivered = [&c = receiver->counters(), payload = config.payload_bytes] {
    return c.data_received * payload;
  };
  add_flow(std::move(sender), std::move(receiver), rtt, delivered);
}

void SharedBottleneck::add_flow(std::unique_ptr<Endpoint> sender,
                                std::unique_ptr<Endpoint> receiver, TimeNs rtt,
                                std::function<uint64_t()> delivered) {
  SimTransport& from = network_.add_host(std::move(sender));
  SimTransport& to = network_.add_host(std::move(receiver));
  network_.route(from, to, wire_);
  network_.route(
      to, from,
      Must(network_.add_wire(Wire(options_.rate, rtt - options_.delay, 0),
                             {.link = "back " + std::to_string(flows_.size())}, {1u << 16})));
  flows_.push_back(std::make_unique<Flow>(from, to, std::move(delivered)));
}

uint64_t SharedBottleneck::delivered(size_t i) const { return flows_.at(i)->delivered(); }

double SharedBottleneck::loss() const {
  const link::DirectionCounters counters = network_.counters(wire_);
  return static_cast<double>(counters.dropped_total()) /
         static_cast<double>(counters.offered_packets);
}

}  // namespace farspan::test
