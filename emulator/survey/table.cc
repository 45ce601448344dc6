// The rows as people and as programs read them.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "emulator/survey/rows.h"

namespace farspan::survey {
namespace {

std::string Number(double value, const std::string& unit) {
  const std::string text = fmt::format("{:.7g}", value);
  return unit.empty() ? text : text + " " + unit;
}

using Line = std::array<std::string, 6>;

Line ToLine(const Row& row) {
  const bool exact = row.low == row.high;
  return {row.name,
          row.asked ? Number(*row.asked, row.unit) : "-",
          Number(row.measured, row.unit),
          exact ? "exact" : fmt::format("{:.6g} to {:.6g}", row.low, row.high),
          !row.asked   ? "-"
          : row.pass() ? "pass"
                       : "FAIL",
          row.note};
}

}  // namespace

std::string TableText(const std::vector<Row>& rows) {
  std::vector<Line> lines{{"", "asked for", "measured (virtual)", "99.9 % interval", "", ""}};
  for (const Row& row : rows) lines.push_back(ToLine(row));
  Line::size_type column = 0;
  std::array<size_t, 6> widths{};
  for (const Line& line : lines) {
    for (column = 0; column < line.size(); ++column) {
      widths[column] = std::max(widths[column], line[column].size());
    }
  }
  std::string text;
  for (const Line& line : lines) {
    std::string out;
    for (column = 0; column < line.size(); ++column) {
      out += fmt::format("{:<{}}  ", line[column], widths[column]);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    text += out + "\n";
    if (&line == &lines.front()) text += std::string(out.size(), '-') + "\n";
  }
  return text;
}

std::string TableJson(const std::vector<Row>& rows, uint64_t seed) {
  nlohmann::ordered_json out{{"schema", "farspan.simulate.v1"},
                             {"label", "virtual"},
                             {"seed", seed},
                             {"pass", AllPass(rows)},
                             {"rows", nlohmann::ordered_json::array()}};
  for (const Row& row : rows) {
    out["rows"].push_back({{"name", row.name},
                           {"asked", row.asked ? nlohmann::ordered_json(*row.asked) : nullptr},
                           {"measured", row.measured},
                           {"unit", row.unit},
                           {"low", row.low},
                           {"high", row.high},
                           {"pass", row.pass()},
                           {"note", row.note}});
  }
  return out.dump(2) + "\n";
}

}  // namespace farspan::survey
