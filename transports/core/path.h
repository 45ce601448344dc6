// Path: one way to a peer; what all connections over it share.
//
// Round trips (RFC 6298), pacing, bytes in flight, delivery rate (draft-ietf-ccwg-bbr), the loss
// estimate, and the congestion controller that all of this feeds.
// Units: bytes on the wire, TimeNs. Threading: one thread. Nothing allocates after construction.
#pragma once

#include <algorithm>
#include <cstdint>

#include "emulator/base/time.h"
#include "transports/core/congestion.h"
#include "transports/core/endpoint.h"
#include "transports/core/loss_estimate.h"
#include "transports/core/recovery.h"

namespace farspan::transport {

// What a packet remembers of its path when it leaves, for the delivery rate.
struct DeliveryStamp {
  uint64_t delivered = 0;
  TimeNs delivered_at{};
  TimeNs first_sent{};
};

class Path {
 public:
  // `granularity`: see SpanConfig.
  Path(const Route& route, ControllerPtr controller, TimeNs rtt, TimeNs granularity = {});

  const Route& route() const { return route_; }
  Controller& controller() { return *controller_; }
  LossEstimate& losses() { return losses_; }
  PathView view() const { return {smoothed_, variation_, min_rtt_, reordering_}; }
  TimeNs smoothed_rtt() const { return smoothed_; }
  TimeNs min_rtt() const { return min_rtt_; }
  // How long after its departure a packet whose acknowledgement may wait `ack_delay` is given up.
  TimeNs timeout(TimeNs ack_delay) const;
  uint64_t inflight() const { return inflight_; }
  Rate pacing_rate() const { return controller_->pacing_rate(); }

  TimeNs next_departure(TimeNs now) const { return std::max(now, next_departure_); }
  bool has_room(uint32_t bytes) const {
    return inflight_ == 0 || inflight_ + bytes <= controller_->window_bytes();
  }
  DeliveryStamp on_sent(TimeNs departure, uint32_t bytes, bool app_limited);
  void on_rtt(TimeNs now, TimeNs sample);
  // A packet reported missing was only late, by so much.
  void on_late(TimeNs by) { reordering_ = std::max(reordering_, by + TimeNs{by.ns / 4}); }
  // `newest` is the stamp of the newest packet acknowledged, which left at `sent`.
  void on_acked(TimeNs now, uint64_t bytes, uint32_t packets, uint32_t marked, TimeNs rtt,
                const DeliveryStamp& newest, TimeNs sent);
  void on_lost(TimeNs now, uint64_t number, uint32_t bytes, TimeNs sent, bool repaired);
  // A packet that on_lost() was told of, and that left at `sent`, has come after all.
  void on_spurious(TimeNs now, TimeNs sent);
  void forget(uint32_t bytes) { inflight_ -= bytes; }  // of a connection that ends

 private:
  const Route route_;
  const ControllerPtr controller_;
  const TimeNs granularity_;
  LossEstimate losses_;
  TimeNs smoothed_{};
  TimeNs variation_{};
  TimeNs min_rtt_{};
  TimeNs min_rtt_at_{};
  TimeNs reordering_{};
  TimeNs reordering_checked_{};
  TimeNs next_departure_{};
  uint64_t spacing_rest_ = 0;  // of next_departure_, in 1 / rate ns
  uint64_t inflight_ = 0;
  uint64_t delivered_ = 0;
  TimeNs delivered_at_{};
  TimeNs first_sent_{};
  uint64_t app_limited_until_ = 0;  // samples are app-limited until this much was delivered

  // Losses that Controller::on_spurious() would be about: of packets that left in [since, until).
  struct Episode {
    TimeNs since{};
    TimeNs until{};
    uint64_t delivered = ~uint64_t{0};  // when it began
    uint64_t losses = 0;                // told, and not taken back
  };
  Episode episode_;
};

}  // namespace farspan::transport
