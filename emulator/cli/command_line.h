// What the programs' subcommands share: the table of them, exit codes, errors on stderr, options.
//
// Boost throws on bad usage; that stays in here.
#pragma once

#include <boost/program_options.hpp>
#include <functional>
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

// By the user, not by its default.
bool Given(const boost::program_options::variables_map& values, const std::string& option);

// An option is said to do nothing rather than silently does it. `wrong` is asked where the option
// is given, and says what is wrong with it beside the others, and what to use; "": nothing.
struct OptionRule {
  std::string option;
  std::function<std::string(const boost::program_options::variables_map&)> wrong;
};
OptionRule Needs(std::string option, std::string other, std::string otherwise);
OptionRule Excludes(std::string option, std::string other, std::string otherwise);

// A command's own options, with --help added. `usage` is printed above them.
struct Options {
  std::string usage;
  boost::program_options::options_description visible{"Options"};
  boost::program_options::options_description hidden;
  boost::program_options::positional_options_description positional;
  std::vector<OptionRule> rules;
};
// `help` is set where --help was given, and then printed.
Result<boost::program_options::variables_map> Parse(const Options& options,
                                                    const std::vector<std::string>& args,
                                                    bool& help);

// Whether a file can be written, to be asked before the work whose result goes there; "" is none.
// Makes and changes nothing.
Result<void> CheckWritable(const std::string& file, std::string_view option);

}  // namespace farspan::cli
