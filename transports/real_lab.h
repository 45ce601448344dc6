// The lab of scripts/lab, as `farspan compare --real` uses it.
#pragma once

#include <nlohmann/json.hpp>

#include "emulator/base/result.h"

namespace farspan {

// The path of this program.
std::string OwnProgram();

// Has the lab carry out a plan (transports/testbed/real_compare.h) and gives its results. The lab
// says what it is doing on stderr, and takes back what it made whatever happens to this process.
Result<nlohmann::json> RunInLab(const nlohmann::json& plan);

}  // namespace farspan
