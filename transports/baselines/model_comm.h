// ModelComm: what the two ends of every model's comm have in common.
//
// Requests and their order, control packets that wait to be sent, closing and failing. Its kinds
// are RcComm and TcpComm. Threading: one thread; no clock, no I/O. Unlike Span, models allocate
// while they run.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transports/baselines/model_config.h"
#include "transports/baselines/model_wire.h"
#include "transports/core/connection.h"
#include "transports/core/path.h"
#include "transports/core/wire.h"

namespace farspan::baselines {

// What an endpoint lends its comms.
struct ModelContext {
  const ModelConfig config;
  const transport::ControllerFactory make_controller;
  transport::EventQueue events;
  ModelCounters counters;
  std::vector<std::unique_ptr<transport::Path>> paths;  // of queue pairs: one for each way
  uint64_t draws = 0;
  uint64_t freed = 0;  // counts what may have made room on a path that others wait for

  uint64_t random();
  // For packets of `header_bytes` (as model_wire.h counts them) before a full payload.
  std::unique_ptr<transport::Path> new_path(const transport::Route& route, TimeNs rtt,
                                            uint32_t header_bytes);
  transport::Path* shared_path(const transport::Route& route, TimeNs rtt, uint32_t header_bytes);
};

// Wire bytes around a model's header and payload: Ethernet 38, IPv4 20, UDP 8.
inline constexpr uint32_t kFramingBytes = 66;

struct CommSetup {
  transport::CommId own;
  uint32_t peer = 0;  // the other side's comm
  bool sends = false;
  std::vector<transport::Route> routes;  // stream i takes route i, modulo their number
  TimeNs rtt{};                          // of the handshake; 0: not known
};

class ModelComm {
 public:
  ModelComm(ModelContext& context, const CommSetup& setup);
  virtual ~ModelComm() = default;
  ModelComm(const ModelComm&) = delete;
  ModelComm& operator=(const ModelComm&) = delete;

  bool sends() const { return setup_.sends; }
  transport::CommState state() const { return state_; }
  const std::string& failure() const { return failure_; }
  // Closed by the user, and the peer knows or has been told often enough.
  bool gone() const { return gone_; }

  void on_arrival(const Arrival& arrival);
  void on_timeout(TimeNs now);
  TimeNs next_deadline() const {
    if (stale_ || freed_seen_ != context_.freed) compute_deadline();
    return deadline_;
  }
  // One packet that leaves at `horizon` or before; false if there is none.
  bool transmit(TimeNs now, TimeNs horizon, transport::TxSlot& slot);
  std::optional<uint64_t> post(TimeNs now, const transport::Buffer& buffer, uint32_t tag);
  transport::Completion test(uint64_t number);
  void close(TimeNs now);

 protected:
  struct Request {
    transport::Buffer buffer;
    uint32_t tag = 0;
    bool in_use = false;
    transport::Completion completion;
  };

  virtual void on_packet(const Arrival& arrival) = 0;
  virtual bool transmit_data(TimeNs now, TimeNs horizon, transport::TxSlot& slot) = 0;
  virtual void on_deadline(TimeNs now) = 0;
  virtual TimeNs own_deadline() const = 0;
  virtual void on_posted(TimeNs now) = 0;  // request posted_ - 1 has come
  // What has been sent and is done must still be delivered when the comm is closed.
  virtual bool flushed() const { return true; }
  // The peer has closed; what it sent before may still be taken.
  virtual bool unread() const { return false; }

  void fail(TimeNs now, std::string why, transport::Reason reason);
  void complete(uint64_t number, uint64_t bytes);
  Request& request(uint64_t number) { return requests_[number % requests_.size()]; }
  uint64_t posted() const { return posted_; }
  bool closing() const { return closing_; }
  bool peer_closed() const { return peer_closed_; }
  void end_after_peer();
  void send_control(const Head& head, std::span<const uint8_t> body);
  // Header and route of a slot whose payload is set.
  void address(Head head, std::span<const uint8_t> body, transport::TxSlot& slot) const;
  const transport::Route& route(uint32_t stream) const {
    return setup_.routes[stream % setup_.routes.size()];
  }

  ModelContext& context_;

 private:
  void compute_deadline() const;
  bool active() const { return state_ == transport::CommState::kReady || !flushed(); }
  void fail_requests();
  void send_close(TimeNs now);

  const CommSetup setup_;
  transport::CommState state_ = transport::CommState::kReady;
  std::string failure_;
  std::vector<Request> requests_;
  uint64_t posted_ = 0;
  std::deque<transport::TxSlot> control_;
  bool peer_closed_ = false;
  bool closing_ = false;
  bool gone_ = false;
  transport::Reason close_reason_ = transport::Reason::kNone;
  int closes_left_ = 0;
  TimeNs close_at_ = kNever;
  mutable TimeNs deadline_ = kNever;
  mutable bool stale_ = true;
  mutable uint64_t freed_seen_ = 0;
};

}  // namespace farspan::baselines
