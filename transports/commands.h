// The subcommands of `farspan`, one file each: cmd_NAME.cc.
#pragma once

#include <string>
#include <vector>

#include "emulator/cli/command_line.h"

namespace farspan {

int CmdBench(const std::vector<std::string>& args);
int CmdCompare(const std::vector<std::string>& args);
int CmdConform(const std::vector<std::string>& args);
int CmdExternal(const std::vector<std::string>& args);
int CmdGate(const std::vector<std::string>& args);
int CmdLink(const std::vector<std::string>& args);
int CmdNccl(const std::vector<std::string>& args);
int CmdReport(const std::vector<std::string>& args);
int CmdRoute(const std::vector<std::string>& args);

}  // namespace farspan
