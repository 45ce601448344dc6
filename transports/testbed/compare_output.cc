// A comparison as text, Markdown, CSV and JSON. A figure that too few samples stand for is a dash.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "transports/testbed/compare.h"
#include "transports/testbed/svg_plot.h"

namespace farspan::testbed {
namespace {

constexpr std::string_view kNone = "–";

std::string Seconds(double s) {
  if (s < 1e-3) return fmt::format("{:.4g} us", s * 1e6);
  if (s < 1) return fmt::format("{:.4g} ms", s * 1e3);
  return fmt::format("{:.4g} s", s);
}
std::string Seconds(const std::optional<Estimate>& estimate) {
  return estimate ? Seconds(estimate->value) : std::string(kNone);
}

std::string Bytes(double bytes) {
  constexpr std::array kUnits{"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  for (; bytes >= 1000 && unit + 1 < kUnits.size(); ++unit) bytes /= 1000;
  return fmt::format("{:.4g} {}", bytes, kUnits[unit]);
}

std::string Rate(double bits_per_s) {
  if (bits_per_s < 1e6) return fmt::format("{:.3g} kb/s", bits_per_s * 1e-3);
  if (bits_per_s < 1e9) return fmt::format("{:.3g} Mb/s", bits_per_s * 1e-6);
  return fmt::format("{:.3g} Gb/s", bits_per_s * 1e-9);
}

std::string Interval(const Summary& seconds) {
  if (!seconds.mean_interval) return std::string(kNone);
  const double reach = seconds.mean_interval->high - seconds.mean;
  return fmt::format("± {:.2g} %", 100 * reach / seconds.mean);
}

constexpr std::array<std::string_view, 16> kColumns{
    "contender", "class",  "mean",      "95 %",   "p50",   "p99",    "p99.9",    "goodput",
    "WAN bytes", "resent", "duplicate", "parity", "bound", "factor", "CPU s/GB", "valid"};
constexpr size_t kVirtualColumns = 14;
using Cells = std::array<std::string, kColumns.size()>;

bool IsMeasured(std::span<const CompareRow> rows) {
  return std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.measured; });
}
size_t ColumnsOf(std::span<const CompareRow> rows) {
  return IsMeasured(rows) ? kColumns.size() : kVirtualColumns;
}

Cells CellsOf(const Scenario& scenario, const CompareRow& row) {
  const ContenderSpec& contender = scenario.contenders[row.contender];
  Cells cells;
  cells.fill(std::string(kNone));
  cells[0] = contender.name;
  cells[1] = ToText(contender.rate_class);
  if (!row.failure.empty()) {
    cells[2] = "failed: " + row.failure;
    return cells;
  }
  const Summary& seconds = row.seconds;
  cells[2] = Seconds(seconds.mean);
  cells[3] = Interval(seconds);
  cells[4] = Seconds(seconds.p50);
  cells[5] = Seconds(seconds.p99);
  cells[6] = Seconds(seconds.p999);
  cells[7] = Rate(row.goodput_bits_per_s());
  cells[8] = Bytes(row.wan_bytes);
  if (!contender.is_library()) {
    cells[9] = Bytes(row.resent_bytes);
    cells[10] = Bytes(row.duplicate_bytes);
    cells[11] = Bytes(row.parity_bytes);
  }
  cells[12] = fmt::format("{:.3f} x", seconds.mean / row.bound_s);
  if (row.factor) cells[13] = fmt::format("{:.2f}", *row.factor);
  if (row.measured) {
    const size_t valid = row.measured->valid(), all = row.measured->certificates.size();
    cells[14] = fmt::format("{:.3g}", row.measured->cpu_s_per_gb);
    cells[15] = fmt::format("{}{} of {}", valid < all ? "INVALID: " : "", valid, all);
  }
  return cells;
}

std::string Heading(const Scenario& scenario, std::span<const CompareRow> rows) {
  return fmt::format(
      "{}: {} ({}) of {} over {} sites of {} {}, {}, {} samples each, seeds {} to {}",
      scenario.title, collectives::ToText(scenario.collective),
      collectives::ToText(scenario.schedule), ToText(scenario.element), scenario.sites.size(),
      scenario.ranks_per_site, scenario.ranks_per_site == 1 ? "rank" : "ranks",
      IsMeasured(rows) ? "real time" : "virtual time", scenario.samples, scenario.seed,
      scenario.seed + scenario.samples - 1);
}

std::string PointText(const Scenario& scenario, const CompareRow& row) {
  std::string text = BytesToText(row.bytes);
  const std::string& value = scenario.points[row.point].value;
  if (!value.empty()) text += ", " + scenario.sweep + " " + value;
  return text;
}

size_t Width(std::string_view text) {  // of UTF-8
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// Rows of one point and size.
template <typename Visitor>
void ForEachBlock(const std::vector<CompareRow>& rows, Visitor visit) {
  for (size_t begin = 0; begin < rows.size();) {
    size_t end = begin;
    while (end < rows.size() && rows[end].point == rows[begin].point &&
           rows[end].bytes == rows[begin].bytes) {
      ++end;
    }
    visit(std::span(rows).subspan(begin, end - begin));
    begin = end;
  }
}

nlohmann::json EstimateJson(const std::optional<Estimate>& estimate) {
  if (!estimate) return nullptr;
  return {{"value", estimate->value}, {"low", estimate->low}, {"high", estimate->high}};
}

nlohmann::json OverTimeJson(const std::vector<TrafficBytes>& intervals) {
  const auto each = [&](uint64_t TrafficBytes::*member) {
    auto list = nlohmann::json::array();
    for (const TrafficBytes& one : intervals) list.push_back(one.*member);
    return list;
  };
  return {{"received_bytes", each(&TrafficBytes::received)},
          {"resent_bytes", each(&TrafficBytes::resent)},
          {"duplicate_bytes", each(&TrafficBytes::duplicate)},
          {"parity_bytes", each(&TrafficBytes::parity)}};
}

nlohmann::json RowJson(const Scenario& scenario, const CompareRow& row) {
  const ContenderSpec& contender = scenario.contenders[row.contender];
  nlohmann::json one{{"point", row.point},
                     {"value", scenario.points[row.point].value},
                     {"bytes", row.bytes},
                     {"contender", contender.name},
                     {"transport", contender.transport},
                     {"class", ToText(contender.rate_class)},
                     {"tuned", contender.tuned},
                     {"baseline", contender.baseline()},
                     {"schedule", collectives::ToText(contender.schedule)},
                     {"user_bytes", row.user_bytes},
                     {"bound_s", row.bound_s}};
  if (row.measured) {
    one["cpu_s_per_GB"] = row.measured->cpu_s_per_gb;
    one["valid"] = row.measured->valid();
    one["certificates"] = row.measured->certificates;
  }
  if (!row.failure.empty()) {
    one["failure"] = row.failure;
    return one;
  }
  one["mean_s"] = row.seconds.mean;
  one["mean_interval_s"] = EstimateJson(row.seconds.mean_interval);
  one["p50_s"] = EstimateJson(row.seconds.p50);
  one["p99_s"] = EstimateJson(row.seconds.p99);
  one["p999_s"] = EstimateJson(row.seconds.p999);
  one["goodput_bits_per_s"] = row.goodput_bits_per_s();
  one["wan_bytes"] = row.wan_bytes;
  const auto counted = [&](double bytes) {
    return contender.is_library() ? nlohmann::json() : nlohmann::json(bytes);
  };
  one["resent_bytes"] = counted(row.resent_bytes);
  one["duplicate_bytes"] = counted(row.duplicate_bytes);
  one["parity_bytes"] = counted(row.parity_bytes);
  one["cross_bits_per_s"] = row.cross_bits_per_s;
  one["factor"] = row.factor ? nlohmann::json(*row.factor) : nlohmann::json();
  if (!row.over_time.empty()) one["over_time"] = OverTimeJson(row.over_time);
  return one;
}

nlohmann::json PointJson(const Scenario& scenario, const ScenarioPoint& point) {
  const PointView view = ViewOf(scenario, point);
  auto events = nlohmann::json::array();
  for (const PointEvent& event : view.events) {
    events.push_back({{"at_s", event.at_s}, {"what", event.what}});
  }
  return {{"value", point.value},
          {"loss", view.loss},
          {"burst", view.burst},
          {"rtt_s", view.rtt_s},
          {"rate_bits_per_s", view.rate_bits_per_s},
          {"events", std::move(events)}};
}

}  // namespace

std::string CompareText(const Scenario& scenario, const std::vector<CompareRow>& rows) {
  std::string text = Heading(scenario, rows) + "\n";
  const size_t columns = ColumnsOf(rows);
  ForEachBlock(rows, [&](std::span<const CompareRow> block) {
    text +=
        fmt::format("\n{}; bound {}\n", PointText(scenario, block[0]), Seconds(block[0].bound_s));
    std::vector<Cells> lines(1);
    for (size_t c = 0; c < columns; ++c) lines[0][c] = kColumns[c];
    for (const CompareRow& row : block) lines.push_back(CellsOf(scenario, row));
    std::array<size_t, kColumns.size()> widths{};
    for (size_t i = 0; i < lines.size(); ++i) {
      const bool failed = i > 0 && !block[i - 1].failure.empty();
      for (size_t c = 0; c < (failed ? 2 : columns); ++c) {
        widths[c] = std::max(widths[c], Width(lines[i][c]));
      }
    }
    for (const Cells& cells : lines) {
      for (size_t c = 0; c < columns; ++c) {
        const std::string pad(std::max(widths[c], Width(cells[c])) - Width(cells[c]), ' ');
        text += c < 2 ? cells[c] + pad : pad + cells[c];
        text += c + 1 < columns ? "  " : "\n";
        if (!cells[c].starts_with("failed")) continue;
        text.back() = '\n';
        break;
      }
    }
  });
  return text;
}

std::string CompareMarkdown(const Scenario& scenario, const std::vector<CompareRow>& rows) {
  std::string text = "## " + Heading(scenario, rows) + "\n";
  const size_t columns = ColumnsOf(rows);
  ForEachBlock(rows, [&](std::span<const CompareRow> block) {
    text += fmt::format("\n{}; bound {}\n\n|", PointText(scenario, block[0]),
                        Seconds(block[0].bound_s));
    for (size_t c = 0; c < columns; ++c) text += fmt::format(" {} |", kColumns[c]);
    text += "\n|";
    for (size_t c = 0; c < columns; ++c) text += "---|";
    text += '\n';
    for (const CompareRow& row : block) {
      const Cells cells = CellsOf(scenario, row);
      text += '|';
      for (size_t c = 0; c < columns; ++c) text += fmt::format(" {} |", cells[c]);
      text += '\n';
    }
  });
  return text;
}

std::string CompareCsv(const Scenario& scenario, const std::vector<CompareRow>& rows) {
  std::string text =
      "sweep,value,bytes,contender,class,samples,mean_s,mean_low_s,mean_high_s,p50_s,p99_s,p999_s,"
      "goodput_bits_per_s,wan_bytes,resent_bytes,duplicate_bytes,parity_bytes,bound_s,factor,"
      "cpu_s_per_GB,valid,failure\n";
  const auto value = [](const std::optional<Estimate>& estimate) {
    return estimate ? fmt::format("{}", estimate->value) : std::string();
  };
  for (const CompareRow& row : rows) {
    const ContenderSpec& contender = scenario.contenders[row.contender];
    text += fmt::format("{},{},{},{},{},", scenario.sweep, Quoted(scenario.points[row.point].value),
                        row.bytes, Quoted(contender.name), ToText(contender.rate_class));
    if (!row.failure.empty()) {
      text += fmt::format(",,,,,,,,,,,,,{},,,,{}\n", row.bound_s, Quoted(row.failure));
      continue;
    }
    const auto& mean = row.seconds.mean_interval;
    const auto counted = [&](double bytes) {
      return contender.is_library() ? std::string() : fmt::format("{}", bytes);
    };
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},\n", row.seconds.samples,
                        row.seconds.mean, mean ? fmt::format("{}", mean->low) : "",
                        mean ? fmt::format("{}", mean->high) : "", value(row.seconds.p50),
                        value(row.seconds.p99), value(row.seconds.p999), row.goodput_bits_per_s(),
                        row.wan_bytes, counted(row.resent_bytes), counted(row.duplicate_bytes),
                        counted(row.parity_bytes), row.bound_s,
                        row.factor ? fmt::format("{}", *row.factor) : "",
                        row.measured ? fmt::format("{}", row.measured->cpu_s_per_gb) : "",
                        row.measured ? fmt::format("{}", row.measured->valid()) : "");
  }
  return text;
}

nlohmann::json CompareJson(const Scenario& scenario, const std::vector<CompareRow>& rows) {
  nlohmann::json list = nlohmann::json::array();
  for (const CompareRow& row : rows) list.push_back(RowJson(scenario, row));
  nlohmann::json points = nlohmann::json::array();
  for (const ScenarioPoint& point : scenario.points) {
    points.push_back(PointJson(scenario, point));
  }
  return {{"schema", "farspan.compare.v1"},
          {"label", IsMeasured(rows) ? "measured" : "virtual"},
          {"scenario", scenario.name},
          {"title", scenario.title},
          {"collective", collectives::ToText(scenario.collective)},
          {"sites", scenario.sites},
          {"ranks_per_site", scenario.ranks_per_site},
          {"sweep", scenario.sweep},
          {"over_time_s", ToSeconds(scenario.over_time)},
          {"points", std::move(points)},
          {"samples", scenario.samples},
          {"first_seed", scenario.seed},
          {"rows", std::move(list)}};
}

}  // namespace farspan::testbed
