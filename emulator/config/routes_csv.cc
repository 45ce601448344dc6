#include <charconv>
#include <cmath>
#include <functional>
#include <set>
#include <utility>

#include "emulator/base/check.h"
#include "emulator/config/routes.h"
#include "emulator/config/routes_data.h"

namespace farspan::config {
namespace {

constexpr std::string_view kMetroColumns =
    "code,name,aliases,country,latitude,longitude,landmass,side,kind,note";
constexpr std::string_view kSegmentColumns = "from,to,quantity,value,p95,source,date,note";

using Fields = std::vector<std::string_view>;

Fields Split(std::string_view text, char separator) {
  Fields fields;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    fields.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return fields;
    begin = end + 1;
  }
}

// Why `row` was refused; empty if it was taken.
using TakeRow = std::function<std::string(const Fields& row)>;

// CSV without quoting: a comma never stands inside a field.
Result<size_t> ForEachRow(std::string_view csv, std::string_view file, std::string_view columns,
                          const TakeRow& take) {
  const size_t width = Split(columns, ',').size();
  size_t number = 0;
  for (std::string_view line : Split(csv, '\n')) {
    const std::string where = std::string(file) + ":" + std::to_string(++number);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (number == 1) {
      if (line == columns) continue;
      return Fail(ErrorCode::kInvalid, "expected the columns " + std::string(columns), where);
    }
    if (line.empty()) continue;
    const Fields row = Split(line, ',');
    if (row.size() != width) {
      return Fail(ErrorCode::kInvalid,
                  "expected " + std::to_string(width) + " fields without commas inside, found " +
                      std::to_string(row.size()),
                  where);
    }
    if (std::string why = take(row); !why.empty()) {
      return Fail(ErrorCode::kInvalid, std::move(why), where);
    }
  }
  return number;
}

bool ParseNumber(std::string_view text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(value);
}

bool ParseSide(std::string_view text, SuezSide& side) {
  constexpr std::pair<std::string_view, SuezSide> kSides[] = {{"none", SuezSide::kNone},
                                                              {"europe", SuezSide::kEurope},
                                                              {"indian", SuezSide::kIndian},
                                                              {"pacific", SuezSide::kPacific}};
  for (const auto& [name, value] : kSides) {
    if (name != text) continue;
    side = value;
    return true;
  }
  return false;
}

std::string TakeMetro(const Fields& row, std::vector<Metro>& metros) {
  Metro metro{.code = std::string(row[0]),
              .name = std::string(row[1]),
              .aliases = {},
              .country = std::string(row[3]),
              .landmass = std::string(row[6]),
              .kind = std::string(row[8]),
              .note = std::string(row[9])};
  for (const std::string_view alias : Split(row[2], ';')) {
    if (!alias.empty()) metro.aliases.emplace_back(alias);
  }
  if (metro.code.empty() || metro.name.empty() || metro.landmass.empty()) {
    return "a metro needs a code, a name and a landmass";
  }
  if (!ParseNumber(row[4], metro.latitude) || std::abs(metro.latitude) > 90) {
    return "latitude: expected degrees from -90 to 90, found \"" + std::string(row[4]) + '"';
  }
  if (!ParseNumber(row[5], metro.longitude) || std::abs(metro.longitude) > 180) {
    return "longitude: expected degrees from -180 to 180, found \"" + std::string(row[5]) + '"';
  }
  if (!ParseSide(row[7], metro.side)) {
    return "side: expected none, europe, indian or pacific, found \"" + std::string(row[7]) + '"';
  }
  for (const Metro& other : metros) {
    if (other.code == metro.code) return "code " + metro.code + " is taken already";
  }
  metros.push_back(std::move(metro));
  return {};
}

std::string TakeSegment(const Fields& row, const std::set<std::string_view>& codes,
                        std::set<std::pair<std::string_view, std::string_view>>& pairs,
                        std::vector<Segment>& segments) {
  for (const std::string_view end : {row[0], row[1]}) {
    if (!codes.contains(end)) return "no metro has the code \"" + std::string(end) + '"';
  }
  if (row[0] == row[1]) return "a segment joins two different metros";
  if (!pairs.insert(std::minmax(row[0], row[1])).second) {
    return "this pair has a segment already: one source per pair";
  }
  Segment segment{.from = std::string(row[0]),
                  .to = std::string(row[1]),
                  .source = std::string(row[5]),
                  .date = std::string(row[6]),
                  .note = std::string(row[7])};
  if (row[2] == "rtt_ms") {
    segment.quantity = SegmentQuantity::kRttMs;
  } else if (row[2] != "glass_km") {
    return "quantity: expected glass_km or rtt_ms, found \"" + std::string(row[2]) + '"';
  }
  if (!ParseNumber(row[3], segment.value) || segment.value <= 0 || segment.value > 100'000) {
    return "value: expected a positive number, found \"" + std::string(row[3]) + '"';
  }
  if (!row[4].empty() && (!ParseNumber(row[4], segment.p95) || segment.p95 < segment.value)) {
    return "p95: expected nothing or a number not below the value, found \"" + std::string(row[4]) +
           '"';
  }
  if (segment.source.empty() || segment.date.empty()) return "a segment needs a source and a date";
  segments.push_back(std::move(segment));
  return {};
}

}  // namespace

Result<RouteData> ParseRouteData(std::string_view metros_csv, std::string_view segments_csv) {
  RouteData data;
  const auto metros = ForEachRow(metros_csv, "metros.csv", kMetroColumns,
                                 [&](const Fields& row) { return TakeMetro(row, data.metros); });
  if (!metros) return tl::unexpected(metros.error());
  std::set<std::string_view> codes;
  for (const Metro& metro : data.metros) codes.insert(metro.code);
  std::set<std::pair<std::string_view, std::string_view>> pairs;
  const auto segments =
      ForEachRow(segments_csv, "segments.csv", kSegmentColumns,
                 [&](const Fields& row) { return TakeSegment(row, codes, pairs, data.segments); });
  if (!segments) return tl::unexpected(segments.error());
  return data;
}

const RouteData& BuiltInRoutes() {
  static const RouteData data = [] {
    auto parsed = ParseRouteData(kMetrosCsv, kSegmentsCsv);
    FARSPAN_CHECK(parsed.has_value());
    return *std::move(parsed);
  }();
  return data;
}

}  // namespace farspan::config
