// SpanConfig: what an endpoint is asked to be, and what it counts.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "emulator/base/time.h"
#include "transports/core/congestion.h"
#include "transports/core/recovery.h"
#include "transports/core/wire.h"

namespace farspan::transport {

class Observer;  // observer.h

inline constexpr uint32_t kMaxPaths = 16;

struct SpanConfig {
  uint32_t payload_bytes = 4096;  // of a full datagram; the lower of both sides' counts
  uint32_t overhead_bytes = 66;   // framing around a datagram: Ethernet 38, IPv4 20, UDP 8
  std::string recovery = "auto";
  std::string congestion = "fixed";
  ControllerConfig controller;  // rate and seed; the endpoint fills in the rest
  RecoveryConfig policy;

  // In flight per path, a power of two. What is lost holds the window back for two round trips, for
  // three where its repair is lost too: 4 GiB at 4 KiB each are 3.5 of them at 400 Gb/s and 25 ms.
  uint32_t window_packets = 1u << 20;
  uint32_t max_requests = 32;  // per comm, a power of two; sizes the receiver's bitmaps
  uint32_t max_connections = 64;
  uint32_t parity_symbols = 4096;  // of store per connection; 16 MiB at 4 KiB each
  uint32_t open_blocks = 512;      // that a receiver may hold parity of

  bool payload_crc = true;  // CRC32C over payload too; on if either side wants it
  std::optional<MacKey> mac;
  bool lengths_only = false;  // no payload bytes anywhere

  TimeNs timeout{10'000'000'000};       // silence after which a peer that owes something is gone
  TimeNs handshake_retry{100'000'000};  // the first; doubles
  uint32_t ack_packets = 64;            // at most this many packets wait for an ACK
  uint32_t ack_per_rtt = 32;            // and at most an RTT divided by this long

  // How late the driver may act on a deadline, 0 in virtual time. Departures that are late by no
  // more are made up for at once, and no timer for an answer is finer (RFC 9002, kGranularity).
  TimeNs granularity{};

  Observer* observer = nullptr;  // told of every loss; must outlive the endpoint

  uint64_t seed = 1;           // of ids and secrets: drivers of real networks take it from the OS
  uint32_t first_number = 1;   // of packets on every path, at least 1
  uint64_t first_message = 0;  // both for tests of numbers that wrap; this one alike on both sides
};

// Monotonic. A datagram received is counted once among data, parity, control or dropped.
struct SpanCounters {
  uint64_t data_sent = 0;  // datagrams; the first time
  uint64_t data_resent = 0;
  uint64_t parity_sent = 0;
  uint64_t control_sent = 0;
  uint64_t sent_bytes = 0;  // with headers, without framing
  uint64_t data_received = 0;
  uint64_t data_duplicate = 0;  // among them: had been received, or decoded, before
  uint64_t data_discarded = 0;  // among them: not next in order, where order is asked for
  uint64_t parity_received = 0;
  uint64_t control_received = 0;
  uint64_t decoded = 0;   // datagrams that parity gave
  uint64_t lost = 0;      // packets declared lost
  uint64_t spurious = 0;  // among them: acknowledged later
  uint64_t timeouts = 0;
  uint64_t unheard = 0;  // connections made for a client of which nothing was heard in them
  uint64_t stalls = 0;   // sent again because nothing else would have: 0 in a sound recovery
  std::array<uint64_t, kDropCount> dropped{};
};

}  // namespace farspan::transport
