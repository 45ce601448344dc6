// Plan: what one rank does in one collective, as programs of primitives over lanes.
//
// A primitive is NCCL's generic operation: it takes the next message of some lanes and perhaps a
// piece of local memory, reduces them in the order listed, writes the result to local memory, to
// other lanes, or both. A program is a sequence of primitives that run in order; the programs of a
// plan run beside each other. A lane is one transport comm with a ring of slots at both ends: a
// primitive waits until every lane it takes from has a message and every lane it gives to has a
// free slot (its credit). Ring, direct exchange and hierarchical schedules are all plans, so that
// they differ in nothing but their order.
//
// Since results are copied into slots, a rank is done when its own output is written, while its
// last messages may still be on their way. Each lane is used by one program only, which is what
// gives its messages an order. Units: bytes. A plan is built before it runs and is then constant.
#pragma once

#include <cstdint>
#include <vector>

#include "transports/collectives/codec.h"

namespace farspan::collectives {

enum class Memory : uint8_t { kNone, kInput, kOutput, kScratch };

struct Slice {
  Memory memory = Memory::kNone;
  uint64_t offset = 0;
};

// Lanes between two ranks with the same channel are the two ends of one comm; a lane to send and
// one to receive with the same peer and channel are two comms.
struct Lane {
  uint32_t peer = 0;
  uint32_t channel = 0;
  friend bool operator==(const Lane&, const Lane&) = default;
};

inline constexpr uint16_t kLocal = UINT16_MAX;  // among sources: the local slice

struct Primitive {
  std::vector<uint16_t> sources{};  // receive lanes and kLocal, in the order of the reduction
  Slice local{};                    // what kLocal reads
  Slice target{};                   // kNone: not kept
  std::vector<uint16_t> sends{};    // send lanes that get the result
  uint64_t bytes = 0;               // at most a slot
  // Not before primitive `after_index` of program `after_program` is done; kLocal: no such wait.
  uint16_t after_program = kLocal;
  uint32_t after_index = 0;
  // In a plan with a codec. The sources, kLocal too, are codes; the result's code goes to the lanes
  // and the place below, and what `target` and `sends` get is then what that code says.
  bool coded_sources = false;
  std::vector<uint16_t> coded_sends{};
  Slice coded_target{};

  bool makes_code() const { return !coded_sends.empty() || coded_target.memory != Memory::kNone; }
};

using Program = std::vector<Primitive>;

struct Plan {
  std::vector<Lane> receives;
  std::vector<Lane> sends;
  std::vector<Program> programs;
  uint64_t scratch_bytes = 0;
  Codec* codec = nullptr;

  // The index of a lane, added when it is new.
  uint16_t receive_lane(uint32_t peer, uint32_t channel = 0);
  uint16_t send_lane(uint32_t peer, uint32_t channel = 0);
};

// Bytes that this rank gives to lanes whose peer satisfies `counts`.
template <typename Predicate>
uint64_t SentBytes(const Plan& plan, Predicate counts) {
  uint64_t sum = 0;
  for (const Program& program : plan.programs) {
    for (const Primitive& primitive : program) {
      for (const uint16_t lane : primitive.sends) {
        if (counts(plan.sends[lane].peer)) sum += primitive.bytes;
      }
      for (const uint16_t lane : primitive.coded_sends) {
        if (counts(plan.sends[lane].peer)) sum += plan.codec->coded_bytes(primitive.bytes);
      }
    }
  }
  return sum;
}

}  // namespace farspan::collectives
