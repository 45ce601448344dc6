// What `farspan compare` and `farspan gate` share: finding a scenario, and how to run it.
#pragma once

#include <initializer_list>
#include <string>

#include "emulator/cli/command_line.h"
#include "emulator/cli/write_text.h"
#include "transports/testbed/compare.h"
#include "transports/testbed/scenario.h"

namespace farspan {

void AddRunOptions(cli::Options& options);       // jobs
void AddScenarioOptions(cli::Options& options);  // what is run instead of what the file says
// With what the options change.
Result<testbed::Scenario> OpenScenario(const std::string& name,
                                       const boost::program_options::variables_map& values);
// Whether the files that these options name can be written, to be asked before anything runs.
Result<void> CheckOutputs(const boost::program_options::variables_map& values,
                          std::initializer_list<const char*> options);
testbed::CompareOptions RunOptions(const boost::program_options::variables_map& values);

}  // namespace farspan
