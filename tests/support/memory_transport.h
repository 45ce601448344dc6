// MemoryTransport: a Transport among ranks of one process, with delays of a virtual clock.
//
// For trying what stands on the transport interface without a transport: every message arrives one
// way after it was sent and its receive was posted, the sender knows one way later. Nothing is
// lost; a comm can be made to fail.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "transports/core/transport.h"

namespace farspan::test {

class MemoryNetwork;

class MemoryTransport final : public transport::Transport {
 public:
  explicit MemoryTransport(MemoryNetwork& network) : network_(network) {}

  transport::Properties properties() const override { return {"memory", 1 << 16, 64, 0, {}}; }
  Result<uint32_t> register_memory(void* data, uint64_t bytes) override;
  TimeNs now() const override;
  Result<transport::ListenId> listen(transport::Handle& handle) override;
  void stop_listening(transport::ListenId /*listener*/) override {}
  std::optional<transport::CommId> accept(transport::ListenId listener) override;
  Result<transport::CommId> connect(const transport::Handle& handle) override;
  transport::CommState state(transport::CommId comm) const override;
  std::string_view failure(transport::CommId /*comm*/) const override { return "made to fail"; }
  void close(transport::CommId /*comm*/) override {}
  std::optional<transport::RequestId> post_send(transport::CommId comm,
                                                const transport::Buffer& buffer,
                                                uint32_t tag) override;
  std::optional<transport::RequestId> post_recv(transport::CommId comm,
                                                const transport::Buffer& buffer,
                                                uint32_t tag) override;
  transport::Completion test(transport::RequestId request) override;
  void progress(TimeNs /*until*/) override {}
  void set_listener(transport::ProgressListener* /*listener*/) override {}

 private:
  MemoryNetwork& network_;
};

class MemoryNetwork {
 public:
  MemoryNetwork(uint32_t ranks, TimeNs one_way) : one_way_(one_way) {
    for (uint32_t i = 0; i < ranks; ++i) {
      transports_.push_back(std::make_unique<MemoryTransport>(*this));
    }
  }

  transport::Transport& transport(uint32_t rank) { return *transports_[rank]; }
  TimeNs now() const { return now_; }
  void advance_to(TimeNs now) { now_ = now; }
  // When the next message arrives or is known to have; kNever: nothing is under way.
  TimeNs next() const {
    const auto later = times_.upper_bound(now_);
    return later == times_.end() ? kNever : *later;
  }
  void fail(transport::CommId comm) { comms_[comm.value / 2].failed = true; }
  void refuse_memory() { refuses_memory_ = true; }

 private:
  friend class MemoryTransport;
  struct Posted {
    transport::Buffer buffer;
    TimeNs at{};
    uint32_t request = 0;
  };
  struct Comm {
    bool accepted = false, failed = false;
    std::deque<Posted> sends, receives;
  };
  struct Request {
    TimeNs at = kNever;
    uint64_t bytes = 0;
    uint32_t comm = 0;
  };

  std::optional<transport::RequestId> post(std::deque<Posted> Comm::*side, transport::CommId comm,
                                           const transport::Buffer& buffer) {
    Comm& state = comms_[comm.value / 2];
    if (state.failed) return std::nullopt;
    const auto request = static_cast<uint32_t>(requests_.size());
    requests_.push_back({kNever, 0, comm.value / 2});
    (state.*side).push_back({buffer, now_, request});
    while (!state.sends.empty() && !state.receives.empty()) match(state);
    return transport::RequestId{request, 0};
  }

  void match(Comm& comm) {
    const Posted send = comm.sends.front(), receive = comm.receives.front();
    comm.sends.pop_front();
    comm.receives.pop_front();
    if (send.buffer.data != nullptr && receive.buffer.data != nullptr) {
      std::memcpy(receive.buffer.data, send.buffer.data, send.buffer.bytes);
    }
    const TimeNs arrival = std::max(send.at, receive.at) + one_way_;
    requests_[receive.request].at = arrival;
    requests_[receive.request].bytes = send.buffer.bytes;
    requests_[send.request].at = arrival + one_way_;
    requests_[send.request].bytes = send.buffer.bytes;
    times_.insert({arrival, arrival + one_way_});
  }

  TimeNs one_way_;
  TimeNs now_{};
  bool refuses_memory_ = false;
  std::vector<std::unique_ptr<MemoryTransport>> transports_;
  std::vector<Comm> comms_;
  std::map<uint32_t, std::deque<uint32_t>> waiting_;  // listener -> comms to accept
  uint32_t listeners_ = 0;
  std::deque<Request> requests_;
  std::set<TimeNs> times_;  // of arrivals, and of their being known
};

inline TimeNs MemoryTransport::now() const { return network_.now(); }

inline Result<uint32_t> MemoryTransport::register_memory(void*, uint64_t) {
  if (network_.refuses_memory_) return Fail(ErrorCode::kMachine, "no memory to lock");
  return 0;
}

inline Result<transport::ListenId> MemoryTransport::listen(transport::Handle& handle) {
  const uint32_t listener = network_.listeners_++;
  handle = {};
  std::memcpy(handle.data(), &listener, sizeof listener);
  return transport::ListenId{listener};
}

inline Result<transport::CommId> MemoryTransport::connect(const transport::Handle& handle) {
  uint32_t listener = 0;
  std::memcpy(&listener, handle.data(), sizeof listener);
  const auto comm = static_cast<uint32_t>(network_.comms_.size());
  network_.comms_.emplace_back();
  network_.waiting_[listener].push_back(comm);
  return transport::CommId{2 * comm};
}

inline std::optional<transport::CommId> MemoryTransport::accept(transport::ListenId listener) {
  auto& waiting = network_.waiting_[listener.value];
  if (waiting.empty()) return std::nullopt;
  const uint32_t comm = waiting.front();
  waiting.pop_front();
  network_.comms_[comm].accepted = true;
  return transport::CommId{2 * comm + 1};
}

inline transport::CommState MemoryTransport::state(transport::CommId comm) const {
  const auto& state = network_.comms_[comm.value / 2];
  if (state.failed) return transport::CommState::kFailed;
  return state.accepted ? transport::CommState::kReady : transport::CommState::kConnecting;
}

inline std::optional<transport::RequestId> MemoryTransport::post_send(
    transport::CommId comm, const transport::Buffer& buffer, uint32_t /*tag*/) {
  return network_.post(&MemoryNetwork::Comm::sends, comm, buffer);
}

inline std::optional<transport::RequestId> MemoryTransport::post_recv(
    transport::CommId comm, const transport::Buffer& buffer, uint32_t /*tag*/) {
  return network_.post(&MemoryNetwork::Comm::receives, comm, buffer);
}

inline transport::Completion MemoryTransport::test(transport::RequestId request) {
  const auto& state = network_.requests_[request.index];
  if (network_.comms_[state.comm].failed) return {transport::Progress::kFailed, 0};
  if (state.at > network_.now_) return {};
  return {transport::Progress::kDone, state.bytes};
}

}  // namespace farspan::test
