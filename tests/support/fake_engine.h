// An EngineControl without an engine: two links, numbers that add up, and a note of what was asked.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emulator/control/engine_control.h"
#include "emulator/link/path.h"

namespace farspan::control {

inline HistogramSnapshot FakeHistogram(uint64_t scale) {
  HistogramSnapshot h;
  uint64_t total = 0;
  for (int64_t bound = 64; bound <= 1 << 20; bound *= 2) {
    h.bounds.push_back({bound});
    total += bound < 4096 ? scale : scale / 100;
    h.counts.push_back(total);
    h.sum_ns += static_cast<double>(bound) * static_cast<double>(scale) / 2;
  }
  h.counts.push_back(total);
  h.max = {900'000};
  return h;
}

inline DirectionSnapshot FakeDirection(std::string link, Direction direction, int64_t km) {
  DirectionSnapshot d;
  d.link = std::move(link);
  d.direction = direction;
  d.from = direction == Direction::kAb ? "chicago" : "newyork";
  d.to = direction == Direction::kAb ? "newyork" : "chicago";
  d.egress_port = d.to;
  d.spec.lanes.front().path.length = {km * 1'000'000};
  d.spec.lanes.front().rate = {10'000'000'000};
  d.spec.lanes.front().loss.kind = link::LossKind::kBernoulli;
  d.spec.lanes.front().loss.probability = 1e-3;
  d.delay = link::OneWayDelay(d.spec.lanes.front().path);
  d.rdma.emplace();
  return d;
}

class FakeEngine : public EngineControl {
 public:
  static constexpr uint64_t kWireBytes = 1'058;

  struct Call {
    std::string link;
    std::optional<Direction> direction;
    std::vector<link::Change> changes;
  };

  FakeEngine() {
    state_.uptime = {90'000'000'000};
    state_.clock_error_ppm = -0.25;
    for (const auto& [name, km] : {std::pair{"chi-nyc", 1328}, {"metro", 80}}) {
      state_.directions.push_back(FakeDirection(name, Direction::kAb, km));
      state_.directions.push_back(FakeDirection(name, Direction::kBa, km));
    }
    for (const char* name : {"chicago", "newyork"}) {
      PortSnapshot p;
      p.name = name;
      p.lateness = FakeHistogram(100'000);
      p.arrival_uncertainty = FakeHistogram(200'000);
      p.pause_asked = {{3, {20'000'000}}};
      p.paused = {{3, {1'000'000}}};
      state_.ports.push_back(std::move(p));
    }
    advance(1);
  }

  // Some traffic; conservation holds before and after.
  void advance(uint64_t seconds) {
    const std::lock_guard lock(mutex_);
    state_.uptime += {static_cast<int64_t>(seconds) * 1'000'000'000};
    for (DirectionSnapshot& d : state_.directions) {
      link::DirectionCounters& c = d.counters;
      c.offered_packets += 1'000'000 * seconds;
      c.offered_bytes = c.offered_packets * kWireBytes;
      c.duplicated_packets += 10 * seconds;
      c.dropped_packets[static_cast<size_t>(link::Cause::kLoss)] += 1'000 * seconds;
      c.dropped_packets[static_cast<size_t>(link::Cause::kTailDrop)] += 200 * seconds;
      c.marked_packets += 4'000 * seconds;
      c.held_packets = 6'500;
      c.queue_packets = 120;
      c.queue_bytes = c.queue_packets * kWireBytes;
      c.forwarded_packets =
          c.offered_packets + c.duplicated_packets - c.dropped_total() - c.held_packets;
      c.forwarded_bytes = c.forwarded_packets * kWireBytes;
    }
    for (PortSnapshot& p : state_.ports) {
      p.rx_packets += 2'000'000 * seconds;
      p.rx_bytes = p.rx_packets * (kWireBytes - 24);
      p.tx_packets += 1'990'000 * seconds;
      p.tx_bytes = p.tx_packets * (kWireBytes - 24);
    }
  }

  void edit(const auto& change) {
    const std::lock_guard lock(mutex_);
    change(state_);
  }
  std::vector<Call> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  void refuse_with(std::optional<Error> error) {
    const std::lock_guard lock(mutex_);
    refusal_ = std::move(error);
  }

  EngineSnapshot snapshot() const override {
    const std::lock_guard lock(mutex_);
    return state_;
  }

  Result<Applied> change(std::string_view link, std::optional<Direction> direction,
                         const std::vector<link::Change>& changes) override {
    const std::lock_guard lock(mutex_);
    if (refusal_) return tl::unexpected(*refusal_);
    calls_.push_back({std::string(link), direction, changes});
    for (DirectionSnapshot& d : state_.directions) {
      if (d.link != link || (direction && d.direction != *direction)) continue;
      for (const link::Change& change : changes) apply(d, change);
    }
    return Applied{state_.uptime};
  }

  Result<Applied> add_rule(std::string_view link, Direction direction,
                           const config::Rule& rule) override {
    const std::lock_guard lock(mutex_);
    if (refusal_) return tl::unexpected(*refusal_);
    DirectionSnapshot& d = find(link, direction);
    d.rules.push_back({.name = rule.name,
                       .match = rule.match,
                       .limits = rule.limits,
                       .action = rule.action,
                       .number = static_cast<uint8_t>(d.rules.size() + 1),
                       .since = state_.uptime,
                       .matched = 12,
                       .picked = 3,
                       .hits = 2});
    rules_.push_back(rule);
    return Applied{state_.uptime};
  }

  Result<Applied> remove_rule(std::string_view link, Direction direction,
                              const std::optional<std::string>& name) override {
    const std::lock_guard lock(mutex_);
    if (refusal_) return tl::unexpected(*refusal_);
    bool found = !name;
    for (RuleSnapshot& rule : find(link, direction).rules) {
      if ((name && rule.name != *name) || rule.removed_at != kNever) continue;
      rule.removed_at = state_.uptime;
      found = true;
    }
    if (!found) return Fail(ErrorCode::kNotFound, "no rule \"" + *name + '"');
    return Applied{state_.uptime};
  }

  std::vector<config::Rule> rules() const {
    const std::lock_guard lock(mutex_);
    return rules_;
  }

  Result<Applied> start_epoch() override {
    const std::lock_guard lock(mutex_);
    if (refusal_) return tl::unexpected(*refusal_);
    calls_.push_back({"", {}, {link::StartEpoch{}}});
    return Applied{state_.uptime};
  }

  Result<std::vector<roce::QpSnapshot>> queue_pairs(std::string_view link) override {
    const std::lock_guard lock(mutex_);
    if (refusal_) return tl::unexpected(*refusal_);
    if (link != "chi-nyc") return Fail(ErrorCode::kNotFound, "there is no such link");
    roce::QpSnapshot there{.dest_qp = 0x22};
    there.src = {10, 0, 0, 1};
    there.dst = {10, 0, 0, 2};
    there.counters.ingress.packets = 1'000;
    there.counters.ingress.frame_bytes = 1'082'000;
    there.counters.egress.goodput_bytes = 999'000;
    there.counters.ingress.repeated = 12;
    there.counters.recovery.add({13'010'000});
    roce::QpSnapshot back{.direction = 1, .matched = true, .dest_qp = 0x11, .src_qp = 0x22};
    back.src = there.dst;
    back.dst = there.src;
    back.counters.ingress.acks[static_cast<size_t>(roce::AckKind::kPsnSequenceError)] = 3;
    return std::vector{back, there};
  }

  std::string certificate() const override {
    return R"({"schema":"farspan.certificate.v1","valid":true})";
  }

 private:
  DirectionSnapshot& find(std::string_view link, Direction direction) {
    return *std::find_if(
        state_.directions.begin(), state_.directions.end(),
        [&](const DirectionSnapshot& d) { return d.link == link && d.direction == direction; });
  }

  static void apply(DirectionSnapshot& d, const link::Change& change) {
    link::LaneSpec& lane = d.spec.lanes.front();
    if (const auto* path = std::get_if<link::SetPath>(&change)) {
      lane.path = path->path;
      d.delay = link::OneWayDelay(lane.path);
    } else if (const auto* rate = std::get_if<link::SetRate>(&change)) {
      lane.rate = rate->rate;
    } else if (const auto* loss = std::get_if<link::SetLoss>(&change)) {
      lane.loss = loss->loss;
    } else if (const auto* jitter = std::get_if<link::SetJitter>(&change)) {
      d.spec.jitter = jitter->jitter;
    }
  }

  mutable std::mutex mutex_;
  EngineSnapshot state_;
  std::vector<Call> calls_;
  std::vector<config::Rule> rules_;
  std::optional<Error> refusal_;
};

}  // namespace farspan::control
