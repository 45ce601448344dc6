#include <fmt/format.h>

#include "emulator/base/units.h"
#include "transports/testbed/report.h"
#include "transports/testbed/svg_plot.h"

namespace farspan::testbed {
namespace {

using Row = CompareRecord::Row;

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

std::string ReportHtml(const std::vector<CompareRecord>& records, const TrainingStep& step) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Farspan comparison"
      "</title>\n<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}"
      "td,th{border:1px solid #ccc;padding:2px 8px;text-align:right}td:nth-child(3){text-align:"
      "left}</style></head>\n<body><h1>Farspan comparison</h1>\n";
  for (const CompareRecord& record : records) {
    html += fmt::format("<h2>{}</h2>\n<p>{}, {}, {} samples each from seed {}.</p>\n",
                        EscapeXml(record.title), EscapeXml(record.collective),
                        EscapeXml(record.label), record.samples, record.first_seed);
    for (const ReportPlot& plot : PlotsOf(record, step)) html += plot.svg;
    html += TableHtml(record);
  }
  return html + "</body></html>\n";
}

}  // namespace farspan::testbed
