#include "emulator/cli/command_line.h"

#include <fmt/core.h>

#include <sstream>

#include "emulator/base/nearest.h"

namespace farspan::cli {
namespace {

namespace po = boost::program_options;

std::string program_name = "farspan";

std::string Usage(std::span<const Command> commands) {
  std::string text = fmt::format("Usage: {} COMMAND [ARGS]\n\n", program_name);
  for (const Command& command : commands) {
    text += fmt::format("  {:<10} {}\n", command.name, command.summary);
  }
  return text + fmt::format("\n`{} COMMAND --help` says more.\n", program_name);
}

}  // namespace

int RunProgram(std::string_view program, std::span<const Command> commands, int argc, char** argv) {
  program_name = program;
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string name = words.empty() ? "" : words.front();
  if (name == "--help" || name == "-h" || name == "help") {
    fmt::print("{}", Usage(commands));
    return kExitGood;
  }
  if (name == "--version") {
    fmt::print("{} {}\n", program, FARSPAN_VERSION);
    return kExitGood;
  }
  std::vector<std::string_view> known;
  for (const Command& command : commands) {
    if (command.name == name) return command.run({words.begin() + 1, words.end()});
    known.push_back(command.name);
  }
  if (!name.empty()) {
    fmt::print(stderr, "{}: unknown command \"{}\". {}\n", program, name, DidYouMean(name, known));
  }
  fmt::print(stderr, "{}", Usage(commands));
  return kExitUsage;
}

int Report(const Error& error) {
  fmt::print(stderr, "{}: {}\n", program_name, error.text());
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

Result<po::variables_map> Parse(const Options& options, const std::vector<std::string>& args,
                                bool& help) {
  po::options_description visible;
  visible.add(options.visible).add_options()("help,h", "this");
  po::options_description all;
  all.add(visible).add(options.hidden);
  po::variables_map values;
  try {
    po::store(
        po::command_line_parser(args)
            .options(all)
            .positional(options.positional)
            .style(po::command_line_style::default_style & ~po::command_line_style::allow_guessing)
            .run(),
        values);
    help = values.count("help") != 0;
    if (!help) po::notify(values);
  } catch (const po::error& error) {
    return Fail(ErrorCode::kInvalid, std::string(error.what()) + "; see --help");
  }
  if (help) {
    std::ostringstream text;
    text << visible;
    fmt::print("{}{}", options.usage, text.str());
  }
  return values;
}

}  // namespace farspan::cli
