// CrossFlow: a flow of somebody else's over the same wires, for ever, in virtual time.
//
// Sends messages back to back from one host of a SimNetwork to another, with whatever congestion
// control its endpoints have. It outlives the run of the network; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "transports/core/transport.h"

namespace farspan::testbed {

class CrossFlow final : public transport::ProgressListener {
 public:
  // `message_bytes`: of which 16 are under way.
  CrossFlow(transport::Transport& from, transport::Transport& to, uint64_t message_bytes)
      : from_(from), to_(to), message_bytes_(message_bytes) {}

  Result<void> start();
  void on_progress() override;

 private:
  static constexpr size_t kAhead = 16;
  void keep_posted(bool sends, std::vector<transport::RequestId>& requests);

  transport::Transport& from_;
  transport::Transport& to_;
  const uint64_t message_bytes_;
  transport::ListenId listener_;
  transport::CommId sender_;
  std::optional<transport::CommId> receiver_;
  std::vector<transport::RequestId> sends_, receives_;
};

}  // namespace farspan::testbed
