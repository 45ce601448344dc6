// Where a subcommand's configuration comes from: --config FILE, or --wire A,B with a link's keys as
// options; --set on top of either.
#pragma once

#include <boost/program_options.hpp>

#include "emulator/base/result.h"
#include "emulator/cli/command_line.h"
#include "emulator/config/schema.h"

namespace farspan {

void AddConfigOptions(cli::Options& options);

Result<config::EmulatorConfig> ReadConfig(const boost::program_options::variables_map& values);

}  // namespace farspan
