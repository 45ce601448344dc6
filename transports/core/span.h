// Span: the project's transport, as an Endpoint (endpoint.h).
//
// Demultiplexes connections by 64-bit random ids, makes them by a handshake that costs the server
// no state before the client has shown, with a cookie, that it receives at its address, and shares
// the paths among them. No answer before that is longer than what it answers. The wire format is
// docs/wire-format.md. Threading, ownership, units: as endpoint.h.
//
// Not protected against: someone who can read and change what is on the path, unless a MAC key is
// set; nothing is encrypted.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "transports/core/connection.h"
#include "transports/core/endpoint.h"
#include "transports/core/path.h"
#include "transports/core/span_config.h"

namespace farspan::transport {

class Span final : public Endpoint {
 public:
  // Unknown names and sizes that cannot be are errors.
  static Result<std::unique_ptr<Span>> Create(const SpanConfig& config);
  ~Span() override;

  void on_datagrams(TimeNs now, std::span<const RxView> received) override;
  size_t poll_transmit(TimeNs now, TimeNs horizon, std::span<TxSlot> slots) override;
  void on_sent(TimeNs now, std::span<const Sent> sent) override;
  void on_timeout(TimeNs now) override;
  void on_trouble(TimeNs now, const Trouble& trouble) override;
  TimeNs next_deadline() const override { return deadline_; }
  std::optional<Event> poll_event() override { return events_.pop(); }

  Result<ListenId> listen(uint64_t& token) override;
  void stop_listening(TimeNs now, ListenId listener) override;
  std::optional<CommId> accept(ListenId listener) override;
  Result<CommId> connect(TimeNs now, uint64_t token, std::span<const Route> routes) override;
  CommState state(CommId comm) const override;
  std::string_view failure(CommId comm) const override;
  void close(TimeNs now, CommId comm) override;
  bool all_told() const override;
  std::optional<RequestId> post_send(TimeNs now, CommId comm, const Buffer& buffer,
                                     uint32_t tag) override;
  std::optional<RequestId> post_recv(TimeNs now, CommId comm, const Buffer& buffer,
                                     uint32_t tag) override;
  Completion test(RequestId request) override;

  const SpanConfig& config() const { return config_; }
  const SpanCounters& counters() const { return counters_; }
  // The paths in use, in the order they were first used.
  size_t path_count() const { return paths_.size(); }
  Path& path(size_t index) { return *paths_[index]; }

 private:
  // A connection, or the client's side of a handshake that may become one.
  struct Slot {
    uint32_t generation = 0;
    bool used = false;
    bool released = false;                 // the user has closed it
    CommState state = CommState::kClosed;  // while there is no connection
    std::unique_ptr<Connection> connection;
    bool sends = false;
    uint64_t own_id = 0;
    uint64_t peer_id = 0;
    std::string failure;
    std::string trouble;         // of the driver, while there is no connection
    uint32_t payload_bytes = 0;  // negotiated, by the server
    uint32_t window = 0;
    // Handshake
    uint64_t token = 0;
    std::vector<Route> routes;
    uint64_t cookie = 0;
    uint32_t cookie_time = 0;
    TimeNs asked_at{};  // the first HELLO of this stage
    TimeNs give_up_at{};
    TimeNs retry_at = kNever;  // kNever also: the peer has been heard in this connection
    TimeNs retry_after{};
    ListenId listener{};  // where the server's side waits for that
  };
  struct Listener {
    uint64_t token = 0;
    bool open = false;
    std::vector<CommId> waiting;  // to be accepted, oldest first
  };

  Span(const SpanConfig& config, RecoveryFactory recovery, ControllerFactory controller);

  Drop on_datagram(const RxView& view);
  Drop on_handshake(const Packet& packet);
  Drop on_hello(const Packet& packet);
  Drop on_answer(const Packet& packet, Slot& slot);
  void become_sender(Slot& slot, const Packet& packet);
  CommId make_receiver(const Packet& packet);
  void confirm(TimeNs now, Slot& slot);
  void dismiss(TimeNs now, Slot& slot, Reason reason);
  void schedule_retry(TimeNs now, Slot& slot);
  void give_up(TimeNs now, Slot& slot);
  void send_hello(TimeNs now, Slot& slot);
  void answer(Header header, const Packet& packet);
  void send_stateless(const Header& header, const Route& route);
  void refuse(const Packet& packet, Reason reason);
  void send_accept(const Packet& packet, const Slot& slot);
  uint64_t cookie_for(const Packet& packet, uint64_t time) const;
  void handshake_timeout(TimeNs now, Slot& slot);
  void handshake_trouble(Slot& slot, const Trouble& trouble);
  void handshake_fails(Slot& slot, std::string why);
  Path* path_for(const Route& route, TimeNs rtt);
  Slot* find(CommId comm);
  const Slot* find(CommId comm) const;
  CommId comm_of(const Slot& slot) const;
  Slot* take_slot();
  std::span<Slot> slots() { return std::span(slots_).first(slots_end_); }
  void release(Slot& slot);
  void update();  // after anything that may have changed a deadline
  uint64_t random();

  const SpanConfig config_;
  const RecoveryFactory make_recovery_;
  const ControllerFactory make_controller_;
  SpanCounters counters_;
  EventQueue events_;
  std::vector<Slot> slots_;
  std::unordered_map<uint64_t, uint32_t> by_id_;      // own id -> slot
  std::unordered_map<uint64_t, uint32_t> by_client_;  // a client's id -> slot of the server
  std::vector<Listener> listeners_;
  std::vector<std::unique_ptr<Path>> paths_;
  ControlQueue stateless_;
  MacKey secret_;
  uint64_t draws_ = 0;
  uint32_t slots_end_ = 0;  // one past the last slot in use
  uint32_t turn_ = 0;
  TimeNs deadline_ = kNever;
};

}  // namespace farspan::transport
