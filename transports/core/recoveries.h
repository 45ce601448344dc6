// The recoveries that come with Span, and what two of them share.
#pragma once

#include "transports/core/recovery.h"

namespace farspan::transport {

// Go-back-N: from the first datagram missing, everything is sent again.
RecoveryPtr MakeGoBackN(const RecoveryConfig& config);
// Selective repeat: what is missing is sent again.
RecoveryPtr MakeSelectiveRepeat(const RecoveryConfig& config);
// Parity on everything; what it cannot repair is sent again.
RecoveryPtr MakeErasureCoded(const RecoveryConfig& config);
// Selective repeat while injection goes on for longer than a round trip and hides it; parity on
// what leaves within one round trip of the queue running dry. A repair that leaves then, or is one
// of a repair (which a window may wait for), goes in as many copies as make its loss as rare as
// that of a block.
RecoveryPtr MakeAuto(const RecoveryConfig& config);

// As much parity as keeps the probability that any block of the message cannot be decoded at
// config.fallback_target, and as deep an interleave as spreads an expected burst over blocks.
GroupPlan PlanParity(const RecoveryConfig& config, const QueueView& queue);

}  // namespace farspan::transport
