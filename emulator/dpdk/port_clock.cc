// A port's own clock: stamps of what arrived, times to send at.

// rte_eth_read_clock, the only way to a NIC's clock.
#define ALLOW_EXPERIMENTAL_API

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_mbuf_dyn.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "emulator/dpdk/port.h"

namespace farspan::dpdk {
namespace {

constexpr int kClockTries = 100;
constexpr std::chrono::milliseconds kClockTrial{10};
// What is handed over ahead waits there: 50 us of frames of 600 B at 100 Gb/s.
constexpr uint16_t kScheduledDescriptors = 1024;

tl::unexpected<Error> NoRoom(const std::string& port, const std::string& what) {
  return Fail(ErrorCode::kMachine,
              fmt::format("no room in the mbuf for {}: {}", what, rte_strerror(rte_errno)),
              "port " + port);
}

}  // namespace

// Drivers look for the field as the device starts. Pause frames need a queue without packets that
// wait for their time.
Result<void> Port::register_schedule(const rte_eth_dev_info& info) {
  const bool pauses_in_between = options_.pauses && control_queue_ == 0;
  if (options_.clock == nullptr || !options_.schedule || pauses_in_between ||
      (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_SEND_ON_TIMESTAMP) == 0) {
    return {};
  }
  if (rte_mbuf_dyn_tx_timestamp_register(&stamp_offset_, &schedule_flag_) != 0) {
    return NoRoom(name_, "the times to send at");
  }
  options_.tx_descriptors = kScheduledDescriptors;
  return {};
}

// The device's clock is disciplined against the engine's, as the engine's is against the kernel's.
Result<void> Port::start_stamps() {
  rte_eth_dev_info info{};
  uint64_t ticks = 0;
  if (options_.clock == nullptr || rte_eth_dev_info_get(id_, &info) != 0 ||
      (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TIMESTAMP) == 0 ||
      rte_eth_read_clock(id_, &ticks) != 0) {
    return {};
  }
  if (rte_mbuf_dyn_rx_timestamp_register(&stamp_offset_, &stamp_flag_) != 0) {
    return NoRoom(name_, "receive timestamps");
  }
  const auto sample = [id = id_, clock = options_.clock] {
    ClockSample best{.ticks = 0, .ns = 0, .uncertainty_ns = 1e18};
    for (int i = 0; i < kClockTries; ++i) {
      uint64_t now = 0;
      const TimeNs before = clock->now();
      rte_eth_read_clock(id, &now);
      const TimeNs after = clock->now();
      const double half = static_cast<double>((after - before).ns) / 2 + 1;
      if (half < best.uncertainty_ns) {
        best = {.ticks = now, .ns = before.ns + (after - before).ns / 2, .uncertainty_ns = half};
      }
    }
    return best;
  };
  const ClockSample first = sample();
  std::this_thread::sleep_for(kClockTrial);
  if (const auto runs = CheckDeviceClock(first, sample()); !runs) {
    spdlog::warn("port {}: {}; its timestamps are not used", name_, runs.error().message);
    return {};
  }
  DisciplinedClock::Options options;
  options.thread_name = "farspan-stamps";
  device_clock_ = std::make_unique<DisciplinedClock>(sample, options);
  device_origin_ns_ = device_clock_->origin_ns();
  stamp_reader_.emplace(device_clock_->map());
  if (schedule_flag_ != 0) schedule_reader_.emplace(device_clock_->map());
  return {};
}

std::optional<TimeNs> Port::stamp(const rte_mbuf& packet, TimeNs ring_empty, TimeNs read) {
  if ((packet.ol_flags & stamp_flag_) == 0) return std::nullopt;
  const auto ticks = *RTE_MBUF_DYNFIELD(&packet, stamp_offset_, const rte_mbuf_timestamp_t*);
  const TimeNs stamp = stamp_reader_->at(ticks) + TimeNs{device_origin_ns_};
  if (!stamp_check_.judge(stamp, ring_empty, read, stamp_error())) return std::nullopt;
  return std::min(stamp, read);
}

void Port::schedule(rte_mbuf& packet, TimeNs due) {
  last_scheduled_ = std::max(last_scheduled_, due);
  *RTE_MBUF_DYNFIELD(&packet, stamp_offset_, rte_mbuf_timestamp_t*) =
      schedule_reader_->ticks_at(last_scheduled_ - TimeNs{device_origin_ns_});
  packet.ol_flags |= schedule_flag_;
}

// The mapping's, and the ticks that a time is rounded up to.
TimeNs Port::schedule_error() const {
  const ClockQuality quality = device_clock_->quality();
  return StampError(quality) + TimeNs{static_cast<int64_t>(2e9 / quality.tick_hz) + 1};
}

// Of mlx5, the only driver that counts them: packets then leave at once, and early.
uint64_t Port::pace_errors() const {
  if (!can_schedule()) return 0;
  uint64_t sum = 0;
  for (const char* name : {"tx_pp_timestamp_future_errors", "tx_pp_clock_queue_errors",
                           "tx_pp_rearm_queue_errors", "tx_pp_sync_lost"}) {
    uint64_t id = 0;
    uint64_t value = 0;
    if (rte_eth_xstats_get_id_by_name(id_, name, &id) != 0 ||
        rte_eth_xstats_get_by_id(id_, &id, &value, 1) != 1) {
      continue;
    }
    sum += value;
  }
  return sum;
}

}  // namespace farspan::dpdk
