// RcTransport: verbs RC as NCCL's net_ib uses it; the baseline of the testbed.
//
// The sender connects by TCP; the sides exchange cards with their queue pairs (rc_queue_pairs.h)
// and the sender says "ready". The TCP connection then stays: its end, or its silence under probes
// for `timeout`, says that the peer is gone where the queue pairs would wait for their retries
// (4.096 us x 2^timeout x retries and more; a receiver would wait for ever), and it carries why a
// side gave up. Different from NCCL: that, and sleeping on the completion channel instead of
// spinning. Retransmission is the NIC's own.
//
// Time is CLOCK_MONOTONIC. Threading: one thread calls everything. Not here: several ports,
// adaptive routing, grouped receives, GPU memory. Messages are at most 1 GiB.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "transports/baselines/rc_queue_pairs.h"
#include "transports/baselines/tcp_listener.h"
#include "transports/core/comm_table.h"
#include "transports/core/transport.h"
#include "transports/drivers/monotonic.h"
#include "transports/drivers/verbs/device.h"

namespace farspan::baselines {

struct RcTransportConfig {
  verbs::PortChoice port;
  SocketAddress local;  // of the TCP connections; port 0 as a rule
  RcConfig rc;
  TimeNs timeout{10'000'000'000};
};

class RcTransport final : public transport::Transport {
 public:
  static Result<std::unique_ptr<RcTransport>> Open(const RcTransportConfig& config);
  ~RcTransport() override;

  transport::Properties properties() const override;
  TimeNs now() const override { return MonotonicNow(); }
  Result<transport::ListenId> listen(transport::Handle& handle) override;
  void stop_listening(transport::ListenId listener) override;
  std::optional<transport::CommId> accept(transport::ListenId listener) override;
  Result<transport::CommId> connect(const transport::Handle& handle) override;
  transport::CommState state(transport::CommId comm) const override;
  std::string_view failure(transport::CommId comm) const override;
  void close(transport::CommId comm) override;
  Result<uint32_t> register_memory(void* data, uint64_t bytes) override;
  void deregister_memory(uint32_t memory) override;
  std::optional<transport::RequestId> post_send(transport::CommId comm,
                                                const transport::Buffer& buffer,
                                                uint32_t tag) override;
  std::optional<transport::RequestId> post_recv(transport::CommId comm,
                                                const transport::Buffer& buffer,
                                                uint32_t tag) override;
  transport::Completion test(transport::RequestId request) override;
  void progress(TimeNs until) override;
  void set_listener(transport::ProgressListener* listener) override { listener_ = listener; }

 private:
  struct Comm;
  using Comms = transport::CommTable<TcpListener, Comm>;

  explicit RcTransport(const RcTransportConfig& config);
  TcpConfig tcp() const;
  std::optional<transport::RequestId> post(transport::CommId comm, const transport::Buffer& buffer,
                                           uint32_t tag);
  void take_comms(transport::ListenId id, Comms::Listening& listening);
  bool advance(transport::CommId id, Comm& comm);
  void talk(Comm& comm) const;
  Result<bool> set_up(transport::CommId id, Comm& comm);
  Result<void> on_card(Comm& comm, const RcCard& card);
  void wait(TimeNs until);

  RcTransportConfig config_;
  verbs::Device device_;
  verbs::Channel channel_;
  std::map<uint32_t, verbs::Region> memory_;
  uint32_t next_memory_ = 1;
  Comms comms_;
  bool untold_ = false;  // a comm has failed while something was posted, or came
  transport::ProgressListener* listener_ = nullptr;
};

}  // namespace farspan::baselines
