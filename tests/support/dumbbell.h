// Greedy senders over one bottleneck: just enough of a network to try a controller on.
//
// Fluid-free and independent of the link model and of the transport's endpoint: packets of one
// size, one FIFO of limited length with optional step marking and random loss, a fixed distance per
// sender, an acknowledgement for every packet, loss known one round trip after departure. What an
// endpoint tells a controller (RTTs, delivery rates, what is in flight) is computed here again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <queue>
#include <vector>

#include "emulator/base/random.h"
#include "transports/core/congestion.h"

namespace farspan::test {

struct DumbbellConfig {
  double bits_per_s = 1e9;
  double queue_bytes = 2.5e6;
  double mark_bytes = 1e300;  // CE above so much waiting
  double loss = 0;            // after the bottleneck
  uint32_t packet_bytes = 4194;
};

class Dumbbell {
 public:
  explicit Dumbbell(const DumbbellConfig& config) : config_(config) {}

  size_t add(transport::ControllerFactory make, TimeNs rtt, TimeNs start = {}) {
    transport::ControllerConfig options;
    options.packet_bytes = config_.packet_bytes;
    options.initial_rtt = rtt;
    options.seed = senders_.size() + 1;
    senders_.push_back(std::make_unique<Sender>());
    senders_.back()->control = make(options);
    senders_.back()->rtt = rtt;
    senders_.back()->next_send = start;
    events_.push({start, Kind::kSend, senders_.size() - 1, 0});
    return senders_.size() - 1;
  }

  void run(TimeNs until) {
    while (!events_.empty() && events_.top().at <= until) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.at;
      if (event.kind == Kind::kSend) send(event.sender);
      if (event.kind == Kind::kAck) acknowledge(event.sender, event.packet);
      if (event.kind == Kind::kLost) lose(event.sender, event.packet);
    }
    now_ = until;
  }

  uint64_t delivered(size_t sender) const { return senders_[sender]->delivered; }
  uint64_t lost(size_t sender) const { return senders_[sender]->lost; }
  const transport::Controller& controller(size_t sender) const {
    return *senders_[sender]->control;
  }
  double queue_bytes() const {
    return std::max(0.0, ToSeconds(busy_until_ - now_)) * config_.bits_per_s / 8;
  }

 private:
  enum class Kind { kSend, kAck, kLost };
  struct Event {
    TimeNs at;
    Kind kind;
    size_t sender;
    uint64_t packet;
    bool operator<(const Event& other) const { return at > other.at; }
  };
  struct Packet {
    TimeNs sent, delivered_at, first_sent;
    uint64_t delivered;
    bool app_limited, marked;
  };
  struct Sender {
    transport::ControllerPtr control;
    TimeNs rtt{};
    TimeNs next_send{};
    bool send_pending = true;
    uint64_t inflight = 0, delivered = 0, lost = 0, next_packet = 0;
    TimeNs delivered_at{}, first_sent{}, smoothed{}, min_rtt = kNever;
    std::deque<Packet> packets;  // from number `first`
    uint64_t first = 0;
  };

  void send(size_t index) {
    Sender& s = *senders_[index];
    s.send_pending = false;
    if (s.inflight > 0 && s.inflight + config_.packet_bytes > s.control->window_bytes()) return;
    if (s.inflight == 0) s.first_sent = s.delivered_at = now_;
    s.inflight += config_.packet_bytes;
    Packet packet{now_, s.delivered_at, s.first_sent, s.delivered, false, false};
    const uint64_t number = s.next_packet++;
    const double waiting = queue_bytes();
    const bool dropped = waiting + config_.packet_bytes > config_.queue_bytes;
    const bool bad = ToUnit(Draw({index + 99}, RandomPurpose::kTest, number).lo) < config_.loss;
    packet.marked = waiting > config_.mark_bytes;
    if (!dropped) {
      busy_until_ = std::max(busy_until_, now_) + serialisation();
    }
    s.packets.push_back(packet);
    s.control->on_sent({now_, config_.packet_bytes, s.inflight, false});
    const TimeNs at = (dropped ? std::max(busy_until_, now_) : busy_until_) + s.rtt;
    events_.push({at, dropped || bad ? Kind::kLost : Kind::kAck, index, number});
    const Rate rate = s.control->pacing_rate();
    s.next_send = now_;
    if (rate.bits_per_s > 0) {
      s.next_send += TimeNs{
          static_cast<int64_t>(config_.packet_bytes * 8e9 / static_cast<double>(rate.bits_per_s))};
    }
    schedule(index);
  }

  void schedule(size_t index) {
    Sender& s = *senders_[index];
    if (s.send_pending) return;
    s.send_pending = true;
    events_.push({std::max(s.next_send, now_), Kind::kSend, index, 0});
  }

  void acknowledge(size_t index, uint64_t number) {
    Sender& s = *senders_[index];
    const Packet packet = s.packets[number - s.first];
    s.inflight -= config_.packet_bytes;
    s.delivered += config_.packet_bytes;
    s.delivered_at = now_;
    s.first_sent = packet.sent;
    const TimeNs rtt = now_ - packet.sent;
    s.min_rtt = std::min(s.min_rtt, rtt);
    s.smoothed = s.smoothed.ns == 0 ? rtt : TimeNs{(7 * s.smoothed.ns + rtt.ns) / 8};
    transport::AckInfo ack;
    ack.now = now_;
    ack.bytes = config_.packet_bytes;
    ack.packets = 1;
    ack.ecn_marked = packet.marked;
    ack.inflight = s.inflight;
    ack.delivered = s.delivered;
    ack.rtt = rtt;
    ack.smoothed_rtt = s.smoothed;
    ack.min_rtt = s.min_rtt;
    ack.rate.delivered = s.delivered - packet.delivered;
    ack.rate.prior_delivered = packet.delivered;
    ack.rate.interval = std::max(now_ - packet.delivered_at, packet.sent - packet.first_sent);
    if (ack.rate.interval.ns > 0) {
      ack.rate.bits_per_s = static_cast<uint64_t>(static_cast<double>(ack.rate.delivered) * 8 /
                                                  ToSeconds(ack.rate.interval));
    }
    forget_before(s);
    s.control->on_ack(ack);
    schedule(index);
  }

  void lose(size_t index, uint64_t number) {
    Sender& s = *senders_[index];
    const Packet packet = s.packets[number - s.first];
    s.inflight -= config_.packet_bytes;
    s.lost += config_.packet_bytes;
    s.control->on_loss({now_, config_.packet_bytes, packet.sent, s.inflight, s.delivered, false});
    schedule(index);
  }

  // Packets older than anything that can still be told about.
  void forget_before(Sender& s) {
    while (s.packets.size() > 1 &&
           s.packets.front().sent + TimeNs{10 * s.rtt.ns + 5'000'000'000} < now_) {
      s.packets.pop_front();
      ++s.first;
    }
  }

  TimeNs serialisation() {
    // Remainders are carried so that the rate is exact.
    owed_ += config_.packet_bytes * 8e9 / config_.bits_per_s;
    const auto whole = static_cast<int64_t>(owed_);
    owed_ -= static_cast<double>(whole);
    return {whole};
  }

  DumbbellConfig config_;
  std::vector<std::unique_ptr<Sender>> senders_;
  std::priority_queue<Event> events_;
  TimeNs now_{}, busy_until_{};
  double owed_ = 0;
};

}  // namespace farspan::test
