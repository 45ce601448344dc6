#include "emulator/dpdk/pause_port.h"

#include <algorithm>
#include <cstring>

namespace farspan::dpdk {

PausePort::PausePort(const PauseSetup& setup, Port* port, PortObservations* seen)
    : setup_(setup),
      port_(port),
      seen_(seen),
      address_(port->mac_address()),
      pacer_(setup.quanta, setup.line_rate.bits_per_s != 0 ? setup.line_rate : Rate{1}) {}

PausePort::~PausePort() { rte_pktmbuf_free(unsent_); }

void PausePort::look_at_boards(TimeNs now) {
  for (unsigned p = 0; p < link::kPfcPriorities; ++p) {
    bool pause = false;
    TimeNs since{};
    for (const PauseBoard* board : boards_) {
      const bool asks = (board->asked() >> p & 1) != 0;
      since = asks == pause ? std::max(since, board->since(p)) : asks ? board->since(p) : since;
      pause = pause || asks;
    }
    if (pacer_.wants(p) == pause) continue;
    since = std::min(since, now);
    pacer_.want(since, p, pause);
    asked_[p].set(since, pause ? kNever : since);
  }
}

void PausePort::send(ClockReader& clock) {
  const TimeNs now = clock.now();
  look_at_boards(now);
  publish(now);
  if (unsent_ == nullptr && pacer_.next_deadline() <= now) unsent_ = make_frame(now);
  if (unsent_ == nullptr || !port_->tx_control(unsent_)) return;
  unsent_ = nullptr;
  const TimeNs late = clock.now() - unsent_due_;
  if (late.ns > seen_->pause_late_max_ns.load(std::memory_order_relaxed)) {
    seen_->pause_late_max_ns.store(late.ns, std::memory_order_relaxed);
  }
  seen_->pause_sent.fetch_add(1, std::memory_order_relaxed);
}

rte_mbuf* PausePort::make_frame(TimeNs now) {
  rte_mbuf* packet = rte_pktmbuf_alloc(setup_.pool);
  if (packet == nullptr) return nullptr;  // tried again at the next poll
  unsent_due_ = pacer_.next_deadline();
  const auto bytes = roce::EncodePfc(pacer_.take(now), address_);
  std::memcpy(rte_pktmbuf_append(packet, static_cast<uint16_t>(bytes.size())), bytes.data(),
              bytes.size());
  return packet;
}

void PausePort::note_heeded(TimeNs at, const link::PfcFrame& frame) {
  for (unsigned p = 0; p < link::kPfcPriorities; ++p) {
    if ((frame.enabled >> p & 1) == 0) continue;
    heeded_[p].set(at, at + link::QuantaTime(frame.quanta[p], setup_.egress_rate));
  }
}

void PausePort::publish(TimeNs now) {
  for (unsigned p = 0; p < link::kPfcPriorities; ++p) {
    seen_->pause_asked_ns[p].store(asked_[p].total(now).ns, std::memory_order_relaxed);
    seen_->pause_heeded_ns[p].store(heeded_[p].total(now).ns, std::memory_order_relaxed);
  }
}

}  // namespace farspan::dpdk
