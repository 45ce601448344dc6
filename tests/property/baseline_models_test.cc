// The baselines' virtual-time models: every byte once and in order, whatever the link does.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/endpoint_pair.h"
#include "tests/support/link_support.h"
#include "tests/support/random_case.h"
#include "transports/baselines/model_endpoint.h"
#include "transports/congestion/controllers.h"
#include "transports/testbed/conform.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using baselines::ModelConfig;
using baselines::ModelEndpoint;
using namespace transport;

struct Case {
  std::string model;
  std::string congestion;
  uint32_t streams = 1;
  bool split = false;
  bool adaptive = false;
};

ModelConfig Config(const Case& c, uint64_t seed) {
  RegisterControllers();
  ModelConfig config;
  config.model = c.model;
  config.congestion = c.congestion;
  config.controller.rate = c.congestion == "fixed" ? 1_gbps : Rate{};
  config.payload_bytes = c.model == "tcp" ? 1448 : 4096;
  config.rc.queue_pairs = config.tcp.sockets = c.streams;
  config.rc.split = c.split;
  config.rc.adaptive = c.adaptive;
  config.rc.timeout = 12;  // 16.8 ms
  config.tcp.send_buffer_bytes = 300'000;
  config.tcp.receive_buffer_bytes = 200'000;
  config.seed = seed;
  return config;
}

// Loss, duplicates and corruption in both directions; a queue that overflows.
link::DirectionSpec Rough(double loss) {
  link::DirectionSpec spec = Plain(1_gbps, 2_ms);
  spec.lanes[0].loss.kind = link::LossKind::kBernoulli;
  spec.lanes[0].loss.probability = loss;
  spec.duplicate = loss / 2;
  spec.corrupt = loss / 2;
  spec.bottleneck.classes[0].limit.bytes = 400'000;
  return spec;
}

WireOptions Wire(double loss, uint64_t seed) {
  WireOptions options;
  options.there = options.back = Rough(loss);
  options.link_seed = seed;
  return options;
}

const Case kCases[] = {{"rc-gbn", "fixed"},
                       {"rc-gbn", "dcqcn", 4, true},
                       {"rc-gbn", "fixed", 2, false, true},
                       {"rc-sr", "fixed", 1, false, true},
                       {"rc-sr", "fixed", 4, true},
                       {"rc-sr", "dcqcn", 3, false},
                       {"tcp", "cubic"},
                       {"tcp", "bbr", 4},
                       {"tcp", "cubic", 3}};

std::string Name(const Case& c) {
  return c.model + " " + c.congestion + " x" + std::to_string(c.streams) +
         (c.split ? " split" : "") + (c.adaptive ? " adaptive" : "");
}

EndpointPair MakePair(const Case& c, const WireOptions& wire) {
  return {wire,
          *ModelEndpoint::Create(Config(c, 1)),
          *ModelEndpoint::Create(Config(c, 2)),
          {c.model, 1u << 30, 32, 0, {}}};
}

TEST(BaselineModels, Conform) {
  for (const Case& c : kCases) {
    for (const double loss : {0.0, 0.01}) {
      SCOPED_TRACE(Name(c) + " at " + std::to_string(loss));
      EndpointPair pair = MakePair(c, Wire(loss, 3));
      const auto pump = [&] { pair.network.run_until(pair.network.now() + 1_ms); };
      for (const auto& result : testbed::RunConformance({pair.a, pair.b, pump, 60_s})) {
        EXPECT_TRUE(result.passed) << result.name << ": " << result.detail;
      }
    }
  }
}

// --- Random links and messages ----------------------------------------------------------------

class Direction {
 public:
  explicit Direction(Dice& dice) : dice_(dice) {}

  link::DirectionSpec draw(Rate rate, TimeNs delay) {
    link::DirectionSpec spec = Plain(rate, delay);
    link::LossSpec& loss = spec.lanes[0].loss;
    if (dice_.chance(0.4)) {
      loss.kind = link::LossKind::kBernoulli;
      loss.probability = dice_.log_between(1e-3, 0.1);
    } else if (dice_.chance(0.4)) {
      loss.kind = link::LossKind::kGilbertElliott;
      loss.ge_r = dice_.between(0.1, 0.5);
      loss.ge_p = dice_.log_between(1e-3, 0.05) * loss.ge_r;
      loss.keying = link::Keying::kWireTime;
      loss.reference_wire_bytes = 250;
    }
    spec.duplicate = dice_.chance(0.3) ? 0.1 * dice_.unit() : 0;
    spec.corrupt = dice_.chance(0.3) ? 0.05 * dice_.unit() : 0;
    if (dice_.chance(0.3)) {
      spec.jitter.deviation = {
          static_cast<int64_t>(static_cast<double>(delay.ns) * dice_.between(0.001, 0.2))};
      spec.jitter.reorder = dice_.chance(0.7);
    }
    if (dice_.chance(0.2)) {
      link::Cut cut;
      cut.lane = link::kAllLanes;
      cut.duration = {
          static_cast<int64_t>(dice_.log_between(0.1, 10) * static_cast<double>(delay.ns))};
      spec.timeline.push_back({.at = TimeNs{20 * delay.ns}, .change = cut});
    }
    if (dice_.chance(0.2)) spec.bottleneck.classes[0].limit.bytes = 4'000 + dice_.below(60'000);
    return spec;
  }

 private:
  Dice& dice_;
};

struct Outcome {
  std::string failure;   // empty: good
  bool gave_up = false;  // RC's retries were used up, and both sides were told
  uint64_t hash = 0;
};

// Sends `messages` random messages, receives posted ahead, and looks at every byte.
class Trial {
 public:
  explicit Trial(uint64_t seed) : dice_(seed), case_(kCases[seed % std::size(kCases)]) {
    const Rate rate{static_cast<uint64_t>(dice_.log_between(1e7, 1e10))};
    const TimeNs delay{static_cast<int64_t>(dice_.log_between(10e3, 20e6))};
    Direction direction(dice_);
    WireOptions wire;
    wire.there = direction.draw(rate, delay);
    wire.back = direction.draw(rate, delay);
    wire.link_seed = seed;
    wire.capacity.packets = 1u << 14;
    wire.sim.batching_seed = dice_.chance(0.5) ? seed + 1 : 0;
    ModelConfig config = Config(case_, seed);
    config.payload_bytes = 64 + static_cast<uint32_t>(dice_.below(200));
    config.window_packets = 64u << dice_.below(5);
    config.max_requests = requests_ = 1u << dice_.below(5);
    config.timeout = 100_s;
    config.rc.retry_count = 20;
    config.tcp.send_buffer_bytes = 1'000 + dice_.below(50'000);
    config.tcp.receive_buffer_bytes = 1'000 + dice_.below(50'000);
    if (case_.congestion == "fixed") config.controller.rate = rate;
    ModelConfig second = config;
    ++second.seed;
    pair_ = std::make_unique<EndpointPair>(wire, *ModelEndpoint::Create(config),
                                           *ModelEndpoint::Create(second));
  }

  Outcome go() {
    if (!pair_->connect(600_s)) return {"not connected: " + Name(case_)};
    const auto count = 1 + dice_.below(12);
    for (uint64_t i = 0; i < count; ++i) {
      std::vector<uint8_t> bytes(dice_.chance(0.1) ? 0 : dice_.below(100'000));
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(dice_.below(256));
      out_.push_back(std::move(bytes));
      in_.emplace_back(out_.back().size() + dice_.below(50), 0xee);
    }
    const bool ended =
        pair_->network.run_while([&] { return !step(); }, pair_->network.now() + 3'000_s);
    Outcome outcome{failure_, false, pair_->network.trace_hash()};
    if (gave_up()) {
      outcome.gave_up = true;
      if (case_.model == "tcp") outcome.failure = "gave up: " + Name(case_);
    } else if (!ended && failure_.empty()) {
      outcome.failure = "hangs: " + Name(case_) + ", " + std::to_string(received_) + " of " +
                        std::to_string(count) + " received, " + std::to_string(sent_) + " sent";
    }
    return outcome;
  }

 private:
  bool gave_up() const {
    return pair_->a->state(pair_->comm_a) == CommState::kFailed ||
           pair_->b->state(*pair_->comm_b) == CommState::kFailed;
  }

  bool step() {
    // Posting wakes a host: only what can succeed is tried.
    while (receives_.size() < std::min(in_.size(), received_ + requests_)) {
      auto& room = in_[receives_.size()];
      const auto posted = pair_->b->post_recv(*pair_->comm_b, {room.data(), room.size()}, 7);
      if (!posted) break;
      receives_.push_back(*posted);
    }
    while (sends_.size() < std::min(out_.size(), sent_ + requests_)) {
      auto& data = out_[sends_.size()];
      const auto posted = pair_->a->post_send(pair_->comm_a, {data.data(), data.size()}, 7);
      if (!posted) break;
      sends_.push_back(*posted);
    }
    while (received_ < receives_.size()) {
      const Completion done = pair_->b->test(receives_[received_]);
      if (done.progress == Progress::kPending) break;
      if (done.progress == Progress::kDone) check(received_, done.bytes);
      if (done.progress == Progress::kFailed) return true;
      ++received_;
    }
    while (sent_ < sends_.size()) {
      const Completion done = pair_->a->test(sends_[sent_]);
      if (done.progress == Progress::kPending) break;
      if (done.progress == Progress::kFailed) return true;
      ++sent_;
    }
    return !failure_.empty() || (received_ == in_.size() && sent_ == out_.size());
  }

  void check(size_t i, uint64_t bytes) {
    const auto& out = out_[i];
    const bool right = bytes == out.size() && std::equal(out.begin(), out.end(), in_[i].begin()) &&
                       std::all_of(in_[i].begin() + static_cast<long>(out.size()), in_[i].end(),
                                   [](uint8_t b) { return b == 0xee; });
    if (!right) failure_ = "message " + std::to_string(i) + " arrived wrong: " + Name(case_);
  }

  Dice dice_;
  const Case case_;
  uint32_t requests_ = 0;
  std::unique_ptr<EndpointPair> pair_;
  std::vector<std::vector<uint8_t>> out_, in_;
  std::vector<RequestId> sends_, receives_;
  size_t sent_ = 0, received_ = 0;
  std::string failure_;
};

TEST(BaselineModels, EveryByteOnceOverAnyLink) {
  int gave_up = 0;
  constexpr int kSeeds = 180;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Outcome outcome = Trial(seed).go();
    ASSERT_EQ(outcome.failure, "") << "seed " << seed;
    gave_up += outcome.gave_up ? 1 : 0;
    if (seed % 10 != 0) continue;
    EXPECT_EQ(outcome.hash, Trial(seed).go().hash) << "seed " << seed;
  }
  EXPECT_LE(gave_up, kSeeds / 10);
}

}  // namespace
}  // namespace farspan::test
