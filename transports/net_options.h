// The options that say what `farspan bench` runs on, and which of them mean something where.
#pragma once

#include <boost/program_options.hpp>

#include "emulator/cli/command_line.h"

namespace farspan {

// With rules: an option given where it would do nothing is refused.
void AddNetOptions(cli::Options& options);

// sim: all ranks in virtual time.
bool IsSim(const boost::program_options::variables_map& values);
// --transport is a library's name, and no net is chosen.
bool IsLibrary(const boost::program_options::variables_map& values);

}  // namespace farspan
