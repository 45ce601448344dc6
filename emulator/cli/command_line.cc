#include "emulator/cli/command_line.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <utility>

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

std::string SeeHelp(const po::options_description& options, std::string_view word) {
  std::vector<std::string_view> known;
  for (const auto& option : options.options()) known.push_back(option->long_name());
  word.remove_prefix(std::min(word.find_first_not_of('-'), word.size()));
  const std::string nearest = DidYouMean(word, known);
  return nearest.empty() ? "see --help" : nearest + " Or see --help";
}

template <typename... Integers>
bool HoldsOne(const boost::any& value) {
  return ((value.type() == typeid(Integers) || value.type() == typeid(std::vector<Integers>)) ||
          ...);
}

// Boost reads "-1" as the greatest unsigned number.
void RefuseNegative(const po::parsed_options& parsed, const po::variables_map& values) {
  for (const po::option& option : parsed.options) {
    const boost::any& value = values[option.string_key].value();
    if (!HoldsOne<uint16_t, uint32_t, uint64_t>(value)) continue;
    for (const std::string& text : option.value) {
      if (text.starts_with('-')) {
        throw po::error(fmt::format("--{} {}: expected 0 or more", option.string_key, text));
      }
    }
  }
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
    const std::string nearest = DidYouMean(name, known);
    fmt::print(stderr, "{}: unknown command \"{}\"{}{}\n", program, name,
               nearest.empty() ? "" : "; ", nearest);
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

bool Given(const po::variables_map& values, const std::string& option) {
  return values.count(option) != 0 && !values[option].defaulted();
}

OptionRule Needs(std::string option, std::string other, std::string otherwise) {
  return {std::move(option), [=](const po::variables_map& values) {
            return Given(values, other) ? std::string() : otherwise;
          }};
}

OptionRule Excludes(std::string option, std::string other, std::string otherwise) {
  return {std::move(option), [=](const po::variables_map& values) {
            return Given(values, other) ? otherwise : std::string();
          }};
}

Result<po::variables_map> Parse(const Options& options, const std::vector<std::string>& args,
                                bool& help) {
  po::options_description visible;
  visible.add(options.visible).add_options()("help,h", "this");
  po::options_description all;
  all.add(visible).add(options.hidden);
  po::variables_map values;
  try {
    const auto style =
        po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
    const po::parsed_options parsed = po::command_line_parser(args)
                                          .options(all)
                                          .positional(options.positional)
                                          .style(style)
                                          .run();
    po::store(parsed, values);
    RefuseNegative(parsed, values);
    help = values.count("help") != 0;
    if (!help) po::notify(values);
  } catch (const po::unknown_option& error) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{}; {}", error.what(), SeeHelp(visible, error.get_option_name())));
  } catch (const po::error& error) {
    return Fail(ErrorCode::kInvalid, std::string(error.what()) + "; see --help");
  }
  if (help) {
    std::ostringstream text;
    text << visible;
    fmt::print("{}{}", options.usage, text.str());
    return values;
  }
  for (const OptionRule& rule : options.rules) {
    if (!Given(values, rule.option)) continue;
    if (std::string wrong = rule.wrong(values); !wrong.empty()) {
      return Fail(ErrorCode::kInvalid, std::move(wrong), "--" + rule.option);
    }
  }
  return values;
}

Result<void> CheckWritable(const std::string& file, std::string_view option) {
  const auto fail = [&](const char* why) {
    return Fail(ErrorCode::kIo, fmt::format("cannot write '{}': {}", file, why),
                std::string(option));
  };
  if (file.empty()) return {};
  if (struct stat info{}; stat(file.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return fail("it is a directory");
    if (access(file.c_str(), W_OK) != 0) return fail(std::strerror(errno));
    return {};
  }
  const size_t slash = file.rfind('/');
  const std::string directory = slash == file.npos ? "." : file.substr(0, slash + 1);
  if (access(directory.c_str(), W_OK | X_OK) != 0) return fail(std::strerror(errno));
  return {};
}

}  // namespace farspan::cli
