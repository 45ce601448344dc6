// What a command writes where an option says so.
#pragma once

#include <string>

#include "emulator/base/result.h"

namespace farspan {

// `option` is for messages: "--json".
Result<void> WriteText(const std::string& file, const std::string& text, const std::string& option);

}  // namespace farspan
