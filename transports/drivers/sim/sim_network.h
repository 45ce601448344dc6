// SimNetwork: transports over the emulator's link model, in virtual time.
//
//   SimNetwork network(options);
//   const WireId there = *network.add_wire(spec, identity, capacity), back = *network.add_wire(…);
//   SimTransport& a = network.add_host(std::move(endpoint_a)), &b = …;
//   network.route(a, b, there); network.route(b, a, back);
//   network.run_until(…);  // or run_while(condition)
//
// A wire is one direction of a link; any number of host pairs may share it. Datagrams with bytes
// are carried with their bytes, and corruption flips one of their bits; where the endpoint moves
// lengths only, so does the wire (corruption then hits the header). Hosts have no ports of their
// own beyond the wires, and no CPU cost.
//
// With granularity 0 everything happens at its own nanosecond. Otherwise hosts hand departures over
// in trains, and wires deliver in batches, of that length, each packet with its own time stamps:
// much faster, and what is decided on the way in may be late by that much. A batching seed makes
// the driver an adversary instead, in what it polls, when, and in what portions.
//
// Threading: one thread. Ownership: the network owns hosts, endpoints and wires.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/link/link.h"
#include "emulator/sim/scheduler.h"
#include "emulator/sim/trace_hash.h"
#include "transports/core/endpoint.h"
#include "transports/core/transport.h"

namespace farspan::transport {

struct SimOptions {
  TimeNs granularity{};
  uint64_t batching_seed = 0;  // not 0: adversarial
  bool cut_batches = false;    // hand over received datagrams one by one, at the same times
  size_t max_tasks = 1024;     // hosts and wires
};

struct WireId {
  uint32_t value = 0;
};

class SimNetwork;

class SimTransport final : public Transport, private sim::Task {
 public:
  Properties properties() const override;
  TimeNs now() const override;
  Result<ListenId> listen(Handle& handle) override;
  void stop_listening(ListenId listener) override;
  std::optional<CommId> accept(ListenId listener) override;
  Result<CommId> connect(const Handle& handle) override;
  CommState state(CommId comm) const override { return endpoint_->state(comm); }
  std::string_view failure(CommId comm) const override { return endpoint_->failure(comm); }
  void close(CommId comm) override;
  std::optional<RequestId> post_send(CommId comm, const Buffer& buffer, uint32_t tag) override;
  std::optional<RequestId> post_recv(CommId comm, const Buffer& buffer, uint32_t tag) override;
  Completion test(RequestId request) override { return endpoint_->test(request); }
  void progress(TimeNs) override {}
  void set_listener(ProgressListener* listener) override { listener_ = listener; }

  Endpoint& endpoint() { return *endpoint_; }
  uint32_t index() const { return index_; }
  // The process dies: nothing is sent or received any more, and nobody is told.
  void vanish();

 private:
  friend class SimNetwork;
  SimTransport(SimNetwork& network, uint32_t index, std::unique_ptr<Endpoint> endpoint,
               const Properties& properties, uint32_t paths);
  void run(TimeNs now) override;
  void receive(TimeNs now, std::span<const RxView> views);
  void transmit(TimeNs now);
  void wake(TimeNs at);

  SimNetwork& network_;
  const uint32_t index_;
  const std::unique_ptr<Endpoint> endpoint_;
  const Properties properties_;
  const uint32_t paths_;
  ProgressListener* listener_ = nullptr;
  bool gone_ = false;
  std::vector<TxSlot> slots_;
};

class SimNetwork {
 public:
  explicit SimNetwork(const SimOptions& options = {});
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // `start`: the origin of wire time and of the timeline, now where it is not given. One that is
  // never reached keeps the timeline back until start_epoch(); until then other bad moments come.
  Result<WireId> add_wire(const link::DirectionSpec& spec, const link::LinkIdentity& identity,
                          const link::LinkCapacity& capacity, std::optional<TimeNs> start = {});
  // `paths`: how many of the host's sockets its connections use.
  SimTransport& add_host(std::unique_ptr<Endpoint> endpoint, const Properties& properties = {},
                         uint32_t paths = 1);
  void route(const SimTransport& from, const SimTransport& to, WireId wire);

  sim::Scheduler& scheduler() { return scheduler_; }
  TimeNs now() const { return scheduler_.now(); }
  void run_until(TimeNs horizon) { scheduler_.run_until(horizon); }
  // Until `condition` is false, nothing is left to do, or `limit`; whether the condition is false.
  bool run_while(const std::function<bool()>& condition, TimeNs limit = kNever);

  link::DirectionCounters counters(WireId wire) const;
  // Wire time begins now, and the timeline with it: as a live link::StartEpoch.
  Result<void> start_epoch(WireId wire);
  // Of everything that the wires released, with the checksums of what it was.
  uint64_t trace_hash() const { return hash_.value(); }
  // Called for every datagram as it enters a wire.
  std::function<void(TimeNs at, std::span<const uint8_t> header)> on_departure;

 private:
  friend class SimTransport;
  class Wire;
  struct Datagram;

  void send(uint32_t from, const TxSlot& slot);
  void deliver(TimeNs now, std::span<const link::PacketRef> packets);
  uint64_t pick(uint64_t choices);  // the adversary's

  const SimOptions options_;
  sim::Scheduler scheduler_;
  std::vector<std::unique_ptr<SimTransport>> hosts_;
  std::vector<std::unique_ptr<Wire>> wires_;
  std::vector<std::vector<Wire*>> routes_;  // [from][to]
  std::vector<Datagram> datagrams_;
  std::vector<uint32_t> free_datagrams_;
  std::vector<RxView> views_;
  std::vector<uint32_t> delivered_;
  sim::TraceHash hash_;
  uint64_t draws_ = 0;
};

}  // namespace farspan::transport
