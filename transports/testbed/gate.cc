#include "transports/testbed/gate.h"

#include <fmt/format.h>

#include <algorithm>

#include "transports/testbed/svg_plot.h"

namespace farspan::testbed {
namespace {

using Row = CompareRecord::Row;

constexpr double kBelowBound = 1e-3;  // what rounding to nanoseconds may be

const Row* Find(const CompareRecord& record, const CompareRecord& committed, const Row& row) {
  for (const Row& other : record.rows) {
    if (other.contender == row.contender && other.bytes == row.bytes &&
        record.points[other.point].value == committed.points[row.point].value) {
      return &other;
    }
  }
  return nullptr;
}

std::string Change(std::string_view what, double now, double before, std::string_view unit) {
  return fmt::format("{} {:.5g} {}, was {:.5g} {} ({:+.2f} %)", what, now, unit, before, unit,
                     100 * (now / before - 1));
}

GateRow JudgeRow(const Row& committed, const Row* run, double tolerance) {
  if (run == nullptr) return {{}, false, false, "is not in the run"};
  if (!committed.failure.empty()) {
    if (!run->failure.empty()) return {{}, true, false, "fails, as it did"};
    return {{}, true, true, "failed before, does not now"};
  }
  if (!run->failure.empty()) return {{}, false, false, "failed: " + run->failure};
  const std::string time = Change("mean", run->mean_s * 1e3, committed.mean_s * 1e3, "ms");
  if (run->certificates > 0 && run->valid == 0)
    return {{}, false, false, "no certificate is valid; " + time};
  if (run->mean_s < run->bound_s * (1 - kBelowBound)) {
    return {{}, false, false, time + fmt::format("; the bound is {:.5g} ms", run->bound_s * 1e3)};
  }
  if (run->mean_s > committed.mean_s * (1 + tolerance)) return {{}, false, false, time};
  if (run->wan_bytes > committed.wan_bytes * (1 + tolerance)) {
    return {{},
            false,
            false,
            Change("WAN bytes", run->wan_bytes * 1e-6, committed.wan_bytes * 1e-6, "MB")};
  }
  return {{}, true, run->mean_s < committed.mean_s * (1 - tolerance), time};
}

}  // namespace

std::vector<GateRow> Judge(const CompareRecord& committed, const CompareRecord& run,
                           double tolerance) {
  std::vector<GateRow> rows;
  for (const Row& row : committed.rows) {
    rows.push_back(JudgeRow(row, Find(run, committed, row), tolerance));
    rows.back().name = committed.name(row);
  }
  return rows;
}

bool AllPassed(const std::vector<GateRow>& rows) {
  return std::all_of(rows.begin(), rows.end(), [](const GateRow& row) { return row.passed; });
}

std::string GateText(const std::string& title, const std::vector<GateRow>& rows) {
  std::string text = title + "\n";
  for (const GateRow& row : rows) {
    text += fmt::format("  {}  {}: {}\n", row.passed ? row.better ? "better" : "ok    " : "FAILED",
                        row.name, row.verdict);
  }
  return text;
}

std::string GateJunit(const std::vector<std::pair<std::string, std::vector<GateRow>>>& gates) {
  std::string text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n";
  for (const auto& [title, rows] : gates) {
    const auto failures =
        std::count_if(rows.begin(), rows.end(), [](const GateRow& row) { return !row.passed; });
    text += fmt::format("  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\">\n",
                        EscapeXml(title), rows.size(), failures);
    for (const GateRow& row : rows) {
      text += fmt::format("    <testcase classname=\"{}\" name=\"{}\">", EscapeXml(title),
                          EscapeXml(row.name));
      if (!row.passed) text += fmt::format("<failure message=\"{}\"/>", EscapeXml(row.verdict));
      text += "</testcase>\n";
    }
    text += "  </testsuite>\n";
  }
  return text + "</testsuites>\n";
}

}  // namespace farspan::testbed
