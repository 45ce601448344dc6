// farspan: routes, live control, and the testbed of transports.
#include <fmt/core.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/nearest.h"
#include "transports/commands.h"

namespace farspan {
namespace {

struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(const std::vector<std::string>& args);
};

constexpr Command kCommands[] = {
    {"link", "the links of a running emulator: list, show, set, cut, restore, epoch", CmdLink},
    {"route", "the fiber between two places, and its delay term by term", CmdRoute},
};

std::string Usage() {
  std::string text = "Usage: farspan COMMAND [ARGS]\n\n";
  for (const Command& command : kCommands) {
    text += fmt::format("  {:<10} {}\n", command.name, command.summary);
  }
  return text + "\n`farspan COMMAND --help` says more.\n";
}

int Run(const std::vector<std::string>& words) {
  const std::string name = words.empty() ? "" : words.front();
  if (name == "--help" || name == "-h" || name == "help") {
    fmt::print("{}", Usage());
    return kExitGood;
  }
  std::vector<std::string_view> known;
  for (const Command& command : kCommands) {
    if (command.name == name) return command.run({words.begin() + 1, words.end()});
    known.push_back(command.name);
  }
  if (!name.empty()) {
    fmt::print(stderr, "farspan: unknown command \"{}\". {}\n", name, DidYouMean(name, known));
  }
  fmt::print(stderr, "{}", Usage());
  return kExitUsage;
}

}  // namespace

int Report(const Error& error) {
  fmt::print(stderr, "farspan: {}\n", error.text());
  switch (error.code) {
    case ErrorCode::kMachine:
      return kExitMachine;
    case ErrorCode::kIo:
    case ErrorCode::kConflict:
      return kExitFailed;
    case ErrorCode::kInvalid:
    case ErrorCode::kNotFound:
      break;
  }
  return kExitUsage;
}

}  // namespace farspan

int main(int argc, char** argv) { return farspan::Run({argv + 1, argv + argc}); }
