#include "transports/collectives/executor.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "emulator/base/check.h"

namespace farspan::collectives {
namespace {

constexpr size_t kSourcesMax = 256;

}  // namespace

// Messages are numbered; message i lives in slot i % slots. For a sender they are done, then on
// their way, then free slots; for a receiver taken, then arrived, then posted.
struct Executor::LaneState {
  Lane lane;
  transport::CommId comm;
  std::vector<std::byte> memory;
  std::vector<transport::RequestId> requests;
  std::vector<uint64_t> bytes;  // of what has arrived
  uint32_t registered = 0;
  uint64_t done = 0;     // sender: delivered; receiver: taken by a primitive
  uint64_t arrived = 0;  // receiver only
  uint64_t posted = 0;

  size_t slots() const { return requests.size(); }
  std::byte* slot(uint64_t index) {
    return memory.empty() ? nullptr : memory.data() + index % slots() * (memory.size() / slots());
  }
};

Executor::Executor(transport::Transport& transport, const SlotConfig& config, Reducer* reducer)
    : transport_(transport), config_(config), reducer_(reducer) {
  FARSPAN_CHECK(config.slots > 0 && config.slot_bytes > 0);
  FARSPAN_CHECK(config.slots <= transport.properties().max_requests);
  FARSPAN_CHECK(config.lengths_only == (reducer == nullptr));
  if (!config.lengths_only) result_.resize(config.slot_bytes);
}

Executor::~Executor() {
  for (auto* lanes : {&receives_, &sends_}) {
    for (const LaneState& lane : *lanes) {
      if (lane.registered != 0) transport_.deregister_memory(lane.registered);
    }
  }
}

Executor::LaneState Executor::make_lane(const Lane& lane, transport::CommId comm) {
  LaneState state;
  state.lane = lane;
  state.comm = comm;
  state.requests.resize(config_.slots);
  state.bytes.resize(config_.slots);
  if (!config_.lengths_only) {
    state.memory.resize(config_.slots * config_.slot_bytes);
    const auto memory = transport_.register_memory(state.memory.data(), state.memory.size());
    if (memory) {
      state.registered = *memory;
    } else {
      failure_ = memory.error().text();
    }
  }
  return state;
}

void Executor::add_receive_lane(const Lane& lane, transport::CommId comm) {
  receives_.push_back(make_lane(lane, comm));
}

void Executor::add_send_lane(const Lane& lane, transport::CommId comm) {
  sends_.push_back(make_lane(lane, comm));
}

void Executor::start(const Plan& plan, const Buffers& buffers) {
  FARSPAN_CHECK(finished());
  const auto map = [](const std::vector<Lane>& wanted, const std::vector<LaneState>& have,
                      std::vector<uint16_t>& out) {
    out.clear();
    for (const Lane& lane : wanted) {
      const auto found = std::find_if(have.begin(), have.end(),
                                      [&](const LaneState& s) { return s.lane == lane; });
      FARSPAN_CHECK(found != have.end());
      out.push_back(static_cast<uint16_t>(found - have.begin()));
    }
  };
  map(plan.receives, receives_, receive_of_);
  map(plan.sends, sends_, send_of_);
  plan_ = &plan;
  buffers_ = buffers;
  if (!config_.lengths_only) {
    scratch_.resize(plan.scratch_bytes);
    if (plan.codec != nullptr) code_.resize(config_.slot_bytes);
  }
  running_.clear();
  unfinished_ = 0;
  for (const Program& program : plan.programs) {
    running_.push_back({&program, 0});
    if (!program.empty()) ++unfinished_;
  }
}

bool Executor::drained() const {
  return std::all_of(sends_.begin(), sends_.end(),
                     [](const LaneState& lane) { return lane.done == lane.posted; });
}

bool Executor::fail(const LaneState& lane, const char* doing) {
  failure_ = std::string(doing) + " rank " + std::to_string(lane.lane.peer) + ": " +
             std::string(transport_.failure(lane.comm));
  return false;
}

bool Executor::post_receives() {
  for (LaneState& lane : receives_) {
    while (lane.posted < lane.done + lane.slots()) {
      const transport::Buffer buffer{lane.slot(lane.posted), config_.slot_bytes, lane.registered};
      const auto request = transport_.post_recv(lane.comm, buffer, 0);
      if (!request) {
        if (transport_.state(lane.comm) == transport::CommState::kFailed) {
          return fail(lane, "receiving from");
        }
        break;
      }
      lane.requests[lane.posted++ % lane.slots()] = *request;
    }
  }
  return true;
}

bool Executor::collect_completions() {
  for (LaneState& lane : receives_) {
    while (lane.arrived < lane.posted) {
      const size_t slot = lane.arrived % lane.slots();
      const transport::Completion completion = transport_.test(lane.requests[slot]);
      if (completion.progress == transport::Progress::kFailed) return fail(lane, "receiving from");
      if (completion.progress == transport::Progress::kPending) break;
      lane.bytes[slot] = completion.bytes;
      ++lane.arrived;
    }
  }
  for (LaneState& lane : sends_) {
    while (lane.done < lane.posted) {
      const auto completion = transport_.test(lane.requests[lane.done % lane.slots()]);
      if (completion.progress == transport::Progress::kFailed) return fail(lane, "sending to");
      if (completion.progress == transport::Progress::kPending) break;
      ++lane.done;
    }
  }
  return true;
}

bool Executor::progress() {
  if (!failure_.empty()) return false;
  // A receive may be complete as soon as it is posted, and nobody tells of it a second time.
  for (bool moved = true; moved;) {
    if (!post_receives() || !collect_completions()) return false;
    if (unfinished_ == 0) return true;  // the plan may be gone
    moved = false;
    for (Running& running : running_) {
      while (running.next < running.program->size()) {
        const Primitive& primitive = (*running.program)[running.next];
        if (!ready(primitive)) break;
        if (!perform(primitive)) return false;
        moved = true;
        if (++running.next == running.program->size()) --unfinished_;
      }
    }
  }
  return true;
}

bool Executor::ready(const Primitive& primitive) const {
  if (primitive.after_program != kLocal &&
      running_[primitive.after_program].next <= primitive.after_index) {
    return false;
  }
  for (const uint16_t source : primitive.sources) {
    if (source == kLocal) continue;
    const LaneState& lane = receives_[receive_of_[source]];
    if (lane.arrived == lane.done) return false;
  }
  const auto has_credit = [&](uint16_t send) {
    const LaneState& lane = sends_[send_of_[send]];
    return lane.posted < lane.done + lane.slots() &&
           transport_.state(lane.comm) != transport::CommState::kConnecting;
  };
  return std::all_of(primitive.sends.begin(), primitive.sends.end(), has_credit) &&
         std::all_of(primitive.coded_sends.begin(), primitive.coded_sends.end(), has_credit);
}

// The lanes are ready and have free slots, so that a refused send is a failed comm.
bool Executor::give(const std::vector<uint16_t>& sends, const std::byte* what, uint64_t bytes) {
  for (const uint16_t send : sends) {
    LaneState& lane = sends_[send_of_[send]];
    std::byte* slot = lane.slot(lane.posted);
    if (slot != nullptr) std::memcpy(slot, what, bytes);
    const auto request = transport_.post_send(lane.comm, {slot, bytes, lane.registered}, 0);
    if (!request) return fail(lane, "sending to");
    lane.requests[lane.posted++ % lane.slots()] = *request;
  }
  return true;
}

bool Executor::perform(const Primitive& primitive) {
  const bool coded = primitive.coded_sources || primitive.makes_code();
  const uint64_t coded_bytes = coded ? plan_->codec->coded_bytes(primitive.bytes) : 0;
  const Made made = config_.lengths_only ? Made{} : compute(primitive);
  if (!give(primitive.sends, made.values, primitive.bytes) ||
      !give(primitive.coded_sends, made.code, coded_bytes)) {
    return false;
  }
  const uint64_t expected = primitive.coded_sources ? coded_bytes : primitive.bytes;
  for (const uint16_t source : primitive.sources) {
    if (source == kLocal) continue;
    LaneState& lane = receives_[receive_of_[source]];
    if (lane.bytes[lane.done % lane.slots()] != expected) {
      failure_ = "rank " + std::to_string(lane.lane.peer) + " sent " +
                 std::to_string(lane.bytes[lane.done % lane.slots()]) + " bytes where " +
                 std::to_string(expected) +
                 " were expected: do all ranks run the same collective with the same size?";
      return false;
    }
    ++lane.done;
  }
  return true;
}

Executor::Made Executor::compute(const Primitive& primitive) {
  std::array<const std::byte*, kSourcesMax> sources;
  FARSPAN_CHECK(primitive.sources.size() <= sources.size());
  for (size_t i = 0; i < primitive.sources.size(); ++i) {
    const uint16_t source = primitive.sources[i];
    LaneState* lane = source == kLocal ? nullptr : &receives_[receive_of_[source]];
    sources[i] = lane != nullptr ? lane->slot(lane->done) : place(primitive.local);
  }
  const std::span used(sources.data(), primitive.sources.size());
  std::byte* values =
      primitive.target.memory != Memory::kNone ? place(primitive.target) : result_.data();
  if (primitive.makes_code()) return compute_code(primitive, used, values);
  if (primitive.coded_sources) {
    plan_->codec->sum(used, primitive.bytes, values);
  } else if (used.size() > 1) {
    reducer_->reduce(used, values, primitive.bytes);
  } else if (used[0] != values) {
    std::memmove(values, used[0], primitive.bytes);
  }
  return {values, nullptr};
}

Executor::Made Executor::compute_code(const Primitive& primitive,
                                      std::span<const std::byte* const> sources,
                                      std::byte* values) {
  const uint64_t bytes = primitive.bytes;
  Codec& codec = *plan_->codec;
  std::byte* code =
      primitive.coded_target.memory != Memory::kNone ? place(primitive.coded_target) : code_.data();
  if (primitive.coded_sources) {
    codec.sum_to_code(sources, primitive.target.offset, bytes, code);
  } else {
    if (sources.size() > 1) reducer_->reduce(sources, result_.data(), bytes);
    const std::byte* contribution = sources.size() > 1 ? result_.data() : sources[0];
    codec.encode(contribution, primitive.local.offset, bytes, code);
  }
  if (primitive.target.memory != Memory::kNone || !primitive.sends.empty()) {
    const std::byte* const one[] = {code};
    codec.sum(one, bytes, values);
  }
  return {values, code};
}

std::byte* Executor::place(const Slice& slice) {
  switch (slice.memory) {
    case Memory::kInput:
      return const_cast<std::byte*>(buffers_.input) + slice.offset;
    case Memory::kOutput:
      return buffers_.output + slice.offset;
    default:
      return scratch_.data() + slice.offset;
  }
}

}  // namespace farspan::collectives
