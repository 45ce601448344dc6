#include "emulator/dpdk/lcore_loop.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace farspan::dpdk {
namespace {
constexpr TimeNs kPublishEvery{200'000};
}

LcoreLoop::LcoreLoop(const LcoreSetup& setup)
    : setup_(setup), clock_(setup.clock->reader()), idle_(setup.spin) {}

void LcoreLoop::add_port(SitePort* port, std::vector<Pipe*> routes, std::vector<SitePort*> ends) {
  const size_t sites = routes.size();
  ingresses_.push_back({.port = port,
                        .routes = std::move(routes),
                        .ends = std::move(ends),
                        .batches = std::vector<std::array<Arrival, kBurst>>(sites),
                        .batch_counts = std::vector<size_t>(sites, 0)});
}

void LcoreLoop::listen() {
  bool announced = setup_.alone;
  for (const Ingress& ingress : ingresses_) {
    const int doorbell = ingress.port->port().doorbell();
    if (doorbell >= 0) idle_.listen(doorbell);
    announced = announced && doorbell >= 0;
  }
  idle_.all_announced(announced);
}

void LcoreLoop::run() {
  listen();
  idle_.start();
  const double tick_hz = setup_.clock->quality().tick_hz;
  before_ = MeasureSpinGaps(setup_.gap_measurement, tick_hz);
  measured_.store(true, std::memory_order_release);
  wait_for(Phase::kRun);

  const TimeNs start = clock_.now();
  last_round_ = start;
  for (Ingress& ingress : ingresses_) ingress.port->forget_last_poll(start);
  poll_until(Phase::kDrain);

  idle_.stop_listening();
  const TimeNs give_up = clock_.now() + setup_.drain_at_most;
  for (;;) {
    uint64_t held = 0;
    for (const Ingress& ingress : ingresses_) held += ingress.port->held();
    publish();
    if (held == 0 || clock_.now() >= give_up) break;
    size_t moved = take_over();
    TimeNs deadline = kNever;
    for (Ingress& ingress : ingresses_) {
      moved += ingress.port->depart(clock_);
      deadline = std::min(deadline, ingress.port->next_deadline());
    }
    if (moved == 0) idle_.wait(clock_.now(), deadline, clock_);
  }
  drained_.store(true, std::memory_order_release);

  wait_for(Phase::kMeasureAfter);
  do {
    obey();  // nobody waits for an lcore that has ended
  } while (command_ != nullptr);
  after_ = MeasureSpinGaps(setup_.gap_measurement, tick_hz);
  done_.store(true, std::memory_order_release);
}

void LcoreLoop::wait_for(Phase phase) const {
  while (setup_.phase->load(std::memory_order_acquire) < phase) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

void LcoreLoop::poll_until(Phase next) {
  while (setup_.phase->load(std::memory_order_acquire) < next) {
    const TimeNs now = clock_.now();
    loop_times_.add(now - last_round_);
    last_round_ = now;
    size_t moved = 0;
    for (Ingress& ingress : ingresses_) moved += receive(ingress);
    moved += take_over();
    for (Ingress& ingress : ingresses_) moved += ingress.port->depart(clock_);
    obey();
    for (Pipe* pipe : pipes_) moved += pipe->serve() ? 1 : 0;
    if (now - last_publication_ >= kPublishEvery) publish();
    if (moved != 0) {
      idle_.worked(now);
      continue;
    }
    if (setup_.spin) continue;
    TimeNs deadline = kNever;
    for (Ingress& ingress : ingresses_) {
      deadline = std::min(deadline, ingress.port->next_deadline());
    }
    idle_.wait(clock_.now(), deadline, clock_);
  }
}

size_t LcoreLoop::receive(Ingress& ingress) {
  const size_t count = ingress.port->arrive(clock_, arrivals_);
  if (count == 0) return 0;
  if (setup_.forwarder->wire()) {
    deliver(ingress, 1 - ingress.port->site(), {arrivals_.data(), count});
  } else {
    forward(ingress, {arrivals_.data(), count});
  }
  return count;
}

void LcoreLoop::forward(Ingress& ingress, std::span<const Arrival> arrivals) {
  const int from = static_cast<int>(ingress.port->site());
  for (const Arrival& arrival : arrivals) {
    const std::span<const uint8_t> bytes(rte_pktmbuf_mtod(arrival.packet, const uint8_t*),
                                         arrival.packet->data_len);
    const int to = setup_.forwarder->route(bytes, arrival.packet->pkt_len, from);
    if (to == Forwarder::kAll) {
      forward_to_all(ingress, arrival);
    } else if (to < 0 || ingress.routes[static_cast<size_t>(to)] == nullptr) {
      rte_pktmbuf_free(arrival.packet);
      ingress.port->observations().unroutable.fetch_add(1, std::memory_order_relaxed);
    } else {
      put_in_batch(ingress, static_cast<size_t>(to), arrival);
    }
  }
  for (size_t site = 0; site < ingress.routes.size(); ++site) {
    deliver(ingress, site, {ingress.batches[site].data(), ingress.batch_counts[site]});
    ingress.batch_counts[site] = 0;
  }
}

void LcoreLoop::forward_to_all(Ingress& ingress, const Arrival& arrival) {
  rte_mbuf* original = arrival.packet;
  ingress.port->observations().broadcasts.fetch_add(1, std::memory_order_relaxed);
  for (size_t site = ingress.routes.size(); site-- > 0;) {
    if (ingress.routes[site] == nullptr) continue;
    rte_mbuf* copy = rte_pktmbuf_copy(original, original->pool, 0, UINT32_MAX);
    if (copy == nullptr) {
      ingress.port->observations().no_buffer.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    put_in_batch(ingress, site, {copy, arrival.at});
    ingress.port->observations().copies.fetch_add(1, std::memory_order_relaxed);
  }
  rte_pktmbuf_free(original);
}

void LcoreLoop::put_in_batch(Ingress& ingress, size_t site, const Arrival& arrival) {
  ingress.batches[site][ingress.batch_counts[site]++] = arrival;
}

void LcoreLoop::deliver(Ingress& ingress, size_t site, std::span<const Arrival> arrivals) {
  if (arrivals.empty()) return;
  Pipe& pipe = *ingress.routes[site];
  if (owns(&pipe)) {
    accept(pipe, *ingress.ends[site], arrivals);
    return;
  }
  for (const Arrival& arrival : arrivals) {
    if (pipe.hand_over(arrival)) continue;
    rte_pktmbuf_free(arrival.packet);
    ingress.port->observations().handover_full.fetch_add(1, std::memory_order_relaxed);
  }
}

void LcoreLoop::accept(Pipe& pipe, SitePort& end, std::span<const Arrival> arrivals) {
  std::array<rte_mbuf*, kBurst> bypass;
  const size_t bypassing = pipe.accept(arrivals, bypass);
  for (size_t i = 0; i < bypassing; ++i) end.bypass(bypass[i], clock_.now());
}

size_t LcoreLoop::take_over() {
  size_t taken = 0;
  for (Pipe* pipe : pipes_) {
    const size_t count = pipe->take_over(arrivals_);
    if (count == 0) continue;
    taken += count;
    SitePort* end = nullptr;
    for (Ingress& ingress : ingresses_) {
      if (ingress.port->site() == pipe->setup().to) end = ingress.port;
    }
    accept(*pipe, *end, {arrivals_.data(), count});
  }
  return taken;
}

void LcoreLoop::obey() {
  while (command_ != nullptr || commands_.pop(command_)) {
    const TimeNs now = clock_.now();
    if (!command_->pipe->may_change(now)) return;
    command_->pipe->apply(now, command_->change);
    command_->pipe->publish();
    command_->applied_ns.store(now.ns, std::memory_order_release);
    command_ = nullptr;
  }
}

void LcoreLoop::publish() {
  for (Pipe* pipe : pipes_) pipe->publish();
  last_publication_ = last_round_;
}

bool LcoreLoop::owns(const Pipe* pipe) const {
  return std::find(pipes_.begin(), pipes_.end(), pipe) != pipes_.end();
}

}  // namespace farspan::dpdk
