// The subcommands of `farspan`, one file each: cmd_NAME.cc.
#pragma once

#include <string>
#include <vector>

#include "emulator/base/result.h"

namespace farspan {

// Exit codes of every command.
inline constexpr int kExitGood = 0;
inline constexpr int kExitFailed = 1;   // a gate failed, a run is invalid
inline constexpr int kExitUsage = 2;    // bad usage or configuration
inline constexpr int kExitMachine = 3;  // the machine lacks something

// Prints "farspan: ERROR" to stderr and gives the exit code that belongs to it.
int Report(const Error& error);

// `args` are the words after the subcommand's name.
int CmdLink(const std::vector<std::string>& args);
int CmdRoute(const std::vector<std::string>& args);

}  // namespace farspan
