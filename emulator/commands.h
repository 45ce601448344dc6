// The subcommands of `farspan-emulator`, one file each: cmd_NAME.cc.
#pragma once

#include <string>
#include <vector>

#include "emulator/cli/command_line.h"

namespace farspan {

int CmdBench(const std::vector<std::string>& args);
int CmdCheck(const std::vector<std::string>& args);
int CmdRun(const std::vector<std::string>& args);
int CmdSimulate(const std::vector<std::string>& args);

}  // namespace farspan
