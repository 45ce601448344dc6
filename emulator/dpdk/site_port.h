// SitePort: a site's port with all that ends there: the pipes into the site, the site's own egress
// limit if it has one, and what waits for the port to take it.
//
// Packets of several pipes are merged by due time before the egress or the port sees them.
// Where the port sends by its own clock, packets are handed over up to a lead before they are due,
// with their times, so that the loop's gaps make none of them late. The lead is cut to what all
// pipes call decided.
// Threads: the lcore that owns the port; observations() for any.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <memory>
#include <vector>

#include "emulator/dpdk/clock.h"
#include "emulator/dpdk/pause_port.h"
#include "emulator/dpdk/pipe.h"
#include "emulator/dpdk/port.h"
#include "emulator/dpdk/run_record.h"
#include "emulator/link/site_egress.h"

namespace farspan::dpdk {

class SitePort {
 public:
  SitePort(size_t site, std::unique_ptr<Port> port);

  size_t site() const { return site_; }
  Port& port() { return *port_; }
  const Port& port() const { return *port_; }
  PortObservations& observations() { return seen_; }
  const PortObservations& observations() const { return seen_; }
  LeftAt left_at() const {
    if (seen_.scheduled.load(std::memory_order_relaxed) != 0) return LeftAt::kScheduled;
    return port_->hardware() ? LeftAt::kReleased : LeftAt::kHanded;
  }
  // Before the run; of a port that can_schedule(). Not for one that is told of pauses or bypassing
  // packets as they come.
  void set_lead(TimeNs lead) { lead_ = lead; }
  TimeNs lead() const { return lead_; }

  void add_incoming(Pipe* pipe) { sources_.push_back({.pipe = pipe}); }
  void set_egress(std::unique_ptr<link::SiteEgress> egress) { egress_ = std::move(egress); }
  void capture_with(CaptureProducer* producer) { capture_ = producer; }
  void set_pauses(std::unique_ptr<PausePort> pauses) { pauses_ = std::move(pauses); }

  // Receives a burst, stamps it, notes how well its arrival is known. Returns its length.
  size_t arrive(ClockReader& clock, std::span<Arrival, kBurst> out);
  // Sends what is due. Returns how many packets it moved.
  size_t depart(ClockReader& clock);
  // Sends a packet round the model, at once.
  void bypass(rte_mbuf* packet, TimeNs now);

  // When depart() will next have something to do.
  TimeNs next_deadline() const;
  uint64_t held() const;
  // Time passed without polling on purpose (before the run, between phases).
  void forget_last_poll(TimeNs now) { last_poll_ = ring_empty_ = now; }

 private:
  static constexpr size_t kPending = 256;
  static constexpr int kBurstsPerDeparture = 4;
  static constexpr TimeNs kGiveUp{1'000'000'000};

  struct Source {
    Pipe* pipe = nullptr;
    size_t next = 0;
    size_t count = 0;
    bool exhausted = false;  // for the current instant
    std::array<link::PacketRef, kBurst> refs{};
  };

  TimeNs horizon(TimeNs now);
  size_t gather(TimeNs now, TimeNs until, std::span<link::PacketRef> out);
  size_t merge(TimeNs now, TimeNs until, std::span<link::PacketRef> out);
  void through_egress(TimeNs now, TimeNs until);
  size_t take_pauses(std::span<Arrival> arrivals);
  void open(const link::PacketRef& ref, TimeNs now);
  CaptureRecord capture_record(const link::PacketRef& ref, const Pipe& pipe, TimeNs now) const;
  void flush(ClockReader& clock);
  void note_left(size_t count, TimeNs left);

  const size_t site_;
  std::unique_ptr<Port> port_;
  TimeNs lead_{};  // 0: packets are handed over when they are due
  PortObservations seen_;
  std::vector<Source> sources_;
  std::unique_ptr<link::SiteEgress> egress_;
  CaptureProducer* capture_ = nullptr;
  std::unique_ptr<PausePort> pauses_;
  TimeNs last_poll_{};
  TimeNs ring_empty_{};  // the port's ring, when it was last seen so
  TimeNs last_stamp_{};  // arrivals are in order

  std::array<link::PacketRef, kBurst> leaving_;  // scratch of depart()
  std::array<rte_mbuf*, kPending> pending_{};
  std::array<TimeNs, kPending> pending_due_{};
  size_t pending_count_ = 0;
  TimeNs last_departure_{};  // of what was handed over ahead
};

}  // namespace farspan::dpdk
