// nccl-tests' options that mean nothing without GPUs and NCCL: taken at what they are by default,
// so that its command lines work as they are, and refused at anything else.
#pragma once

#include "emulator/cli/command_line.h"

namespace farspan {

void AddNcclTestsOptions(cli::Options& options);

}  // namespace farspan
