// Conformance: what every transport must do, tried on two of its ends.
//
// The cases mirror those that aws-ofi-nccl runs against NCCL plugins (connection, message transfer,
// in-flight close, reuse of a listener) and add what collectives stand on: posting order, zero
// bytes, receives longer than messages, tags, many messages in flight in both directions. Both ends
// live in one process; `pump` moves both until something may have changed (virtual time: runs the
// scheduler). Each case is bounded by `timeout` on the transport's own clock; where a call into the
// transport may itself not return, see conform_library.h.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transports/core/transport.h"

namespace farspan::testbed {

struct ConformanceEnds {
  transport::Transport* a = nullptr;
  transport::Transport* b = nullptr;
  std::function<void()> pump;
  TimeNs timeout{10'000'000'000};
};

struct ConformanceCase {
  std::string name;
  bool passed = false;
  std::string detail;  // of a failure
  // The case's messages. A comm that has failed or was given up is not closed, and its transport
  // may still read and write them: keep them as long as it lives.
  std::deque<std::vector<uint8_t>> buffers{};
};

// Their names; `beyond_nccl`: NCCL's net API does not promise it.
struct ConformanceTitle {
  std::string_view name;
  bool beyond_nccl = false;
};
std::span<const ConformanceTitle> ConformanceTitles();
ConformanceCase RunConformanceCase(const ConformanceEnds& ends, size_t index);
// All of them.
std::vector<ConformanceCase> RunConformance(const ConformanceEnds& ends);

}  // namespace farspan::testbed
