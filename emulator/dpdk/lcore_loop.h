// LcoreLoop: what one polling lcore does: receive, send what is due, obey commands, publish.
//
// It owns the SitePorts given to it and the pipes that end there. Control threads speak to it by
// commands through a single-producer ring (one of them at a time), acknowledged with the time they
// took effect; they read histograms and published counters.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "emulator/base/ring.h"
#include "emulator/dpdk/forwarder.h"
#include "emulator/dpdk/idle.h"
#include "emulator/dpdk/site_port.h"

namespace farspan::dpdk {

enum class Phase : int {
  kMeasureBefore,  // the machine's spin-loop gaps, then wait
  kRun,
  kDrain,  // receive no more, send what is held
  kMeasureAfter,
  kEnd,
};

// Changes to one pipe, in order, at one instant. Owned by the control thread, which may free it
// once `applied_ns` is not negative.
struct LcoreCommand {
  Pipe* pipe = nullptr;
  PipeChange change;
  std::atomic<int64_t> applied_ns{-1};
};

struct LcoreSetup {
  unsigned cpu = 0;
  bool spin = false;
  bool alone = true;  // no other lcore hands it packets
  const EngineClock* clock = nullptr;
  Forwarder* forwarder = nullptr;
  const std::atomic<Phase>* phase = nullptr;
  TimeNs drain_at_most{};
  TimeNs gap_measurement{200'000'000};
};

class LcoreLoop {
 public:
  explicit LcoreLoop(const LcoreSetup& setup);

  // Before run(). `routes[site]` is the pipe from the port's site to that one, nullptr to itself.
  void add_port(SitePort* port, std::vector<Pipe*> routes, std::vector<SitePort*> ends);
  void add_pipe(Pipe* pipe) { pipes_.push_back(pipe); }

  void run();  // on the lcore, until Phase::kEnd

  bool send(LcoreCommand* command) { return commands_.push(command); }
  bool drained() const { return drained_.load(std::memory_order_acquire); }
  bool done() const { return done_.load(std::memory_order_acquire); }
  bool measured() const { return measured_.load(std::memory_order_acquire); }

  const LatencyHistogram& loop_times() const { return loop_times_; }
  bool spins() const { return setup_.spin; }
  unsigned cpu() const { return setup_.cpu; }
  const std::optional<SpinGaps>& gaps_before() const { return before_; }  // after measured()
  const std::optional<SpinGaps>& gaps_after() const { return after_; }    // after done()

 private:
  struct Ingress {
    SitePort* port = nullptr;
    std::vector<Pipe*> routes;
    std::vector<SitePort*> ends;                       // [site]
    std::vector<std::array<Arrival, kBurst>> batches;  // by destination site, mesh only
    std::vector<size_t> batch_counts;
  };

  void listen();
  void wait_for(Phase phase) const;
  void poll_until(Phase next);
  size_t receive(Ingress& ingress);
  void forward(Ingress& ingress, std::span<const Arrival> arrivals);
  void forward_to_all(Ingress& ingress, const Arrival& arrival);
  void put_in_batch(Ingress& ingress, size_t site, const Arrival& arrival);
  void deliver(Ingress& ingress, size_t site, std::span<const Arrival> arrivals);
  void accept(Pipe& pipe, SitePort& end, std::span<const Arrival> arrivals);
  size_t take_over();
  void obey();
  void publish();
  bool owns(const Pipe* pipe) const;

  const LcoreSetup setup_;
  ClockReader clock_;
  Idle idle_;
  std::vector<Ingress> ingresses_;
  std::vector<Pipe*> pipes_;              // that end here
  std::array<Arrival, kBurst> arrivals_;  // scratch of receive() and take_over()
  SpscRing<LcoreCommand*> commands_{64};
  LcoreCommand* command_ = nullptr;  // taken, waits for Pipe::may_change
  LatencyHistogram loop_times_;
  std::optional<SpinGaps> before_;
  std::optional<SpinGaps> after_;
  TimeNs last_round_{};
  TimeNs last_publication_{};
  std::atomic<bool> measured_{false};
  std::atomic<bool> drained_{false};
  std::atomic<bool> done_{false};
};

}  // namespace farspan::dpdk
