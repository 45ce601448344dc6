// UdpTransport: an Endpoint on UDP sockets; one process's end of Span over a real network.
//
// Each local address is a path. What is due leaves as trains, one call for many datagrams of one
// size. All else as datagram_transport.h.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "emulator/base/result.h"
#include "transports/core/endpoint.h"
#include "transports/drivers/datagram_transport.h"
#include "transports/drivers/udp/socket.h"

namespace farspan::udp {

struct UdpConfig {
  std::vector<Address> local;  // one per path, at most kMaxPaths
  SocketOptions socket;
  bool gso = true;  // false: one datagram per system call's message, for comparison
};

class UdpTransport final : public transport::DatagramTransport {
 public:
  static Result<std::unique_ptr<UdpTransport>> Open(const UdpConfig& config,
                                                    std::unique_ptr<transport::Endpoint> endpoint,
                                                    const transport::Properties& properties);

  const Socket& socket(size_t path) const { return sockets_[path]; }
  size_t paths() const override { return sockets_.size(); }

 private:
  UdpTransport(std::unique_ptr<transport::Endpoint> endpoint,
               const transport::Properties& properties, bool gso);

  transport::Address address(size_t path) const override;
  bool is_address(const transport::Address& address) const override;
  bool receive(TimeNs now) override;
  size_t transmit(std::span<const transport::TxSlot> slots) override;
  void wait(TimeNs until, bool for_room) override;
  size_t build_trains(std::span<const transport::TxSlot> slots);
  size_t extend_train(std::span<const transport::TxSlot> slots, size_t& part);
  void tell_refusal(size_t path);

  bool gso_;
  std::vector<Socket> sockets_;
  size_t full_ = 0;  // the path that transmit() found no room on
  Refusal told_;     // the last refusal that the endpoint was told of
  TimeNs told_at_{};
  std::array<iovec, 3 * kSlots> parts_;
  std::array<Train, Socket::kBatchMax> trains_;
  std::array<Address, Socket::kBatchMax> destinations_;
  std::array<size_t, Socket::kBatchMax + 1> train_slots_;  // each one's first, and the end
};

}  // namespace farspan::udp
