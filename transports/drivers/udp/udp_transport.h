// UdpTransport: an Endpoint on UDP sockets; one process's end of Span over a real network.
//
// Each local address is a path: a comm uses path i from local address i to the peer's address i.
// progress() does all the work: it receives, runs timers, sends what is due as trains (one call for
// many datagrams of one size), and sleeps in poll until a datagram, a timer or its own end. Nothing
// spins. A timer wakes the thread tens of microseconds late, and a busy machine later: so a train
// holds what is due within kTrainTime, and the endpoint makes up for what was late by kGranularity
// at most (Linux paces TCP alike: trains of a millisecond, sk_pacing_shift).
//
// Time is CLOCK_MONOTONIC. Threading: one thread calls everything. Nothing allocates after a comm
// is set up.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "transports/core/endpoint.h"
#include "transports/core/transport.h"
#include "transports/drivers/monotonic.h"
#include "transports/drivers/udp/socket.h"

namespace farspan::udp {

struct UdpConfig {
  std::vector<Address> local;  // one per path, at most kMaxPaths
  SocketOptions socket;
  bool gso = true;  // false: one datagram per system call's message, for comparison
};

class UdpTransport final : public transport::Transport {
 public:
  static constexpr size_t kMaxPaths = 4;  // as many addresses as fit into a handle
  static constexpr TimeNs kTrainTime{250'000};
  static constexpr TimeNs kGranularity{1'000'000};  // for SpanConfig

  static Result<std::unique_ptr<UdpTransport>> Open(const UdpConfig& config,
                                                    std::unique_ptr<transport::Endpoint> endpoint,
                                                    const transport::Properties& properties);

  transport::Properties properties() const override { return properties_; }
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

  const Socket& socket(size_t path) const { return sockets_[path]; }
  size_t paths() const { return sockets_.size(); }

 private:
  static constexpr size_t kSlots = 256;

  UdpTransport(std::unique_ptr<transport::Endpoint> endpoint,
               const transport::Properties& properties, bool gso);

  bool receive(TimeNs now);
  void send(TimeNs now);
  size_t send_from(size_t first);
  size_t build_trains(size_t first);
  size_t extend_train(size_t first, size_t& part);
  void wait(TimeNs until, bool for_room) const;

  std::unique_ptr<transport::Endpoint> endpoint_;
  transport::Properties properties_;
  bool gso_;
  std::vector<Socket> sockets_;
  transport::ProgressListener* listener_ = nullptr;

  // Datagrams that the endpoint has given and the kernel has not yet taken: [begin_, end_).
  std::array<transport::TxSlot, kSlots> slots_;
  size_t begin_ = 0, end_ = 0;
  std::array<iovec, 3 * kSlots> parts_;
  std::array<Train, Socket::kBatchMax> trains_;
  std::array<Address, Socket::kBatchMax> destinations_;
  std::array<size_t, Socket::kBatchMax + 1> train_slots_;  // each one's first, and the end
  std::array<transport::Sent, kSlots> sent_;
};

}  // namespace farspan::udp
