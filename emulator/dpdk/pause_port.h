// PausePort: the pause frames of one site's port, both ways.
//
// Out: what the links that begin at the site ask of its host (PauseBoard), as PFC frames ahead of
// all data, refreshed in time. In: MAC control frames of the host, taken out of what crosses. Both
// are counted apart from forwarded packets. Made only where PFC or a pause policy is configured.
// Threads: the lcore of the port; a PauseBoard is written on the lcore where its direction ends.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "emulator/dpdk/clock.h"
#include "emulator/dpdk/pipe.h"
#include "emulator/dpdk/port.h"
#include "emulator/dpdk/run_record.h"
#include "emulator/link/pfc.h"
#include "emulator/roce/pause_frame.h"

namespace farspan::dpdk {

// What the classes of one direction ask of its sender.
class PauseBoard final : public link::PauseSink {
 public:
  void on_pause(const link::PauseEvent& event) override {
    const auto bit = static_cast<uint8_t>(1u << event.priority);
    since_[event.priority].store(event.at.ns, std::memory_order_relaxed);
    if (event.pause) {
      asked_.fetch_or(bit, std::memory_order_release);
    } else {
      asked_.fetch_and(static_cast<uint8_t>(~bit), std::memory_order_release);
    }
  }
  uint8_t asked() const { return asked_.load(std::memory_order_acquire); }
  TimeNs since(unsigned priority) const {
    return {since_[priority].load(std::memory_order_relaxed)};
  }

 private:
  std::atomic<uint8_t> asked_{0};  // bit p: priority p shall pause
  std::array<std::atomic<int64_t>, link::kPfcPriorities> since_{};
};

struct PauseSetup {
  config::PausePolicy policy = config::PausePolicy::kPass;
  std::array<uint16_t, link::kPfcPriorities> quanta{};  // 0: that priority is never paused
  Rate line_rate{};                                     // of the site's host; 0: no PFC
  rte_mempool* pool = nullptr;
  Rate egress_rate{};  // where the policy is to consume
};

class PausePort {
 public:
  PausePort(const PauseSetup& setup, Port* port, PortObservations* seen);
  ~PausePort();
  PausePort(const PausePort&) = delete;
  PausePort& operator=(const PausePort&) = delete;

  void listen_to(const PauseBoard* board) { boards_.push_back(board); }

  // Sends the frame that is due, if one is.
  void send(ClockReader& clock);
  TimeNs next_deadline() const { return pacer_.next_deadline(); }

  // Frees the MAC control frames among `arrivals` and closes the gaps; returns how many are left.
  // `heed(at, frame)` is called for what the egress must obey.
  template <typename Heed>
  size_t take(std::span<Arrival> arrivals, Heed&& heed) {
    if (setup_.policy == config::PausePolicy::kPass) return arrivals.size();
    size_t kept = 0;
    for (const Arrival& arrival : arrivals) {
      const std::span<const uint8_t> bytes(rte_pktmbuf_mtod(arrival.packet, const uint8_t*),
                                           arrival.packet->data_len);
      if (!roce::IsMacControl(bytes)) {
        arrivals[kept++] = arrival;
        continue;
      }
      const auto frame = roce::ParsePause(bytes);
      rte_pktmbuf_free(arrival.packet);
      seen_->pause_received.fetch_add(1, std::memory_order_relaxed);
      if (!frame || setup_.policy != config::PausePolicy::kConsume) continue;
      heed(arrival.at, *frame);
      note_heeded(arrival.at, *frame);
    }
    return kept;
  }

 private:
  void look_at_boards(TimeNs now);
  void note_heeded(TimeNs at, const link::PfcFrame& frame);
  void publish(TimeNs now);
  rte_mbuf* make_frame(TimeNs now);

  const PauseSetup setup_;
  Port* port_;
  PortObservations* seen_;
  const roce::MacAddress address_;
  std::vector<const PauseBoard*> boards_;
  link::PfcPacer pacer_;
  std::array<link::PauseTimer, link::kPfcPriorities> asked_;
  std::array<link::PauseTimer, link::kPfcPriorities> heeded_;
  rte_mbuf* unsent_ = nullptr;  // the port had no room
  TimeNs unsent_due_{};
};

}  // namespace farspan::dpdk
