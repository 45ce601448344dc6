#include "emulator/config/trace_file.h"

#include <charconv>
#include <fstream>
#include <iterator>
#include <limits>
#include <system_error>

namespace farspan::config {
namespace {

std::string_view Trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view TakeLine(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

struct Place {
  std::string_view name;
  size_t line = 0;

  auto fail(size_t column, const std::string& message) const {
    return Fail(ErrorCode::kInvalid, message,
                std::string(name) + ':' + std::to_string(line) + ':' + std::to_string(column));
  }
};

// The unit inside [] or () of a heading, empty if there is none.
std::string UnitOf(std::string_view heading) {
  const size_t open = heading.find_first_of("[(");
  const size_t close = heading.find_last_of("])");
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return {};
  return std::string(Trim(heading.substr(open + 1, close - open - 1)));
}

struct Cells {
  std::string_view time;
  std::string_view value;
  size_t value_column = 0;
};

Result<Cells> Split(std::string_view line, const Place& place) {
  const size_t comma = line.find(',');
  if (comma == std::string_view::npos || line.find(',', comma + 1) != std::string_view::npos) {
    return place.fail(1, "expected two columns, time and value, with one comma");
  }
  return Cells{Trim(line.substr(0, comma)), Trim(line.substr(comma + 1)), comma + 2};
}

bool IsHeading(std::string_view cell) {
  return !cell.empty() &&
         ((cell[0] >= 'a' && cell[0] <= 'z') || (cell[0] >= 'A' && cell[0] <= 'Z'));
}

bool HasUnit(std::string_view cell) {
  return !cell.empty() && !(cell.back() >= '0' && cell.back() <= '9') && cell.back() != '.';
}

template <typename T>
Result<T> ParseCell(std::string_view cell, const std::string& unit, const Place& place,
                    size_t column, Result<T> (*parse)(std::string_view)) {
  const bool bare = !HasUnit(cell) && !unit.empty();
  Result<T> value = bare ? parse(std::string(cell) + ' ' + unit) : parse(cell);
  if (!value) return place.fail(column, value.error().message);
  return value;
}

template <typename T>
Result<std::vector<TracePoint<T>>> ParseTrace(std::string_view csv, std::string_view name,
                                              Result<T> (*parse)(std::string_view)) {
  std::vector<TracePoint<T>> points;
  std::string time_unit;
  std::string value_unit;
  Place place{name};
  bool first = true;
  while (!csv.empty()) {
    ++place.line;
    const std::string_view line = Trim(TakeLine(csv));
    if (line.empty() || line.front() == '#') continue;
    const auto cells = Split(line, place);
    if (!cells) return tl::unexpected(cells.error());
    if (std::exchange(first, false) && IsHeading(cells->time)) {
      time_unit = UnitOf(cells->time);
      value_unit = UnitOf(cells->value);
      continue;
    }
    const auto at = ParseCell(cells->time, time_unit, place, 1, ParseTime);
    if (!at) return tl::unexpected(at.error());
    const auto value = ParseCell(cells->value, value_unit, place, cells->value_column, parse);
    if (!value) return tl::unexpected(value.error());
    if (!points.empty() && *at <= points.back().at) {
      return place.fail(
          1, ToText(*at) + " does not come after the time before it, " + ToText(points.back().at));
    }
    points.push_back({*at, *value});
  }
  if (points.empty()) return place.fail(1, "no rows: expected \"time,value\" in each");
  return points;
}

}  // namespace

Result<std::vector<TracePoint<Rate>>> ParseRateTrace(std::string_view csv, std::string_view name) {
  return ParseTrace<Rate>(csv, name, ParseRate);
}

Result<std::vector<TracePoint<TimeNs>>> ParseDelayTrace(std::string_view csv,
                                                        std::string_view name) {
  return ParseTrace<TimeNs>(csv, name, ParseTime);
}

Result<std::vector<TracePoint<double>>> ParseLossTrace(std::string_view csv,
                                                       std::string_view name) {
  return ParseTrace<double>(csv, name, ParseProbability);
}

Result<std::vector<int16_t>> ParseDistribution(std::string_view text, std::string_view name) {
  std::vector<int16_t> table;
  Place place{name};
  while (!text.empty()) {
    ++place.line;
    const std::string_view whole = TakeLine(text);
    std::string_view line = Trim(whole.substr(0, whole.find('#')));
    while (!line.empty()) {
      const std::string_view word = line.substr(0, line.find_first_of(" \t"));
      int16_t value = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
      if (error != std::errc{} || end != word.data() + word.size()) {
        return place.fail(static_cast<size_t>(word.data() - whole.data()) + 1,
                          "expected whole numbers from -32768 to 32767, as in tc's .dist files");
      }
      table.push_back(value);
      line = Trim(line.substr(word.size()));
    }
  }
  if (table.empty()) return place.fail(1, "no numbers: expected a table as in tc's .dist files");
  return table;
}

}  // namespace farspan::config
