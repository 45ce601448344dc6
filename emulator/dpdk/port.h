// A port of the engine: a DPDK device with one receive and one transmit queue, and its books.
//
// Kinds as in config::PortSpec. For kernel interfaces the books are kept twice: af_packet loses
// silently (512 of 3,000 unpolled frames arrived with every DPDK counter at 0; an oversize frame is
// freed and called sent), so the interface's own counters are compared with what DPDK says, and
// oversize frames are taken out and counted before the driver sees them.
//
// Threads: rx() belongs to one thread, tx() to one (maybe another); start_counting() before they
// begin; reading() and link_up() from any control thread at any time.
// Ownership: a Port owns its DPDK device and the preparation of its kernel interface; the pool must
// outlive it. The Eal must outlive both.
// Not modelled: several queues. Untried on hardware: timestamps, on arrival and to send at.
#pragma once

#include <rte_config.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "emulator/base/result.h"
#include "emulator/config/schema.h"
#include "emulator/dpdk/clock.h"
#include "emulator/dpdk/kernel_interface.h"
#include "emulator/dpdk/stamp_check.h"

namespace farspan::dpdk {

struct PortOptions {
  rte_mempool* pool = nullptr;
  uint32_t mtu = 1500;             // the largest IP packet that must pass
  uint64_t packets_per_s = 0;      // planned; sizes kernel rings
  uint16_t rx_descriptors = 1024;  // hardware only
  uint16_t tx_descriptors = 256;   // short: what waits there has left the engine but not the port
  bool pauses = false;             // pause frames are sent, or looked for among what arrives
  const EngineClock* clock = nullptr;  // set: use the port's receive timestamps if it has any
  bool schedule = false;               // send by the port's clock, if it does that
};

// Everything since start_counting().
struct PortReading {
  uint64_t rx_packets = 0;  // delivered to rx()
  uint64_t rx_bytes = 0;
  uint64_t tx_packets = 0;  // that the driver says it sent
  uint64_t tx_bytes = 0;
  uint64_t rx_errors = 0;
  uint64_t tx_errors = 0;
  uint64_t pace_errors = 0;    // by its own account, the port did not keep the times it was given
  uint64_t own_no_buffer = 0;  // arrived, and no mbuf was free
  uint64_t own_oversize = 0;   // given to tx(), longer than the port can send

  // Arrived at the port, never delivered. Of a kernel interface: between the two bounds, which are
  // equal when the interface was quiet during the reading; `own_missed` is the lower one.
  uint64_t own_missed = 0;
  uint64_t own_missed_bound = 0;
  // Called sent by the driver, not sent by the kernel: likewise.
  uint64_t own_unsent = 0;
  uint64_t own_unsent_bound = 0;
  std::optional<KernelCounters> kernel;  // kernel interfaces only

  // The books are closed: bounds equal. False while traffic flows, or when nobody polls.
  bool settled() const { return own_missed == own_missed_bound && own_unsent == own_unsent_bound; }
};

class Port {
 public:
  static Result<std::unique_ptr<Port>> Open(const config::PortSpec& spec,
                                            const PortOptions& options);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  const std::string& name() const { return name_; }  // as the configuration writes it
  uint16_t id() const { return id_; }                // DPDK's
  bool hardware() const { return hardware_; }
  int numa_node() const;  // -1: none

  // Fills a prefix of `out`; the mbufs are the caller's.
  uint16_t rx(std::span<rte_mbuf*> out) {
    const uint16_t count = rte_eth_rx_burst(id_, 0, out.data(), static_cast<uint16_t>(out.size()));
    if (count < out.size())
      drained_.store(drained_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    return count;
  }

  // Takes a prefix of `packets` and returns its length; the rest stays the caller's. Packets longer
  // than max_frame_bytes() are freed and counted among those taken.
  uint16_t tx(std::span<rte_mbuf*> packets) {
    if (max_frame_bytes_ != kAnyFrame) [[unlikely]]
      return tx_checked(packets);
    return rte_eth_tx_burst(id_, 0, packets.data(), static_cast<uint16_t>(packets.size()));
  }

  // Readable while a packet waits for rx(), so that an idle lcore can wait for it; -1 where the
  // driver has none (all but af_packet), and the port must be polled.
  int doorbell() const { return doorbell_; }

  // A frame of flow control: on hardware by a queue of its own, past the data in the other one.
  // False when there is no room: it stays the caller's.
  bool tx_control(rte_mbuf* packet) {
    return rte_eth_tx_burst(id_, control_queue_, &packet, 1) == 1;
  }
  std::array<uint8_t, 6> mac_address() const;

  static constexpr uint32_t kAnyFrame = std::numeric_limits<uint32_t>::max();
  uint32_t max_frame_bytes() const { return max_frame_bytes_; }  // without FCS, untagged

  // Throws away what waits in the receive ring and opens the books. Call when all is ready and
  // polling begins at once: what overflows the ring after this is counted against the engine.
  void start_counting();

  // For a kernel interface this waits (at most some 20 ms) until rx() has emptied the ring, so that
  // waiting frames are not taken for lost ones.
  PortReading reading() const;

  // vhost-user: a guest is connected; veth: the other end is up.
  bool link_up() const;

  // Packets handed to the driver and not yet on the wire, where hardware can tell. The thread of
  // tx() only.
  std::optional<uint32_t> tx_backlog() const;

  // Hardware's receive timestamps in engine time, on rx()'s thread. For a packet that came after
  // the ring was last found empty and was read by `read`; nullopt where it carries none, or one
  // that cannot be. A port whose stamps are not believed has none from then on.
  bool has_stamps() const { return stamp_reader_.has_value() && !stamp_check_.given_up(); }
  std::optional<TimeNs> stamp(const rte_mbuf& packet, TimeNs ring_empty, TimeNs read);
  TimeNs stamp_error() const { return StampError(device_clock_->quality()); }
  // Of arrivals, for the certificate.
  std::string stamps_text() const {
    if (!stamp_reader_) return "software";
    return stamp_check_.given_up() ? "hardware, given up" : "hardware";
  }

  // On tx()'s thread: whether a packet may be given to tx() before its time, told by schedule() to
  // leave at `due`. In the order of tx(): one that is due before another leaves with that one.
  // Only once the port's receive timestamps have proven the clock: a driver may read another one
  // than it stamps and sends by (mlx5 in DPDK 22.11 does, where ConnectX-7 keeps UTC).
  bool can_schedule() const { return schedule_reader_.has_value(); }
  bool schedules() const { return can_schedule() && stamp_check_.proven(); }
  void schedule(rte_mbuf& packet, TimeNs due);
  // How well the time is known at which the port will send; what it makes of it is not.
  TimeNs schedule_error() const;

 private:
  struct Books {
    rte_eth_stats driver{};
    KernelCounters kernel;
    uint64_t pace_errors = 0;
    uint64_t slack = 0;  // frames that arrived while the books were being opened
  };

  Port(const config::PortSpec& spec, const PortOptions& options);
  Result<void> open_device(const config::PortSpec& spec);
  Result<void> make_vdev(const std::string& name, const std::string& arguments);
  Result<void> open_kernel_interface(const config::PortSpec& spec);
  Result<void> configure();
  void leave_pauses_to_us();
  Result<void> register_schedule(const rte_eth_dev_info& info);
  Result<void> start_stamps();
  uint16_t tx_checked(std::span<rte_mbuf*> packets);
  uint32_t limit_of(const rte_mbuf& packet) const;
  void wait_until_drained() const;
  void reconcile(PortReading& reading) const;
  rte_eth_stats driver_counters() const;
  uint64_t pace_errors() const;

  std::string name_;
  PortOptions options_;
  uint16_t id_ = RTE_MAX_ETHPORTS;
  bool hardware_ = false;
  bool started_ = false;
  std::string vdev_;  // to remove at the end; empty if it is not ours
  std::unique_ptr<KernelInterface> kernel_;
  uint32_t max_frame_bytes_ = kAnyFrame;
  uint16_t control_queue_ = 0;
  uint32_t ring_frames_ = 0;  // of the kernel's receive ring
  int doorbell_ = -1;         // the driver's
  Books books_;
  std::atomic<uint64_t> oversize_{0};
  alignas(64) std::atomic<uint64_t> drained_{0};  // rx() calls that left nothing behind

  int stamp_offset_ = -1;  // in the mbuf, of either kind
  uint64_t stamp_flag_ = 0;
  uint64_t schedule_flag_ = 0;
  std::unique_ptr<DisciplinedClock> device_clock_;
  int64_t device_origin_ns_ = 0;
  std::optional<MapReader> stamp_reader_;     // rx()'s
  std::optional<MapReader> schedule_reader_;  // tx()'s
  TimeNs last_scheduled_{};
  StampCheck stamp_check_;
};

}  // namespace farspan::dpdk
