#include "emulator/config/files.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace farspan::config {
namespace {

constexpr size_t kMostBytes = size_t{64} << 20;
constexpr size_t kMostWords = 200;  // of the parser

}  // namespace

Result<std::string> ReadFile(const std::filesystem::path& file) {
  const auto fail = [&](std::string_view why) {
    return Fail(ErrorCode::kInvalid, "cannot read it: " + std::string(why), file.string());
  };
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(status)) return fail("no such file");
  if (std::filesystem::is_directory(status)) return fail("it is a directory");
  if (!std::filesystem::is_regular_file(status) && !std::filesystem::is_fifo(status)) {
    return fail("it is not a file");
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail("permission denied?");
  std::string text;
  char block[65536];
  while (in.read(block, sizeof block), in.gcount() > 0) {
    text.append(block, static_cast<size_t>(in.gcount()));
    if (text.size() > kMostBytes) return fail("it is larger than 64 MiB");
  }
  return text;
}

Result<nlohmann::json> ParseJson(std::string_view text, const std::string& name) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    const std::string_view before = text.substr(0, std::max<size_t>(error.byte, 1) - 1);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const size_t column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
    // "[id] parse error at line 1, column 2: syntax error while parsing value - what, expected"
    const std::string_view words = error.what();
    const size_t dash = words.find(" - ");
    const size_t from = dash == std::string_view::npos ? words.find("] ") + 2 : dash + 3;
    return Fail(ErrorCode::kInvalid,
                "not valid JSON: " + std::string(words.substr(from, kMostWords)),
                name + ':' + std::to_string(line) + ':' + std::to_string(column));
  }
}

}  // namespace farspan::config
