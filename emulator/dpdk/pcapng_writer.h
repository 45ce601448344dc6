// CaptureWriter: packets and what became of them, from lcores to a pcapng file.
//
// Each lcore has a CaptureProducer: offer() copies a record into a bounded ring, without
// allocation, system call or waiting; what does not fit is lost to the capture, and counted. A
// control thread runs run(), which writes. A packet that crosses appears twice with the same packet
// id: inbound on the interface where it came, with its ingress stamp, and outbound where it went,
// with its egress stamp and a comment: "delayed 2.448 ms, due 1700000000.002448000, late 812 ns,
// marked CE, rule 3", "dropped: loss". A dropped packet's second appearance is on the interface
// that it would have left through, at the time of the drop.
//
// The file ends with a statistics block per interface: offered, lost, written. At max_bytes of
// packets the writer stops writing, and what comes later counts as lost. Within one producer's
// records the file keeps their order; between producers it does not (reordercap sorts).
// Units: TimeNs of the engine's clock, Unix nanoseconds in the file; frames without FCS.
// Not modelled: filters. No DPDK types, so that it can be tested without.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/dpdk/byte_ring.h"
#include "emulator/dpdk/pcapng_file.h"
#include "emulator/link/packet_ref.h"

namespace farspan::dpdk {

struct CaptureOptions {
  std::string path;
  std::vector<CaptureInterface> interfaces;
  uint32_t snap_bytes = 128;               // of each frame
  uint64_t max_bytes = uint64_t{1} << 30;  // 0: no limit
  uint32_t producers = 1;
  size_t ring_bytes = 32u << 20;  // of each producer; a power of two
  int64_t unix_ns_at_zero = 0;    // Unix time at the engine's time 0
  std::string application = "farspan-emulator";
};

struct CaptureRecord {
  TimeNs at{};       // ingress stamp, egress stamp, or when it was dropped
  TimeNs ingress{};  // outbound records
  TimeNs due{};      // outbound records
  uint64_t packet_id = 0;
  uint32_t frame_bytes = 0;
  uint16_t interface = 0;
  bool outbound = false;
  uint8_t flags = 0;  // link::PacketFlag
  link::Cause cause = link::Cause::kNone;
  uint8_t rule = 0;  // PacketRef::rule
};

// offered = written + lost, once run() has returned.
struct CaptureCounts {
  uint64_t offered = 0;
  uint64_t lost = 0;  // the ring was full, the file at its limit or not writable
  uint64_t written = 0;
};

// What a record's comment in the file says; empty for nothing.
std::string CaptureComment(const CaptureRecord& record, int64_t unix_ns_at_zero);

class CaptureProducer {
 public:
  CaptureProducer(size_t ring_bytes, uint32_t snap_bytes, size_t interfaces);

  // The owning lcore only. `frame` is its first segment; what snap_bytes cuts off is not copied.
  // False if the record is lost.
  bool offer(const CaptureRecord& record, std::span<const uint8_t> frame);

 private:
  friend class CaptureWriter;

  struct Interface {
    std::atomic<uint64_t> offered{0};
    std::atomic<uint64_t> full{0};
    uint64_t full_reported = 0;  // in records that are in the ring or were
  };

  ByteRing ring_;
  const uint32_t snap_bytes_;
  std::vector<Interface> interfaces_;
};

class CaptureWriter {
 public:
  static Result<std::unique_ptr<CaptureWriter>> Create(const CaptureOptions& options);

  CaptureProducer& producer(size_t index) { return *producers_[index]; }

  // Writes until asked to stop, then what the rings still hold, and closes the file. Producers
  // must be done before the request. Once, on a thread of its own.
  Result<void> run(const std::stop_token& stop);

  CaptureCounts counts(size_t interface) const;  // any thread

 private:
  struct Interface {
    std::atomic<uint64_t> left_out{0};  // at the limit, or after an error
    std::atomic<uint64_t> written{0};
  };

  CaptureWriter(const CaptureOptions& options, PcapngFile file);
  size_t drain(CaptureProducer& producer);
  void write(const std::vector<uint8_t>& record);

  const CaptureOptions options_;
  PcapngFile file_;
  std::vector<std::unique_ptr<CaptureProducer>> producers_;
  std::vector<Interface> interfaces_;
  std::vector<uint8_t> record_;
  uint64_t first_unix_ns_ = UINT64_MAX;
  uint64_t last_unix_ns_ = 0;
};

}  // namespace farspan::dpdk
