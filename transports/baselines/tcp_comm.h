// TcpComm: a comm of kernel TCP as NCCL's Socket transport drives it.
//
// Source: NCCL 2.30 (src/transport/net_socket.cc), as tcp_transport.h has it over the real kernel:
// a message is its length and tag on the first connection, then pieces of max(64 KiB, length /
// sockets) dealt to the connections in turn. A send is done when the send buffers have taken it;
// what has been sent is still delivered when the comm is closed. A receive is filled from what the
// connections hold. Not modelled: the three-way handshake of each connection, helper threads,
// keepalive (a receiver learns nothing of a peer that vanishes while nothing is owed).
#pragma once

#include <deque>
#include <vector>

#include "transports/baselines/model_comm.h"
#include "transports/baselines/tcp_receiver.h"
#include "transports/baselines/tcp_sender.h"

namespace farspan::baselines {

class TcpComm final : public ModelComm {
 public:
  TcpComm(ModelContext& context, const CommSetup& setup);

 private:
  // A part of a message, or its header, that a connection is to write or to read.
  struct Piece {
    uint64_t message = 0;
    uint8_t* at = nullptr;  // null: lengths only
    uint64_t left = 0;
    bool is_header = false;
  };
  struct Stream {
    Stream(const ModelConfig& config, std::unique_ptr<transport::Path> path,
           ModelCounters& counters)
        : sender(config, std::move(path), counters), receiver(config) {}
    TcpSender sender;
    TcpReceiver receiver;
    std::deque<Piece> pieces;
    uint32_t marked = 0;  // CE since the last ACK
  };

  void on_packet(const Arrival& arrival) override;
  bool transmit_data(TimeNs now, TimeNs horizon, transport::TxSlot& slot) override;
  void on_deadline(TimeNs now) override;
  TimeNs own_deadline() const override;
  void on_posted(TimeNs now) override;
  bool flushed() const override;
  bool unread() const override;

  void deal(uint64_t message, void* data, uint64_t bytes);
  void write(TimeNs now);
  void on_segment(const Arrival& arrival, Stream& stream);
  void on_ack(const Arrival& arrival, Stream& stream);
  void read(TimeNs now);
  bool read_stream(TimeNs now, Stream& stream);
  bool begin(TimeNs now, const TcpMessageHeader& header);
  void send_ack(Stream& stream);

  std::deque<Stream> streams_;
  std::vector<uint64_t> left_;  // bytes of each message that are to be taken or filled
  uint64_t begun_ = 0;          // receiver: messages whose header was read
  size_t next_stream_ = 0;      // of the next piece
  size_t last_sent_ = 0;
  bool dead_ = false;
};

}  // namespace farspan::baselines
