// Executor: runs plans of one rank over a transport's comms; a state machine without I/O.
//
// Every lane has the same ring of slots, at the sender (a message is copied into a slot and stays
// there until the transport has delivered it: the lane's credits) and at the receiver (receives are
// posted ahead into all slots). Lanes outlive plans: the next plan goes on with the same slots, so
// the tail of one collective and the head of the next overlap as NCCL's do.
//
// progress() does what can be done now and returns; call it after anything has happened on the
// transport. Where a rank computes nothing (virtual time with lengths only) memory and reduce are
// null. A plan's codec must outlive its run. Threading: one thread. Ownership: the transport and
// the user's buffers must outlive the executor; it owns the slots. Nothing allocates while a plan
// runs. Not modelled: the time of copies and of reduction (in virtual time they cost nothing).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "transports/collectives/plan.h"
#include "transports/core/transport.h"

namespace farspan::collectives {

struct SlotConfig {
  uint32_t slots = 8;  // per lane, as NCCL_STEPS
  uint64_t slot_bytes = 512 * 1024;
  bool lengths_only = false;
};

// dst = sources[0] + sources[1] + … in this order (or whatever the reduction is). With one source
// it is a copy. dst may be one of the sources.
class Reducer {
 public:
  virtual ~Reducer() = default;
  virtual void reduce(std::span<const std::byte* const> sources, std::byte* dst,
                      uint64_t bytes) = 0;
};

struct Buffers {
  const std::byte* input = nullptr;
  std::byte* output = nullptr;
};

class Executor {
 public:
  Executor(transport::Transport& transport, const SlotConfig& config, Reducer* reducer);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Tells which comm serves a lane. Every lane of a plan must have been added before start().
  void add_receive_lane(const Lane& lane, transport::CommId comm);
  void add_send_lane(const Lane& lane, transport::CommId comm);

  // The plan must stay until finished().
  void start(const Plan& plan, const Buffers& buffers);
  // False, with the reason in failure(), when a comm has failed or a lane's slots could not be
  // registered with the transport.
  bool progress();
  bool finished() const { return unfinished_ == 0; }
  // Everything sent has been delivered: what a process waits for before it closes its comms.
  bool drained() const;
  const std::string& failure() const { return failure_; }

 private:
  struct LaneState;
  struct Running {
    const Program* program = nullptr;
    size_t next = 0;
  };

  LaneState make_lane(const Lane& lane, transport::CommId comm);
  bool post_receives();
  bool collect_completions();
  bool ready(const Primitive& primitive) const;
  bool perform(const Primitive& primitive);
  // What a primitive makes: values, or code, or both.
  struct Made {
    const std::byte* values = nullptr;
    const std::byte* code = nullptr;
  };
  Made compute(const Primitive& primitive);
  Made compute_code(const Primitive& primitive, std::span<const std::byte* const> sources,
                    std::byte* values);
  bool give(const std::vector<uint16_t>& sends, const std::byte* what, uint64_t bytes);
  std::byte* place(const Slice& slice);
  bool fail(const LaneState& lane, const char* doing);

  transport::Transport& transport_;
  SlotConfig config_;
  Reducer* reducer_;
  std::vector<LaneState> receives_, sends_;
  std::vector<uint16_t> receive_of_, send_of_;  // the plan's lane -> ours
  const Plan* plan_ = nullptr;
  Buffers buffers_;
  std::vector<std::byte> scratch_;
  std::vector<std::byte> result_, code_;
  std::vector<Running> running_;
  size_t unfinished_ = 0;
  std::string failure_;
};

}  // namespace farspan::collectives
