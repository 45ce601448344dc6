// Endpoint: a transport without its I/O; what a driver turns into a Transport (transport.h).
//
// One endpoint per device demultiplexes all its connections. The driver moves datagrams and time:
//
//   loop: on_datagrams(now, received) · on_timeout(now) when next_deadline() <= now ·
//         poll_transmit(now, horizon, slots) until it gives nothing · on_sent() · poll_event()
//
// Everything that takes `now` must be called with times that do not decrease. Pacing has one
// channel: each datagram leaves at its tx_time, not earlier; a driver that can hand over departures
// in advance (a qdisc, a virtual link), or whose timer is too coarse for single datagrams so that
// it sends trains, asks for them with a horizon beyond `now`. How late it may be is
// SpanConfig::granularity. Results do not depend on how received datagrams with equal time stamps
// are cut into calls.
//
// Payload never passes through the endpoint on the way out: a slot refers to it, and the driver
// gathers header and payload. On the way in the endpoint copies it once, from the receive buffer to
// its place (parity to the endpoint's store): decoding needs the bytes there and then. Where
// `payload` is null only lengths travel, and everything else is the same.
//
// Ownership: PayloadRef points into the buffer of a posted send or into the endpoint's parity
// store, both good until on_sent() of the slot. Threading: one thread. Sans-IO: no clock, socket,
// log; nothing allocates after a connection is set up.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "transports/core/transport.h"

namespace farspan::transport {

// Where a datagram comes from or goes to; its bytes are the driver's (a sockaddr, an index).
struct Address {
  std::array<uint8_t, 28> bytes{};
  uint32_t size = 0;
  friend bool operator==(const Address&, const Address&) = default;
};

// How a datagram travels: from which of the driver's local sockets, to which address.
struct Route {
  Address peer;
  uint32_t local = 0;
  friend bool operator==(const Route&, const Route&) = default;
};

struct RxView {
  TimeNs at{};                     // arrival, at most `now` of the call, not decreasing
  Route route;                     // peer: who sent it; local: who received it
  std::span<const uint8_t> bytes;  // all of it, or its header where `lengths_only`
  uint32_t payload_bytes = 0;      // lengths_only: what follows the header
  bool lengths_only = false;
  bool ecn_marked = false;  // CE
};

struct PayloadRef {
  const uint8_t* data = nullptr;  // null: lengths only
  uint32_t bytes = 0;
  uint32_t memory = 0;  // of register_memory, 0 for the endpoint's own
};

// One datagram: header, payload, trailer. A driver makes trains (GSO) of consecutive slots of one
// route and size.
struct TxSlot {
  static constexpr size_t kMaxHeader = 512;
  std::array<uint8_t, kMaxHeader> header;
  uint32_t header_bytes = 0;
  PayloadRef payload;
  std::array<uint8_t, 8> trailer;  // the MAC of what stands before it
  uint32_t trailer_bytes = 0;
  TimeNs tx_time{};
  Route route;
  uint64_t id = 0;  // for on_sent; 0: need not be reported
  bool ecn_capable = false;

  uint32_t bytes() const { return header_bytes + payload.bytes + trailer_bytes; }
};

// What a driver cannot do, in words for a person.
struct Trouble {
  const Route* route = nullptr;  // where it cannot send to; null: it can send and receive no more
  std::string_view why;
  bool for_good = false;  // the comms concerned fail now; else `why` is said where a peer is silent
};

struct Sent {
  uint64_t id = 0;
  TimeNs actual{};  // when it left; feeds RTTs
};

struct Event {
  enum class Kind : uint8_t { kAcceptable, kReady, kDone, kFailed };
  Kind kind = Kind::kReady;
  CommId comm;
};

class Endpoint {
 public:
  virtual ~Endpoint() = default;

  // --- for the driver
  virtual void on_datagrams(TimeNs now, std::span<const RxView> received) = 0;
  // Datagrams that leave at `horizon` or before, in order of tx_time on each route.
  virtual size_t poll_transmit(TimeNs now, TimeNs horizon, std::span<TxSlot> slots) = 0;
  // Once for every slot with an id, in any order, before its payload may change.
  virtual void on_sent(TimeNs now, std::span<const Sent> sent) = 0;
  virtual void on_timeout(TimeNs now) = 0;
  // Without it, only the peer's silence tells.
  virtual void on_trouble(TimeNs /*now*/, const Trouble& /*trouble*/) {}
  // When on_timeout or poll_transmit will next have something to do; O(1).
  virtual TimeNs next_deadline() const = 0;
  // Hints that something has changed; the truth is in state() and test().
  virtual std::optional<Event> poll_event() = 0;

  // --- for the user, as in Transport; the driver makes handles of token and addresses
  virtual Result<ListenId> listen(uint64_t& token) = 0;
  // Who waits there to be accepted is told.
  virtual void stop_listening(TimeNs now, ListenId listener) = 0;
  virtual std::optional<CommId> accept(ListenId listener) = 0;
  virtual Result<CommId> connect(TimeNs now, uint64_t token, std::span<const Route> routes) = 0;
  virtual CommState state(CommId comm) const = 0;
  virtual std::string_view failure(CommId comm) const = 0;
  virtual void close(TimeNs now, CommId comm) = 0;
  // Whether all peers know what was closed, or have been told often enough.
  virtual bool all_told() const = 0;
  virtual std::optional<RequestId> post_send(TimeNs now, CommId comm, const Buffer& buffer,
                                             uint32_t tag) = 0;
  virtual std::optional<RequestId> post_recv(TimeNs now, CommId comm, const Buffer& buffer,
                                             uint32_t tag) = 0;
  virtual Completion test(RequestId request) = 0;
};

}  // namespace farspan::transport
