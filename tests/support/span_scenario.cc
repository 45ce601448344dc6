#include "tests/support/span_scenario.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include "emulator/link/counters.h"
#include "tests/support/random_case.h"
#include "transports/congestion/controllers.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using namespace transport;

class Generator {
 public:
  Generator(uint64_t seed, uint64_t packets) : dice_(seed), packets_(packets) { s_.seed = seed; }

  SpanScenario generate() {
    static const bool registered = (RegisterControllers(), true);
    (void)registered;
    policies();
    link();
    sizes();
    traffic();
    if (s_.seed / kPairs % kAllEvery == 0) everything();
    return s_;
  }

 private:
  void policies() {
    const auto recoveries = {"gbn", "sr", "ec", "auto"};
    const auto controllers = {"fixed", "cubic", "bbr", "swift", "dcqcn"};
    SpanConfig& config = s_.pair.config;
    config.recovery = recoveries.begin()[s_.seed % 4];
    config.congestion = controllers.begin()[s_.seed / 4 % 5];
    go_back_n_ = config.recovery == "gbn";
  }

  static link::LossSpec single_losses(double rate) {
    link::LossSpec loss;
    loss.kind = link::LossKind::kBernoulli;
    loss.probability = rate;
    return loss;
  }

  link::LossSpec bursts(double rate) {
    link::LossSpec loss;
    loss.kind = link::LossKind::kGilbertElliott;
    loss.ge_r = dice_.between(0.02, 0.5);
    loss.ge_p = rate * loss.ge_r;
    loss.keying = link::Keying::kWireTime;  // a burst ends, also where little is sent
    loss.reference_wire_bytes = 250;
    return loss;
  }

  link::LossSpec loss() {
    const double rate = dice_.log_between(1e-3, go_back_n_ ? 0.03 : 0.15);
    switch (dice_.below(4)) {
      case 0:
        return {};
      case 1:
      case 2:
        return single_losses(rate);
      default:
        return bursts(rate);
    }
  }

  void direction(link::DirectionSpec& spec, Rate rate, TimeNs delay, int lanes) {
    spec.lanes.clear();
    for (int i = 0; i < lanes; ++i) {
      link::LaneSpec lane;
      lane.rate = rate;
      lane.path.delay =
          i == 0
              ? delay
              : TimeNs{static_cast<int64_t>(static_cast<double>(delay.ns) * dice_.between(1, 2))};
      lane.loss = loss();
      spec.lanes.push_back(lane);
    }
    const auto some = [&](double high) { return dice_.chance(0.3) ? high * dice_.unit() : 0; };
    spec.duplicate = some(0.1);
    spec.corrupt = some(go_back_n_ ? 0.01 : 0.05);
    if (dice_.chance(0.3)) {
      spec.jitter.deviation =
          TimeNs{static_cast<int64_t>(static_cast<double>(delay.ns) * dice_.between(0.001, 0.2))};
      spec.jitter.reorder = dice_.chance(0.7);
      s_.round_trips_count = false;
    }
    spec.detection = TimeNs{delay.ns};
    spec.rehash = dice_.chance(0.5) ? link::RehashPolicy::kModulo : link::RehashPolicy::kResilient;
    for (uint64_t cuts = dice_.chance(0.3) ? 1 + dice_.below(2) : 0; cuts > 0; --cuts) {
      const TimeNs at{static_cast<int64_t>(dice_.unit() * 20 * static_cast<double>(delay.ns))};
      link::Cut cut;
      cut.lane =
          lanes > 1 && dice_.chance(0.7) ? static_cast<int>(dice_.below(2)) : link::kAllLanes;
      cut.duration =
          TimeNs{static_cast<int64_t>(dice_.log_between(0.1, 30) * static_cast<double>(delay.ns))};
      spec.timeline.push_back({.at = at, .change = cut});
    }
    if (dice_.chance(0.2)) {  // a short queue
      spec.bottleneck.classes[0].limit.bytes = 2'000 + dice_.below(60'000);
    }
    if (dice_.chance(0.2)) {
      spec.bottleneck.classes[0].aqm = {.kind = link::AqmKind::kStep, .step_bytes = 10'000};
    }
  }

  void link() {
    const Rate rate{static_cast<uint64_t>(dice_.log_between(5e6, 2e10))};
    const TimeNs delay{static_cast<int64_t>(dice_.log_between(10e3, 20e6))};
    const int lanes = dice_.chance(0.3) ? 2 + static_cast<int>(dice_.below(2)) : 1;
    s_.round_trips_count = lanes == 1;
    direction(s_.pair.there, rate, delay, lanes);
    direction(s_.pair.back, rate, delay, lanes);
    s_.rtt = TimeNs{2 * delay.ns};
    s_.pair.link_seed = s_.seed;
    s_.pair.capacity.packets = 1u << 14;
    s_.pair.config.controller.rate = {
        static_cast<uint64_t>(static_cast<double>(rate.bits_per_s) * dice_.between(0.5, 1))};
  }

  void sizes() {
    SpanConfig& config = s_.pair.config;
    config.payload_bytes = 64 + static_cast<uint32_t>(dice_.below(200));
    config.window_packets = 64u << dice_.below(6);
    config.max_requests = 1u << dice_.below(5);
    config.parity_symbols = dice_.chance(0.2) ? 16 : 512;
    config.open_blocks = dice_.chance(0.2) ? 2 : 64;
    config.policy.block_data = dice_.chance(0.5) ? 128 : 1 + static_cast<uint32_t>(dice_.below(64));
    config.max_connections = 2;
    config.timeout = 60_s;
    config.handshake_retry = TimeNs{2 * s_.rtt.ns};
    if (dice_.chance(0.3)) config.first_number = ~0u - static_cast<uint32_t>(dice_.below(500));
    if (dice_.chance(0.3)) config.first_message = 65'530 + dice_.below(6);
    if (dice_.chance(0.25)) config.mac = MacKey{{1, 2, 3}};
    s_.pair.paths = dice_.chance(0.4) ? 2 + static_cast<uint32_t>(dice_.below(3)) : 1;
    s_.pair.sim.batching_seed = dice_.chance(0.5) ? s_.seed + 1 : 0;
    // Go-back-N sends again what it has only just sent.
    s_.round_trips_count = s_.round_trips_count && s_.pair.paths == 1 && !go_back_n_;
  }

  void traffic() {
    const double payload = s_.pair.config.payload_bytes;
    const double total = payload * dice_.log_between(2, static_cast<double>(packets_));
    const uint64_t count = 1 + dice_.below(12);
    for (uint64_t i = 0; i < count; ++i) {
      const double share = total / static_cast<double>(count) * 2 * dice_.unit();
      s_.messages.push_back(dice_.chance(0.1) ? dice_.below(3) : static_cast<uint64_t>(share));
    }
    s_.eager = dice_.chance(0.7);
  }

  // All impairments at once, on the way there.
  void everything() {
    const int64_t delay = s_.rtt.ns / 2;
    link::DirectionSpec& there = s_.pair.there;
    there.lanes.resize(2, there.lanes[0]);
    there.lanes[0].loss = single_losses(0.01);
    there.lanes[1].loss = bursts(0.01);
    there.duplicate = there.corrupt = 0.01;
    there.jitter.deviation = TimeNs{1 + delay / 50};
    there.jitter.reorder = true;
    const link::Cut cut{.lane = 0, .duration = TimeNs{5 * delay}};
    there.timeline.push_back({.at = TimeNs{4 * delay}, .change = cut});
    s_.round_trips_count = false;
  }

  static constexpr uint64_t kAllEvery = 50;

  Dice dice_;
  const uint64_t packets_;
  SpanScenario s_;
  bool go_back_n_ = false;
};

constexpr uint64_t kMaxSteps = 3'000'000;  // a driver that is kept busy for nothing

uint8_t ByteOf(uint64_t message, uint64_t offset) {
  return static_cast<uint8_t>((message + 1) * 167 + offset * 31 + (offset >> 8) * 17);
}

// Nothing that a datagram carries may leave again before a round trip has passed; copies of a
// repair may follow it.
class RoundTripWatch {
 public:
  RoundTripWatch(TimeNs rtt, bool copies) : rtt_(rtt), copies_(copies) {}

  void on_departure(TimeNs at, std::span<const uint8_t> bytes) {
    Header header;
    uint32_t size = 0;
    if (ParseHeader(bytes, header, size) != Drop::kNone || header.type != PacketType::kData) return;
    auto [entry, fresh] = last_.try_emplace({header.message, header.index}, Last{at, 0});
    if (fresh) return;
    const bool early = at - entry->second.at < rtt_;
    if (!early) {
      entry->second = {at, 0};
    } else if (!copies_ || ++entry->second.copies > 7) {
      ++early_;
    }
  }
  uint64_t early() const { return early_; }

 private:
  struct Last {
    TimeNs at;
    int copies;
  };
  const TimeNs rtt_;
  const bool copies_;
  std::map<std::pair<uint16_t, uint32_t>, Last> last_;
  uint64_t early_ = 0;
};

// Both programs: post what can be posted, test what is pending, check what has come.
class Programs final : public ProgressListener {
 public:
  Programs(const SpanScenario& scenario, SpanPair& pair) : s_(scenario), pair_(pair) {
    for (size_t i = 0; i < s_.messages.size(); ++i) {
      out_.emplace_back(s_.messages[i]);
      for (uint64_t j = 0; j < s_.messages[i]; ++j) out_[i][j] = ByteOf(i, j);
      in_.emplace_back(s_.messages[i] + i % 3, uint8_t{0xee});
    }
    pair_.a->set_listener(this);
    pair_.b->set_listener(this);
  }

  void on_progress() override {
    size_t before = 0;
    do {
      before = sent_ + received_;
      drive_receiver();
      drive_sender();
    } while (sent_ + received_ != before && !failed());
  }
  bool done() const { return received_ == in_.size() && sent_ == out_.size(); }
  bool failed() const { return !failure_.empty(); }
  std::string failure() const {
    if (failed() || done()) return failure_;
    return "not done: " + std::to_string(received_) + " received and " + std::to_string(sent_) +
           " known to the sender of " + std::to_string(out_.size()) +
           "; a: " + std::string(pair_.a->failure(pair_.comm_a)) +
           "; b: " + std::string(pair_.b->failure(*pair_.comm_b));
  }

 private:
  void drive_receiver() {
    while (receives_.size() < in_.size()) {
      std::vector<uint8_t>& buffer = in_[receives_.size()];
      const auto request = pair_.b->post_recv(*pair_.comm_b, {buffer.data(), buffer.size()},
                                              static_cast<uint32_t>(receives_.size()));
      if (!request) break;
      receives_.push_back(*request);
    }
    while (received_ < receives_.size()) {
      const Completion c = pair_.b->test(receives_[received_]);
      if (c.progress == Progress::kPending) break;
      if (c.progress == Progress::kFailed) return fail("a receive failed");
      check(received_++, c.bytes);
    }
  }

  void drive_sender() {
    while (sends_.size() < out_.size() && (s_.eager || sends_.size() == sent_)) {
      std::vector<uint8_t>& buffer = out_[sends_.size()];
      const auto request = pair_.a->post_send(pair_.comm_a, {buffer.data(), buffer.size()},
                                              static_cast<uint32_t>(sends_.size()));
      if (!request) break;
      sends_.push_back(*request);
    }
    while (sent_ < sends_.size()) {
      const Completion c = pair_.a->test(sends_[sent_]);
      if (c.progress == Progress::kPending) break;
      if (c.progress == Progress::kFailed) return fail("a send failed");
      // The receiver has all of it by then, whether its program has looked or not.
      if (in_[sent_].size() >= out_[sent_].size() &&
          !std::equal(out_[sent_].begin(), out_[sent_].end(), in_[sent_].begin())) {
        return fail("the sender was told too early of message " + std::to_string(sent_));
      }
      ++sent_;
    }
  }

  void check(size_t message, uint64_t bytes) {
    const std::vector<uint8_t>& in = in_[message];
    const std::vector<uint8_t>& out = out_[message];
    if (bytes != out.size()) fail("message " + std::to_string(message) + " has the wrong size");
    if (!std::equal(out.begin(), out.end(), in.begin())) {
      fail("message " + std::to_string(message) + " has wrong bytes");
    }
    for (size_t j = out.size(); j < in.size(); ++j) {
      if (in[j] != 0xee) fail("written beyond message " + std::to_string(message));
    }
  }

  void fail(const std::string& why) {
    if (failure_.empty()) {
      failure_ = why + "; a: " + std::string(pair_.a->failure(pair_.comm_a)) +
                 "; b: " + std::string(pair_.b->failure(*pair_.comm_b));
    }
  }

  const SpanScenario& s_;
  SpanPair& pair_;
  std::vector<std::vector<uint8_t>> out_;
  std::vector<std::vector<uint8_t>> in_;
  std::vector<RequestId> sends_;
  std::vector<RequestId> receives_;
  size_t sent_ = 0;
  size_t received_ = 0;
  std::string failure_;
};

}  // namespace

SpanScenario RandomScenario(uint64_t seed, uint64_t packets) {
  return Generator(seed, packets).generate();
}

Impairments ImpairmentsOf(const SpanScenario& scenario) {
  Impairments found;
  for (const link::DirectionSpec* way : {&scenario.pair.there, &scenario.pair.back}) {
    for (const link::LaneSpec& lane : way->lanes) {
      found.loss |= lane.loss.kind == link::LossKind::kBernoulli;
      found.bursts |= lane.loss.kind == link::LossKind::kGilbertElliott;
    }
    found.reordering |= way->jitter.deviation.ns > 0 && way->jitter.reorder;
    found.duplication |= way->duplicate > 0;
    found.corruption |= way->corrupt > 0;
    found.outage |= !way->timeline.empty();
    for (const link::TimelineEvent& event : way->timeline) {
      found.rehash |= std::get<link::Cut>(event.change).lane != link::kAllLanes;
    }
  }
  return found;
}

std::string Describe(const SpanScenario& s) {
  std::ostringstream text;
  const SpanConfig& c = s.pair.config;
  const link::LaneSpec& lane = s.pair.there.lanes[0];
  text << c.recovery << " x " << c.congestion << ", " << s.messages.size() << " messages, payload "
       << c.payload_bytes << ", window " << c.window_packets << " x " << s.pair.paths << " paths, "
       << ToText(lane.rate) << " " << ToText(s.rtt) << " RTT, " << s.pair.there.lanes.size()
       << " lanes, loss kind " << static_cast<int>(lane.loss.kind) << " " << lane.loss.probability
       << ", duplicate " << s.pair.there.duplicate << ", corrupt " << s.pair.there.corrupt
       << ", jitter " << s.pair.there.jitter.deviation.ns
       << (s.pair.there.jitter.reorder ? "r" : "") << ", events " << s.pair.there.timeline.size()
       << "+" << s.pair.back.timeline.size() << ", batching " << s.pair.sim.batching_seed
       << (s.eager ? "" : ", one by one");
  return text.str();
}

ScenarioResult RunScenario(const SpanScenario& scenario) {
  ScenarioResult result;
  SpanPair pair(scenario.pair);
  if (!pair.connect(120_s)) {
    result.failure = "not connected: " + std::string(pair.a->failure(pair.comm_a));
    return result;
  }
  RoundTripWatch watch(scenario.rtt, scenario.pair.config.recovery == "auto");
  pair.network.on_departure = [&](TimeNs at, std::span<const uint8_t> header) {
    watch.on_departure(at, header);
  };
  Programs programs(scenario, pair);
  programs.on_progress();
  uint64_t steps = 0;
  pair.network.run_while(
      [&] { return !programs.done() && !programs.failed() && ++steps < kMaxSteps; },
      pair.network.now() + 600_s);
  result.failure = programs.failure();
  const SpanCounters& a = pair.span_a->counters();
  if (result.failure.empty() && a.stalls != 0) result.failure = "the sender had stalled";
  if (result.failure.empty() && scenario.round_trips_count && watch.early() != 0) {
    result.failure = std::to_string(watch.early()) + " datagrams left again within a round trip";
  }
  result.hash = pair.network.trace_hash();
  result.packets = pair.network.counters(pair.there).offered_packets +
                   pair.network.counters(pair.back).offered_packets;
  return result;
}

}  // namespace farspan::test
