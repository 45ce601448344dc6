// ModelEndpoint: a baseline's virtual-time model as an Endpoint (endpoint.h).
//
//   rc-gbn, rc-sr   verbs RC as NCCL's net_ib drives it: rc_comm.h
//   tcp             kernel TCP as NCCL's Socket transport drives it: tcp_comm.h
//
// Makes comms by a handshake of two packets, demultiplexes and drives them. Both sides must be the
// same model with the same settings; a peer that differs is refused. Threading: one thread; no
// clock, no I/O. Not modelled: the CPU, memory registration, the TCP connection that net_ib sets
// its queue pairs up by.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "transports/baselines/model_comm.h"
#include "transports/core/endpoint.h"

namespace farspan::baselines {

class ModelEndpoint final : public transport::Endpoint {
 public:
  // Unknown names and sizes that cannot be are errors.
  static Result<std::unique_ptr<ModelEndpoint>> Create(const ModelConfig& config);

  void on_datagrams(TimeNs now, std::span<const transport::RxView> received) override;
  size_t poll_transmit(TimeNs now, TimeNs horizon, std::span<transport::TxSlot> slots) override;
  void on_sent(TimeNs, std::span<const transport::Sent>) override {}
  void on_timeout(TimeNs now) override;
  TimeNs next_deadline() const override {
    if (stale_) compute_deadline();
    return deadline_;
  }
  std::optional<transport::Event> poll_event() override { return context_.events.pop(); }

  Result<transport::ListenId> listen(uint64_t& token) override;
  void stop_listening(TimeNs now, transport::ListenId listener) override;
  std::optional<transport::CommId> accept(transport::ListenId listener) override;
  Result<transport::CommId> connect(TimeNs now, uint64_t token,
                                    std::span<const transport::Route> routes) override;
  transport::CommState state(transport::CommId comm) const override;
  std::string_view failure(transport::CommId comm) const override;
  void close(TimeNs now, transport::CommId comm) override;
  bool all_told() const override { return released_.empty() && stateless_.empty(); }
  std::optional<transport::RequestId> post_send(TimeNs now, transport::CommId comm,
                                                const transport::Buffer& buffer,
                                                uint32_t tag) override;
  std::optional<transport::RequestId> post_recv(TimeNs now, transport::CommId comm,
                                                const transport::Buffer& buffer,
                                                uint32_t tag) override;
  transport::Completion test(transport::RequestId request) override;

  const ModelConfig& config() const { return context_.config; }
  const ModelCounters& counters() const { return context_.counters; }

 private:
  // A comm, or the client's side of a handshake that may become one.
  struct Entry {
    std::unique_ptr<ModelComm> comm;
    transport::CommState state = transport::CommState::kConnecting;  // while there is no comm
    bool released = false;                                           // by the user
    std::string failure;
    uint64_t token = 0;
    std::vector<transport::Route> routes;
    std::pair<uint64_t, uint32_t> client{};  // server: the key in by_client_
    TimeNs asked_at{};
    TimeNs give_up_at{};
    TimeNs retry_at = kNever;
    TimeNs retry_after{};
  };
  struct Listener {
    uint64_t token = 0;
    bool open = false;
    std::vector<uint32_t> waiting;  // to be accepted, oldest first
  };

  ModelEndpoint(const ModelConfig& config, transport::ControllerFactory controller);
  void on_handshake(const Arrival& arrival);
  void on_connect(const Arrival& arrival);
  void ask(TimeNs now, uint32_t id, Entry& entry);
  void handshake_timeout(TimeNs now, uint32_t id, Entry& entry);
  std::unique_ptr<ModelComm> make_comm(const CommSetup& setup);
  ModelComm* find(transport::CommId comm) const;
  uint64_t fingerprint() const;
  void compute_deadline() const;
  void reap();  // the comms that are gone

  ModelContext context_;
  std::map<uint32_t, Entry> entries_;
  std::map<std::pair<uint64_t, uint32_t>, uint32_t> by_client_;  // address, its comm -> ours
  std::vector<Listener> listeners_;
  std::deque<transport::TxSlot> stateless_;
  std::vector<uint32_t> released_;  // comms that the user has closed
  uint32_t next_id_ = 1;
  uint32_t turn_ = 0;  // the comm that sent last
  mutable TimeNs deadline_ = kNever;
  mutable bool stale_ = true;
};

}  // namespace farspan::baselines
