// RcComm: a comm of verbs RC as NCCL's net_ib drives it.
//
// Source: NCCL 2.30 (src/transport/net_ib): a posted receive becomes a CTS, an RDMA WRITE of 64
// bytes into the sender's FIFO over the first queue pair; the sender then posts RDMA WRITEs with
// immediate data, on the queue pairs in turn or, split, a piece on each of them. A send is done
// when its last packet is acknowledged, a receive when everything before and with its immediate
// data has come. The window is NCCL's own: what has been posted; see nccl_window.h. Not modelled:
// adaptive routing's separate immediate (InfiniBand only), grouped receives, RDMA READ flushes,
// several devices per comm. A receiver learns nothing of a peer that vanishes, as there.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "transports/baselines/model_comm.h"
#include "transports/baselines/rc_requester.h"
#include "transports/baselines/rc_responder.h"

namespace farspan::baselines {

class RcComm final : public ModelComm {
 public:
  RcComm(ModelContext& context, const CommSetup& setup);

 private:
  // Where the message that is coming goes; go-back-N tells it with the first packet only.
  struct Incoming {
    uint64_t message = 0;
    uint64_t first = 0;  // PSN
    uint64_t offset = 0;
    uint64_t bytes = 0;  // of the message
  };
  struct QueuePair {
    std::unique_ptr<RcRequester> requester;
    std::unique_ptr<RcResponder> responder;
    Incoming incoming;
    std::map<uint64_t, Incoming> ends;  // PSN of the immediate -> what it ends; not all is in order
    uint32_t marked = 0;                // CE since the last ACK
  };
  struct Cts {
    bool here = false;
    uint64_t bytes = 0;
    uint32_t tag = 0;
  };

  void on_packet(const Arrival& arrival) override;
  bool transmit_data(TimeNs now, TimeNs horizon, transport::TxSlot& slot) override;
  void on_deadline(TimeNs now) override;
  TimeNs own_deadline() const override;
  void on_posted(TimeNs now) override;

  uint32_t parts() const { return context_.config.rc.split ? context_.config.rc.queue_pairs : 1; }
  void on_data(const Arrival& arrival, QueuePair& pair);
  void on_cts(const Arrival& arrival);
  void place(const Arrival& arrival, QueuePair& pair, uint64_t number);
  void end_parts(QueuePair& pair);
  void end_part(uint64_t message, uint64_t bytes);
  void match(TimeNs now);
  void write(uint64_t message);
  void compose(const QueuePair& pair, const RcRequester::Packet& packet,
               transport::TxSlot& slot) const;
  void check_retries(TimeNs now, const QueuePair& pair);

  std::vector<QueuePair> pairs_;
  std::vector<Cts> cts_;           // sender: by message
  std::vector<uint32_t> missing_;  // parts, by message
  uint64_t matched_ = 0;           // sender: messages written so far
  uint64_t turn_ = 0;              // queue pair of the next unsplit message
  size_t last_sent_ = 0;           // queue pair
};

}  // namespace farspan::baselines
