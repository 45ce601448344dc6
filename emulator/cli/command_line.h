// What the programs' subcommands share: the table of them, exit codes, errors on stderr, options.
//
// Boost throws on bad usage; that stays in here.
#pragma once

#include <boost/program_options.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"

namespace farspan::cli {

inline constexpr int kExitGood = 0;
inline constexpr int kExitFailed = 1;   // a gate failed, a run is invalid
inline constexpr int kExitUsage = 2;    // bad usage or configuration
inline constexpr int kExitMachine = 3;  // the machine lacks something

struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(const std::vector<std::string>& args);  // the words after the command's name
};

// A whole program: finds the command, or says which there are.
int RunProgram(std::string_view program, std::span<const Command> commands, int argc, char** argv);

// Prints "PROGRAM: ERROR" to stderr and gives the exit code that belongs to it.
int Report(const Error& error);

// A command's own options, with --help added. `usage` is printed above them.
struct Options {
  std::string usage;
  boost::program_options::options_description visible{"Options"};
  boost::program_options::options_description hidden;
  boost::program_options::positional_options_description positional;
};
// `help` is set where --help was given, and then printed.
Result<boost::program_options::variables_map> Parse(const Options& options,
                                                    const std::vector<std::string>& args,
                                                    bool& help);

// Whether a file can be written, to be asked before the work whose result goes there; "" is none.
// Makes and changes nothing.
Result<void> CheckWritable(const std::string& file, std::string_view option);

}  // namespace farspan::cli
