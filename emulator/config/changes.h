// Live changes as people write them, to changes of one direction of a link.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/link/spec.h"

namespace farspan::config {

// Keys: distance, delay, rtt (at most one of them), rate, loss, jitter with the syntax of the
// configuration file, and lane, a number from 0, for those of them that are per lane (all lanes
// where it is missing). A new distance keeps the lane's glass and equipment; delay and rtt replace
// both. Files cannot be named: whoever may change a link need not be allowed to read them.
// `current` is the direction as it is now. An error's context is the key.
Result<std::vector<link::Change>> ChangesFrom(const link::DirectionSpec& current,
                                              const std::map<std::string, std::string>& settings);

}  // namespace farspan::config
