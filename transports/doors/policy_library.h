// Policies from a shared library, see transports/core/policies.h.
#pragma once

#include <string>

#include "emulator/base/result.h"

namespace farspan::doors {

Result<void> LoadPolicies(const std::string& path);

}  // namespace farspan::doors
