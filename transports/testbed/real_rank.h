// One rank of one sample of a comparison over a real network: what SampleRun of compare.cc does for
// all ranks in virtual time, by processes of which each is a rank.
//
// It connects, warms up, and is silent for a round trip. Then whoever runs the sample starts the
// link's epoch and gives all ranks one moment of CLOCK_MONOTONIC to begin at, without a word over
// the link: the ranks must be on one machine. The result is verified, element by element, after the
// time has been taken. One thread.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include "transports/drivers/address.h"
#include "transports/testbed/compare_case.h"

namespace farspan::testbed {

struct RankOrder {
  uint32_t rank = 0;
  uint64_t sample = 0;
  SocketAddress root;   // where rank 0 listens for the others
  SocketAddress local;  // port 0
};

// Says that this rank is ready; gives the moment to begin. The argument is to be called about every
// millisecond.
using AwaitStart = std::function<Result<TimeNs>(const std::function<void()>& meanwhile)>;

// {"seconds", "cpu_s", "resent", "duplicate", "parity"} of this rank: seconds until it had its
// result, the rest until it knew that all had arrived.
Result<nlohmann::json> RunRank(const Case& of, const RankOrder& order, const AwaitStart& await);

}  // namespace farspan::testbed
