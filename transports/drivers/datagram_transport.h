// DatagramTransport: what drivers of real networks share that make a Transport of an Endpoint.
//
// A driver moves datagrams between the endpoint and its sockets or queue pairs, one per path;
// handles, the order of work and the sleep between are here. A comm uses path i from local address
// i to the peer's address i. progress() receives, runs timers, sends what is due, and sleeps until
// a datagram, a timer or its own end: nothing spins. A timer wakes the thread tens of microseconds
// late, and a busy machine later: so what is due within kTrainTime leaves at once, and the endpoint
// makes up for what was late by kGranularity at most (Linux paces TCP alike: trains of a
// millisecond, sk_pacing_shift).
//
// Time is CLOCK_MONOTONIC. Threading: one thread calls everything. Nothing allocates after a comm
// is set up, but where datagrams wait for room while a request ends or a comm is closed: what they
// have of its buffer is copied then.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "emulator/base/result.h"
#include "transports/core/endpoint.h"
#include "transports/core/transport.h"
#include "transports/drivers/monotonic.h"

namespace farspan::transport {

class DatagramTransport : public Transport {
 public:
  static constexpr size_t kMaxPaths = 4;  // as many addresses as fit into a handle
  static constexpr TimeNs kTrainTime{500'000};
  static constexpr TimeNs kGranularity{1'000'000};  // for SpanConfig

  Properties properties() const final { return properties_; }
  TimeNs now() const final { return MonotonicNow(); }
  Result<ListenId> listen(Handle& handle) final;
  void stop_listening(ListenId listener) final { endpoint_->stop_listening(now(), listener); }
  std::optional<CommId> accept(ListenId listener) final { return endpoint_->accept(listener); }
  Result<CommId> connect(const Handle& handle) final;
  CommState state(CommId comm) const final { return endpoint_->state(comm); }
  std::string_view failure(CommId comm) const final { return endpoint_->failure(comm); }
  void close(CommId comm) final;
  std::optional<RequestId> post_send(CommId comm, const Buffer& buffer, uint32_t tag) final;
  std::optional<RequestId> post_recv(CommId comm, const Buffer& buffer, uint32_t tag) final;
  Completion test(RequestId request) final;
  void progress(TimeNs until) final;
  void drain(TimeNs until) final;
  void set_listener(ProgressListener* listener) final { listener_ = listener; }

 protected:
  static constexpr size_t kSlots = 256;  // at most, of one call to transmit()

  DatagramTransport(std::unique_ptr<Endpoint> endpoint, const Properties& properties);
  Endpoint& endpoint() { return *endpoint_; }

 private:
  virtual size_t paths() const = 0;
  virtual Address address(size_t path) const = 0;
  // Whether this can be a peer's, by its form.
  virtual bool is_address(const Address& address) const = 0;
  // A comm to this address is about to be set up.
  virtual void prepare(const Address& /*address*/) {}
  // Gives what has arrived to the endpoint. True if more may be waiting.
  virtual bool receive(TimeNs now) = 0;
  // Sends a prefix of the slots, whose payload is not needed any more then; the prefix's length.
  // Less than all: there is no room.
  virtual size_t transmit(std::span<const TxSlot> slots) = 0;
  // Sleeps until something arrives, `until`, or, if `for_room`, there is room. May return earlier.
  virtual void wait(TimeNs until, bool for_room) = 0;

  void send(TimeNs now);
  void keep_payloads();

  std::unique_ptr<Endpoint> endpoint_;
  Properties properties_;
  ProgressListener* listener_ = nullptr;
  // Datagrams that the endpoint has given and the driver has not yet taken: [begin_, end_).
  std::array<TxSlot, kSlots> slots_;
  size_t begin_ = 0, end_ = 0;
  std::unique_ptr<uint8_t[]> kept_;  // their payloads, once those may be no one else's
  uint32_t heard_ = 0;               // calls of receive() that left something, in a row
  std::array<Sent, kSlots> sent_;
};

}  // namespace farspan::transport
