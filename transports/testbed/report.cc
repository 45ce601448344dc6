#include "transports/testbed/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "emulator/base/units.h"
#include "transports/nccl_window.h"
#include "transports/testbed/svg_plot.h"

namespace farspan::testbed {
namespace {

using Row = CompareRecord::Row;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

template <typename Key>
auto Distinct(const CompareRecord& record, Key key) {
  std::vector<std::decay_t<decltype(key(record.rows[0]))>> found;
  for (const Row& row : record.rows) {
    const auto value = key(row);
    if (std::find(found.begin(), found.end(), value) == found.end()) found.push_back(value);
  }
  return found;
}

std::vector<uint64_t> Sizes(const CompareRecord& record) {
  return Distinct(record, [](const Row& row) { return row.bytes; });
}
std::vector<std::string> Contenders(const CompareRecord& record) {
  return Distinct(record, [](const Row& row) { return row.contender; });
}

template <typename Value>
bool Differs(const CompareRecord& record, Value value) {
  std::set<double> values;
  for (const CompareRecord::Point& point : record.points) values.insert(value(point));
  return values.size() > 1;
}

// One line per contender over the points, of the rows of one size. y(row, seconds) turns a time
// into what is drawn.
std::vector<PlotLine> Lines(const CompareRecord& record, uint64_t bytes,
                            const std::function<double(const CompareRecord::Point&)>& x,
                            const std::function<double(const Row&, double)>& y) {
  std::vector<PlotLine> lines;
  for (const std::string& contender : Contenders(record)) {
    PlotLine line{.name = contender};
    for (const Row& row : record.rows) {
      if (row.bytes != bytes || row.contender != contender || !row.failure.empty()) continue;
      line.x.push_back(x(record.points[row.point]));
      line.y.push_back(y(row, row.mean_s));
      const double a = row.mean ? y(row, std::max(row.mean->low, row.mean_s * 1e-3)) : kNone;
      const double b = row.mean ? y(row, row.mean->high) : kNone;
      line.low.push_back(std::min(a, b));
      line.high.push_back(std::max(a, b));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

LinePlot SlowdownOverLoss(const CompareRecord& record, uint64_t bytes) {
  return {.title = fmt::format("{}, {}: slowdown against loss (95 % intervals)", record.title,
                               BytesToText(bytes)),
          .x_label = "loss of a full datagram",
          .y_label = "mean / lossless bound",
          .log_x = true,
          .log_y = true,
          .lines = Lines(
              record, bytes, [](const auto& point) { return point.loss; },
              [](const Row& row, double seconds) { return seconds / row.bound_s; })};
}

LinePlot GoodputOverRtt(const CompareRecord& record, uint64_t bytes) {
  LinePlot plot{
      .title = fmt::format("{}, {}: goodput against round trip", record.title, BytesToText(bytes)),
      .x_label = "round trip, ms",
      .y_label = "goodput, Gb/s",
      .log_x = true,
      .log_y = true,
      .lines = Lines(
          record, bytes, [](const auto& point) { return point.rtt_s * 1e3; },
          [](const Row& row, double seconds) {
            return static_cast<double>(row.bytes) * 8e-9 / seconds;
          })};
  PlotLine credits{.name = "NCCL's credits, 16 x 4 MiB / RTT", .dashed = true};
  PlotLine ring{.name = "NCCL's ring, n / 2 of that", .dashed = true};
  for (const CompareRecord::Point& point : record.points) {
    nccl::Question question;
    question.rtt = {static_cast<int64_t>(point.rtt_s * 1e9)};
    question.rate = {static_cast<uint64_t>(point.rate_bits_per_s)};
    const nccl::Answer answer = nccl::Ask(question);
    credits.x.push_back(point.rtt_s * 1e3);
    ring.x.push_back(point.rtt_s * 1e3);
    credits.y.push_back(answer.simple_per_channel * question.channels * 1e-9);
    ring.y.push_back(answer.ring_per_channel * question.channels * 1e-9);
  }
  plot.lines.push_back(std::move(credits));
  plot.lines.push_back(std::move(ring));
  return plot;
}

HeatMap PointsAndSizes(const CompareRecord& record, const std::string& contender) {
  HeatMap map{.title = fmt::format("{}: {}, mean / lossless bound", record.title, contender),
              .x_label = record.sweep,
              .y_label = "size",
              .columns = {},
              .rows = {},
              .values = {}};
  constexpr size_t kFits = 14;  // what is written as a table does not
  for (const CompareRecord::Point& point : record.points) {
    map.columns.push_back(point.value.size() <= kFits ? point.value
                                                      : fmt::format("{:.2g}", point.loss));
  }
  for (const uint64_t bytes : Sizes(record)) {
    map.rows.push_back(BytesToText(bytes));
    std::vector<double> values(record.points.size(), kNone);
    for (const Row& row : record.rows) {
      if (row.bytes == bytes && row.contender == contender && row.failure.empty()) {
        values[row.point] = row.mean_s / row.bound_s;
      }
    }
    map.values.push_back(std::move(values));
  }
  return map;
}

HeatMap ContendersAndSizes(const CompareRecord& record) {
  HeatMap map{.title = record.title + ": mean / lossless bound",
              .x_label = "size",
              .y_label = "contender",
              .columns = {},
              .rows = Contenders(record),
              .values = {}};
  const std::vector<uint64_t> sizes = Sizes(record);
  for (const uint64_t bytes : sizes) map.columns.push_back(BytesToText(bytes));
  for (const std::string& contender : map.rows) {
    std::vector<double> values(sizes.size(), kNone);
    for (const Row& row : record.rows) {
      if (row.contender != contender || !row.failure.empty()) continue;
      const auto column = std::find(sizes.begin(), sizes.end(), row.bytes) - sizes.begin();
      values[static_cast<size_t>(column)] = row.mean_s / row.bound_s;
    }
    map.values.push_back(std::move(values));
  }
  return map;
}

std::string TableHtml(const CompareRecord& record) {
  const bool measured = record.label == "measured";
  std::string html =
      "<table>\n<tr><th>size</th><th>point</th><th>contender</th><th>class</th><th>mean, ms</th>"
      "<th>95 %</th><th>p99, ms</th><th>goodput, Gb/s</th><th>WAN, MB</th><th>of bound</th>"
      "<th>factor</th>";
  if (measured) html += "<th>CPU s/GB</th><th>valid</th>";
  html += "</tr>\n";
  for (const Row& row : record.rows) {
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td>", BytesToText(row.bytes),
                        EscapeXml(record.points[row.point].value), EscapeXml(row.contender),
                        row.rate_class);
    if (!row.failure.empty()) {
      html += fmt::format("<td colspan=\"{}\">failed: {}</td></tr>\n", measured ? 9 : 7,
                          EscapeXml(row.failure));
      continue;
    }
    html += fmt::format(
        "<td>{:.4g}</td><td>{}</td><td>{}</td><td>{:.3g}</td><td>{:.4g}</td><td>{:.3f}</td>"
        "<td>{}</td>",
        row.mean_s * 1e3,
        row.mean ? fmt::format("± {:.2g} %", 100 * (row.mean->high / row.mean_s - 1)) : "–",
        row.p99 ? fmt::format("{:.4g}", row.p99->value * 1e3) : "–", row.goodput_bits_per_s * 1e-9,
        row.wan_bytes * 1e-6, row.mean_s / row.bound_s,
        row.factor ? fmt::format("{:.2f}", *row.factor) : "–");
    if (measured) {
      html += fmt::format("<td>{:.3g}</td><td>{} of {}</td>", row.cpu_s_per_gb, row.valid,
                          row.certificates);
    }
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

}  // namespace

std::vector<ReportPlot> PlotsOf(const CompareRecord& record) {
  std::vector<ReportPlot> plots;
  const auto add = [&](const std::string& kind, const auto& plot) {
    plots.push_back({record.scenario + "-" + kind, ToSvg(plot), ToCsv(plot)});
  };
  if (record.rows.empty()) return plots;
  const bool losses = Differs(record, [](const auto& point) { return point.loss; });
  const bool rtts = Differs(record, [](const auto& point) { return point.rtt_s; });
  for (const uint64_t bytes : Sizes(record)) {
    if (losses) add(fmt::format("loss-{}", bytes), SlowdownOverLoss(record, bytes));
    if (rtts) add(fmt::format("rtt-{}", bytes), GoodputOverRtt(record, bytes));
  }
  if (record.points.size() > 1) {
    for (const std::string& contender : Contenders(record)) {
      add(fmt::format("map-{}", plots.size()), PointsAndSizes(record, contender));
    }
  } else {
    add("map", ContendersAndSizes(record));
  }
  return plots;
}

std::string ReportHtml(const std::vector<CompareRecord>& records) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Farspan comparison"
      "</title>\n<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}"
      "td,th{border:1px solid #ccc;padding:2px 8px;text-align:right}td:nth-child(3){text-align:"
      "left}</style></head>\n<body><h1>Farspan comparison</h1>\n";
  for (const CompareRecord& record : records) {
    html += fmt::format("<h2>{}</h2>\n<p>{}, {}, {} samples each from seed {}.</p>\n",
                        EscapeXml(record.title), EscapeXml(record.collective),
                        EscapeXml(record.label), record.samples, record.first_seed);
    for (const ReportPlot& plot : PlotsOf(record)) html += plot.svg;
    html += TableHtml(record);
  }
  return html + "</body></html>\n";
}

}  // namespace farspan::testbed
