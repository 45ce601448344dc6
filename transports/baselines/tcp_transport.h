// TcpTransport: kernel TCP as NCCL's Socket transport uses it; the baseline of the testbed.
//
// Source: NCCL src/transport/net_socket.cc (v2.30). A comm is `sockets` TCP connections; a message
// is its length on the first of them, then pieces of max(64 KiB, length / sockets) dealt to the
// connections in turn. As there, a send is done when the kernel has taken its bytes, so TCP's own
// buffers are the window; the receiver reads a message only once its receive is posted.
// Differences: one thread drives all sockets by poll (NCCL's default of no helper threads does the
// same from its proxy; its thread count is therefore not an option here), lengths are 8 bytes with
// the tag, and small messages are not put inline with the length.
//
// Time is CLOCK_MONOTONIC. Threading: one thread calls everything. A peer that is gone shows as a
// failed comm within `timeout` where something is owed (TCP_USER_TIMEOUT).
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "transports/baselines/tcp_listener.h"
#include "transports/baselines/tcp_stream.h"
#include "transports/core/comm_table.h"
#include "transports/core/transport.h"
#include "transports/drivers/monotonic.h"

namespace farspan::baselines {

// Of all connections that are open, as the kernel counts them.
struct TcpRepeats {
  uint64_t resent_bytes = 0;
  uint64_t duplicate_bytes = 0;  // that the peer said it had already (DSACK), in whole segments
};

class TcpTransport final : public transport::Transport {
 public:
  static Result<std::unique_ptr<TcpTransport>> Open(const TcpConfig& config);
  ~TcpTransport() override;

  transport::Properties properties() const override;
  TimeNs now() const override { return MonotonicNow(); }
  Result<transport::ListenId> listen(transport::Handle& handle) override;
  void stop_listening(transport::ListenId listener) override;
  std::optional<transport::CommId> accept(transport::ListenId listener) override;
  Result<transport::CommId> connect(const transport::Handle& handle) override;
  transport::CommState state(transport::CommId comm) const override;
  std::string_view failure(transport::CommId comm) const override;
  void close(transport::CommId comm) override;
  std::optional<transport::RequestId> post_send(transport::CommId comm,
                                                const transport::Buffer& buffer,
                                                uint32_t tag) override;
  std::optional<transport::RequestId> post_recv(transport::CommId comm,
                                                const transport::Buffer& buffer,
                                                uint32_t tag) override;
  transport::Completion test(transport::RequestId request) override;
  void progress(TimeNs until) override;
  void set_listener(transport::ProgressListener* listener) override { listener_ = listener; }

  TcpRepeats repeats() const;

 private:
  struct Request;
  struct Comm;
  using Comms = transport::CommTable<TcpListener, Comm>;

  explicit TcpTransport(const TcpConfig& config);
  std::optional<transport::RequestId> post(transport::CommId comm, const transport::Buffer& buffer,
                                           uint32_t tag);
  void release(uint32_t index);
  bool move_all();
  bool take_comms(Comms::Listening& listening);
  bool advance(Comm& comm);
  bool read_headers(Comm& comm, bool& done);
  void deal(Comm& comm, uint32_t request);
  void wait(TimeNs until) const;

  TcpConfig config_;
  Comms comms_;
  std::deque<Request> requests_;
  std::vector<uint32_t> free_requests_;
  bool untold_ = false;  // a request came to an end while it was posted
  transport::ProgressListener* listener_ = nullptr;
};

}  // namespace farspan::baselines
