// SpanModel: how long Span takes for a message, from the losses alone: a Monte-Carlo for samples by
// the ten thousand, of messages that the packet simulator needs seconds each for.
//
// One connection, one path, congestion `fixed` at the wire's rate, receives posted, loss
// independent per packet in both directions: tests/bench/span_table's case. Between two losses
// everything is a straight line, so only the losses are drawn (geometric gaps); a run of datagrams
// that arrive is one step. What follows a loss is what transports/core does, in its words:
//
//   the recovery        is the object itself (recovery.h): plan_group(), on_lost(), timeout(). It
//                       is asked with the same LossEstimate, fed a round trip late
//   notice of a gap     by the ACK of the next packet that arrives; is that ACK lost, by that of
//                       the next gap, of 64 packets more, or of RTT / 32 (receiver.cc)
//   repairs             take the next slot, in order of notice; they, their spare copies and parity
//                       are lost like anything else, and noticed in the same way
//   coded blocks        the sender's account of planned and lost symbols, the receiver's of holes
//   nothing follows     patience() runs out: two count as lost, and a PING that gets through tells
//                       of all that left before it (sender_ack.cc)
//   the end             its ACK goes at once, twice more after RTT / 64 each, and at every packet
//                       that still comes
//   window              the first datagram missing holds it; new data waits, repairs do not
//   go-back-N           what comes after the loss until it is noticed is in vain; the losses in it
//                       matter for the notice only
//
// Not modelled: other congestion controllers, reordering, several paths, CPU time, a driver's
// granularity, the ACKs' own time on the wire; limits that bind only where the window is less than
// a round trip (Create refuses that); and a time-out for what arrived but whose ACK was lost,
// except at the end: two ACKs in a row must be. A window that stands still moves on by an ACK that
// is neither lost nor early: after 64 packets, or RTT / 32.
//
// Sources: transports/core at the commit it is built from; Philox (emulator/base/random.h). What it
// is worth is measured against the packet simulator: tests/scenario/span_model_test.cc, and
// tests/bench/model_check for more cases.
//
// Units: seconds from the first bit of a message. Threading: one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <vector>

#include "emulator/base/distributions.h"
#include "emulator/base/result.h"
#include "transports/core/loss_estimate.h"
#include "transports/core/span_config.h"

namespace farspan::testbed {

struct SpanModelOptions {
  transport::SpanConfig
      config;            // recovery, policy, sizes, window, ACKs; controller.rate: the wire's
  TimeNs rtt{};          // propagation only, both ways
  double loss = 0;       // of what the sender sends
  double loss_back = 0;  // of what the receiver sends
  uint64_t seed = 1;
};

struct ModelledMessage {
  double receiver_s = 0;  // until all of it is there
  double sender_s = 0;    // until the sender knows
  uint64_t resent = 0;    // datagrams
  uint64_t parity = 0;
};

class SpanModel {
 public:
  static Result<SpanModel> Create(const SpanModelOptions& options);

  // The next message on the connection, a round trip after the one before was done.
  ModelledMessage exchange(uint64_t datagrams);

 private:
  static constexpr uint32_t kNone = ~0u;
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  // What the link lost and the sender has not acted upon; oldest first. The first reported_ have a
  // time at which the sender hears of them, the first followed_ a later packet or PING that
  // arrived.
  struct Lost {
    uint32_t index = 0;
    uint32_t block = kNone;  // that it is a symbol of
    bool parity = false;
    bool repair = false;
    bool spare = false;
    uint64_t number = 0;
    double sent = 0;
    double heard = kNever;
    uint32_t base = 0;  // first datagram missing, as the same ACK has it
  };
  struct Repair {
    uint32_t index = 0;
    uint32_t block = kNone;
    uint32_t copies = 1;
    bool spare = false;
    double first_sent = 0;
  };
  struct Hole {  // a datagram whose first transmission was lost
    uint32_t index = 0;
    uint32_t block = kNone;
    bool filled = false;
    double known = kNever;  // to the sender, that it is
  };
  struct Block {
    uint32_t data = 0;
    uint32_t planned = 0;  // the sender's account, as in transport::Sender
    uint32_t lost = 0;
    std::vector<uint32_t> missing{};  // lost data that nothing was sent for
    size_t repaired = 0;              // of them that something was sent for after all
    uint32_t parity = 0;              // the receiver's: symbols that came,
    std::vector<uint32_t> holes{};    //   and data that did not
  };
  struct Group {
    uint32_t first = 0;
    uint32_t end = 0;
    uint32_t blocks = 1;
    uint32_t first_block = 0;
    uint32_t parity = 0;
    uint32_t parity_sent = 0;
  };

  SpanModel(const SpanModelOptions& options, transport::RecoveryPtr recovery);

  void run();
  void go_back_n();
  double notice(double lost_at, uint64_t following);
  // The sender.
  void hear();
  void wait();
  bool declare(const Lost& lost);
  void on_timeout();
  void ping();
  double inflight() const;
  double timeout_at() const;
  double given_up(double sent, double followed) const {
    return sent + patience_ + std::min(followed, ack_wait_ + std::min(datagram_s_, rtt_ / 8));
  }
  bool repair_waits();
  void send_repair();
  void send_parity();
  void send_data();
  void start_group();
  uint64_t until_news() const;
  uint64_t window_end();
  bool parity_waits() const {
    return cursor_ == group_.end && group_.parity_sent < group_.blocks * group_.parity;
  }
  double until_dry() const { return static_cast<double>(datagrams_ - cursor_) * datagram_s_; }
  // The link.
  bool loses_next() const { return next_lost_ == next_number_; }
  void lose(Lost lost);
  void deliver(uint64_t count, double each);
  uint64_t gap() { return gap_(word()); }
  uint64_t word() { return Draw(key_, RandomPurpose::kLoss, draws_++).lo; }
  // The receiver.
  void arrive(uint64_t count, double first_at, double each);
  void acknowledge(double at);
  void complete(double at);
  void fire_acks(double until);
  void fill(uint32_t index, double at);
  void decode(Block& block, double at);
  uint32_t base() const;
  void settle();

  const SpanModelOptions options_;
  transport::RecoveryPtr recovery_;
  const StreamKey key_;
  const Geometric gap_;
  const double datagram_s_;
  const double parity_s_;
  const double rtt_;
  const double ack_wait_;
  const double dense_ack_wait_;  // while packets follow each other
  double patience_ = 0;
  double loss_delay_ = 0;
  uint64_t draws_ = 0;
  // Of the connection.
  transport::LossEstimate estimate_;
  uint64_t estimated_ = 0;  // packets that the estimate knows of
  uint64_t next_number_ = 0;
  uint64_t next_lost_ = 0;
  // Of the message.
  ModelledMessage result_;
  uint64_t datagrams_ = 0;
  uint64_t cursor_ = 0;
  double now_ = 0;  // the next slot
  double last_sent_ = 0;
  double timeout_after_ = 0;
  int backoff_ = 0;
  uint32_t known_base_ = 0;
  Group group_;
  std::vector<Block> blocks_;
  std::deque<Repair> repairs_;
  std::deque<Lost> lost_;
  size_t reported_ = 0;
  size_t followed_ = 0;
  std::deque<Hole> holes_;  // by index
  size_t first_open_ = 0;   // of them; what lies before is filled
  uint64_t open_ = 0;
  struct Mark {
    double at;
    uint64_t number;
  };
  std::deque<Mark> marks_;  // packets sent by then
  uint64_t expected_ = 0;   // number
  uint32_t waiting_ = 0;    // for an ACK
  double ack_at_ = kNever;
  double repeat_at_ = kNever;
  int repeats_left_ = 0;
  bool complete_ = false;
  double finished_ = kNever;
};

}  // namespace farspan::testbed
