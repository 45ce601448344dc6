// The queue pairs of a link as JSON, schema farspan.queue_pairs.v1.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/roce/qp_counters.h"

namespace farspan::control {

inline constexpr size_t kQueuePairsShown = 100;

// The `limit` that carried most bytes, those first.
std::string QueuePairsJson(std::string_view link, std::vector<roce::QpSnapshot> queue_pairs,
                           size_t limit);
// Of a request's "limit"; empty: kQueuePairsShown.
Result<size_t> ParseLimit(std::string_view text);

}  // namespace farspan::control
