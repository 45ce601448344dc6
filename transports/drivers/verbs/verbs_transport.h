// VerbsTransport: an Endpoint on an RDMA UD queue pair; Span over RoCEv2.
//
// One port, one queue pair, one path. What is due leaves as one chain of work requests, one
// doorbell. Datagrams are copied once into, and read out of, registered rings: users' buffers need
// no registration, and a send's payload is free once it is copied. The thread sleeps on the
// completion channel. A datagram fits the port's path MTU; the NIC's ICRC covers it, so that Span
// needs no checksum of its own over the payload. All else as datagram_transport.h.
//
// A receive ring that is full drops (no receive is posted), as a UDP socket's buffer does, and Span
// repairs it. A queue pair that fails ends all comms, at once, with its status. A peer's address is
// resolved at connect(), or by its first datagram, in a thread. Not here: InfiniBand ports, several
// ports, zero copy, a service level.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "transports/drivers/datagram_transport.h"
#include "transports/drivers/verbs/address_handles.h"
#include "transports/drivers/verbs/device.h"
#include "transports/drivers/verbs/send_ring.h"

namespace farspan::verbs {

class VerbsTransport final : public transport::DatagramTransport {
 public:
  // The longest datagram is the device's MTU.
  static Result<std::unique_ptr<VerbsTransport>> Open(Device device,
                                                      std::unique_ptr<transport::Endpoint> endpoint,
                                                      const transport::Properties& properties);

  struct Counters {
    uint64_t no_way = 0;  // datagrams whose address could not be resolved, or is not yet
  };
  const Counters& counters() const { return counters_; }

 private:
  static constexpr size_t kReceives = 1024;
  static constexpr size_t kBatch = 64;

  VerbsTransport(Device device, std::unique_ptr<transport::Endpoint> endpoint,
                 const transport::Properties& properties);
  Result<void> set_up();
  Result<void> make_queue_pair();
  void lay_out_receives();
  ibv_ah* make_handle(const Gid& to, bool ecn_capable) const;

  size_t paths() const override { return 1; }
  transport::Address address(size_t path) const override;
  bool is_address(const transport::Address& address) const override;
  void prepare(const transport::Address& address) override;
  bool receive(TimeNs now) override;
  size_t transmit(std::span<const transport::TxSlot> slots) override;
  void wait(TimeNs until, bool for_room) override;

  bool view(const ibv_wc& completion, TimeNs now, transport::RxView& view) const;
  void post_receives(std::span<const ibv_wc> taken);
  bool take_received(TimeNs now);
  void poll_sends();
  void on_failed(const ibv_wc& completion);
  void on_no_way(const transport::Route& route, int error);
  bool arm(ibv_cq* queue, bool& is_armed);
  void take_notifications();

  Device device_;
  Channel channel_;
  CompletionQueue send_queue_, receive_queue_;
  std::vector<uint8_t> send_memory_, receive_memory_;
  Region send_region_, receive_region_;
  std::unique_ptr<AddressHandles> handles_;  // outlives the queue pair that uses them
  QueuePair pair_;
  std::unique_ptr<SendRing> sends_;
  std::vector<ibv_sge> receive_pieces_;
  std::vector<ibv_recv_wr> receives_;
  bool receive_armed_ = false, send_armed_ = false;  // the next completion notifies
  Counters counters_;
  std::string broken_;    // why the queue pair has failed
  bool flushed_ = false;  // what is known of that is no more than its consequence
  bool told_ = false;     // to the endpoint
};

}  // namespace farspan::verbs
