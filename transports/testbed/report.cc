#include "transports/testbed/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

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

// By more than a tenth.
template <typename Value>
bool Differs(const CompareRecord& record, Value value) {
  const auto [least, most] =
      std::minmax_element(record.points.begin(), record.points.end(),
                          [&](const auto& a, const auto& b) { return value(a) < value(b); });
  return value(*most) > 1.1 * value(*least);
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

// `against` and `x_label` name what `x` gives of a point.
template <typename X>
LinePlot SlowdownOver(const CompareRecord& record, uint64_t bytes, std::string_view against,
                      std::string x_label, X x) {
  return {.title = fmt::format("{}, {}: slowdown against {} (95 % intervals)", record.title,
                               BytesToText(bytes), against),
          .x_label = std::move(x_label),
          .y_label = "mean / lossless bound",
          .log_x = true,
          .log_y = true,
          .lines = Lines(record, bytes, x,
                         [](const Row& row, double seconds) { return seconds / row.bound_s; })};
}

LinePlot SlowdownOverLoss(const CompareRecord& record, uint64_t bytes) {
  return SlowdownOver(record, bytes, "loss", "loss of a full datagram",
                      [](const auto& point) { return point.loss; });
}

LinePlot SlowdownOverBurst(const CompareRecord& record, uint64_t bytes) {
  return SlowdownOver(record, bytes, "length of a loss", "mean length of a loss, frames",
                      [](const auto& point) { return point.burst; });
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

bool HaveLengths(const CompareRecord& record) {
  return record.sweep == "distance" &&
         std::all_of(record.points.begin(), record.points.end(),
                     [](const auto& point) { return ParseLength(point.value).has_value(); });
}

// The size of an all-reduce is a bucket's.
bool IsBucket(const CompareRecord& record, uint64_t bytes, const TrainingStep& step) {
  return record.collective == "all_reduce" && bytes <= step.gradient_bytes;
}

LinePlot StepOverDistance(const CompareRecord& record, uint64_t bytes, const TrainingStep& step) {
  const bool lengths = HaveLengths(record);
  const auto x = [lengths](const CompareRecord::Point& point) {
    if (!lengths) return point.rtt_s * 1e3;
    return static_cast<double>(ParseLength(point.value)->mm) * 1e-6;
  };
  const auto y = [&](const Row& row, double seconds) {
    return StepSeconds(step, row.bytes, seconds) / ToSeconds(step.compute);
  };
  LinePlot plot{.title = fmt::format("{}, {} buckets: step time against distance", record.title,
                                     BytesToText(bytes)),
                .x_label = fmt::format("{}   (each step: {} of gradients, {} of computation)",
                                       lengths ? "distance, km" : "round trip, ms",
                                       BytesToText(step.gradient_bytes), ToText(step.compute)),
                .y_label = "step time / computation (model)",
                .log_x = true,
                .log_y = true,
                .lines = Lines(record, bytes, x, y)};
  PlotLine bound{.name = "lossless bound", .dashed = true};
  for (size_t point = 0; point < record.points.size(); ++point) {
    const auto row = std::find_if(record.rows.begin(), record.rows.end(), [&](const Row& one) {
      return one.point == point && one.bytes == bytes;
    });
    if (row == record.rows.end()) continue;
    bound.x.push_back(x(record.points[point]));
    bound.y.push_back(y(*row, row->bound_s));
  }
  plot.lines.push_back(std::move(bound));
  return plot;
}

bool RoundTripsDiffer(const CompareRecord& record) {
  return Differs(record, [](const auto& point) { return point.rtt_s; });
}

// The best tail that the samples stand for, p99.9 if all rows of the size have it; nothing where
// some have none.
std::optional<LinePlot> TailOverOverhead(const CompareRecord& record, uint64_t bytes) {
  const auto all_have = [&](auto tail) {
    return std::all_of(record.rows.begin(), record.rows.end(), [&](const Row& row) {
      return row.bytes != bytes || !row.failure.empty() || (row.*tail && row.user_bytes > 0);
    });
  };
  const bool p999 = all_have(&Row::p999);
  if (!p999 && !all_have(&Row::p99)) return std::nullopt;
  const std::string name = p999 ? "p99.9" : "p99";
  LinePlot plot{.title = fmt::format("{}, {}: {} against what the WAN carries", record.title,
                                     BytesToText(bytes), name),
                .x_label = "bytes on the WAN beyond the user data / user data",
                .y_label = name + " / lossless bound",
                .log_x = true,
                .log_y = true,
                .lines = {}};
  for (const std::string& contender : Contenders(record)) {
    PlotLine line{.name = contender};
    for (const Row& row : record.rows) {
      if (row.bytes != bytes || row.contender != contender || !row.failure.empty()) continue;
      const Estimate& tail = p999 ? *row.p999 : *row.p99;
      line.x.push_back((row.wan_bytes - row.user_bytes) / row.user_bytes);
      line.y.push_back(tail.value / row.bound_s);
      line.low.push_back(tail.low / row.bound_s);
      line.high.push_back(tail.high / row.bound_s);
    }
    plot.lines.push_back(std::move(line));
  }
  return plot;
}

// Of the first samples: what came, and what was spent on losses, by intervals. It ends at three
// times what the fastest took: the slow ones must not squeeze the rest.
PanelPlot OverTime(const CompareRecord& record, size_t point, uint64_t bytes) {
  const std::string& value = record.points[point].value;
  PanelPlot plot{.title = fmt::format("{}, {}{}: one sample over time", record.title,
                                      BytesToText(bytes), value.empty() ? "" : ", " + value),
                 .x_label = "since the start, ms",
                 .y_label = "Gb/s per rank",
                 .step = record.over_time_s * 1e3,
                 .marks = {},
                 .panels = {}};
  std::vector<const Row*> rows;
  size_t fastest = std::numeric_limits<size_t>::max() / 3, slowest = 0;
  for (const Row& row : record.rows) {
    if (row.point != point || row.bytes != bytes || row.received_bytes.empty()) continue;
    rows.push_back(&row);
    fastest = std::min(fastest, row.received_bytes.size());
    slowest = std::max(slowest, row.received_bytes.size());
  }
  const size_t shown = std::min(3 * fastest, slowest);
  const double to_rate =
      8e-9 / (record.over_time_s * static_cast<double>(std::max<uint64_t>(record.ranks, 1)));
  for (const Row* row : rows) {
    Panel panel{.name = row->contender, .note = {}, .lines = {}};
    const auto add = [&](const char* name, const std::vector<double>& intervals) {
      PlotLine line{.name = name};
      for (size_t i = 0; i < std::min(shown, intervals.size()); ++i) {
        line.x.push_back(static_cast<double>(i) * plot.step);
        line.y.push_back(intervals[i] * to_rate);
      }
      panel.lines.push_back(std::move(line));
    };
    add("received", row->received_bytes);
    add("sent again", row->resent_bytes);
    add("parity sent", row->parity_bytes);
    const size_t all = row->received_bytes.size();
    if (all > shown) {
      panel.note =
          fmt::format("goes on until {:.3g} s", static_cast<double>(all) * record.over_time_s);
    }
    plot.panels.push_back(std::move(panel));
  }
  for (const auto& [at_s, what] : record.points[point].events) {
    if (at_s < record.over_time_s * static_cast<double>(shown)) {
      plot.marks.push_back({at_s * 1e3, what});
    }
  }
  return plot;
}

struct MapAxis {
  std::string label;
  std::vector<std::string> names;
  std::function<size_t(const Row&)> at;
};

MapAxis PointAxis(const CompareRecord& record) {
  MapAxis axis{record.sweep, {}, [](const Row& row) { return row.point; }};
  constexpr size_t kFits = 14;  // what is written as a table does not: loss by its mean length
  for (const CompareRecord::Point& point : record.points) {
    axis.names.push_back(point.value.size() <= kFits
                             ? point.value
                             : fmt::format("{:.2g} by {:g}", point.loss, point.burst));
  }
  return axis;
}

template <typename Value>
size_t IndexOf(const std::vector<Value>& values, const Value& value) {
  return static_cast<size_t>(std::find(values.begin(), values.end(), value) - values.begin());
}

MapAxis SizeAxis(const CompareRecord& record) {
  const auto sizes = Sizes(record);
  MapAxis axis{"size", {}, [sizes](const Row& row) { return IndexOf(sizes, row.bytes); }};
  for (const uint64_t bytes : sizes) axis.names.push_back(BytesToText(bytes));
  return axis;
}

MapAxis ContenderAxis(const CompareRecord& record) {
  const auto names = Contenders(record);
  return {"contender", names, [names](const Row& row) { return IndexOf(names, row.contender); }};
}

// The greatest value of the rows that belong in a field; a NaN belongs nowhere.
HeatMap MapOf(const CompareRecord& record, const std::string& what, const MapAxis& across,
              const MapAxis& down, const std::function<double(const Row&)>& value) {
  HeatMap map{.title = record.title + ": " + what,
              .x_label = across.label,
              .y_label = down.label,
              .columns = across.names,
              .rows = down.names,
              .values = {down.names.size(), std::vector<double>(across.names.size(), kNone)}};
  for (const Row& row : record.rows) {
    double& field = map.values[down.at(row)][across.at(row)];
    if (row.failure.empty()) field = std::fmax(field, value(row));
  }
  return map;
}

bool HasValues(const HeatMap& map) {
  return std::any_of(map.values.begin(), map.values.end(), [](const auto& row) {
    return std::any_of(row.begin(), row.end(), [](double value) { return std::isfinite(value); });
  });
}

double Slowdown(const Row& row) { return row.mean_s / row.bound_s; }

// Of the fastest that is no baseline; none where the class has no baseline.
HeatMap BestFactors(const CompareRecord& record, const std::string& rate_class) {
  return MapOf(record, fmt::format("best baseline / fastest Span, {}", rate_class),
               PointAxis(record), SizeAxis(record), [&](const Row& row) {
                 const bool counts = !row.baseline && row.rate_class == rate_class && row.factor;
                 return counts ? *row.factor : kNone;
               });
}

HeatMap CoresPer100G(const CompareRecord& record, uint64_t bytes) {
  constexpr double kGigabytesPerSecond = 12.5;
  HeatMap map = MapOf(record, fmt::format("cores for 100 Gb/s, {}", BytesToText(bytes)),
                      PointAxis(record), ContenderAxis(record), [&](const Row& row) {
                        return row.bytes == bytes ? row.cpu_s_per_gb * kGigabytesPerSecond : kNone;
                      });
  map.neutral = std::numeric_limits<double>::max();
  for (const auto& row : map.values) {
    for (const double value : row) map.neutral = std::fmin(map.neutral, value);
  }
  return map;
}

}  // namespace

bool HasSteps(const CompareRecord& record, const TrainingStep& step) {
  return !record.rows.empty() && RoundTripsDiffer(record) &&
         std::any_of(record.rows.begin(), record.rows.end(),
                     [&](const Row& row) { return IsBucket(record, row.bytes, step); });
}

std::vector<ReportPlot> PlotsOf(const CompareRecord& record, const TrainingStep& step) {
  std::vector<ReportPlot> plots;
  const auto add = [&](const std::string& kind, const auto& plot) {
    plots.push_back({record.scenario + "-" + kind, ToSvg(plot), ToCsv(plot)});
  };
  if (record.rows.empty()) return plots;
  const bool losses = Differs(record, [](const auto& point) { return point.loss; });
  const bool bursts = Differs(record, [](const auto& point) { return point.burst; });
  const bool rtts = RoundTripsDiffer(record);
  for (const uint64_t bytes : Sizes(record)) {
    if (losses) add(fmt::format("loss-{}", bytes), SlowdownOverLoss(record, bytes));
    if (bursts && !losses) add(fmt::format("burst-{}", bytes), SlowdownOverBurst(record, bytes));
    if (rtts) add(fmt::format("rtt-{}", bytes), GoodputOverRtt(record, bytes));
    if (rtts && IsBucket(record, bytes, step)) {
      add(fmt::format("step-{}", bytes), StepOverDistance(record, bytes, step));
    }
    if (const auto tail = TailOverOverhead(record, bytes)) {
      add(fmt::format("tail-{}", bytes), *tail);
    }
    if (record.label == "measured") {
      add(fmt::format("cores-{}", bytes), CoresPer100G(record, bytes));
    }
    for (size_t point = 0; point < record.points.size(); ++point) {
      const PanelPlot plot = OverTime(record, point, bytes);
      if (!plot.panels.empty()) add(fmt::format("time-{}-{}", point, bytes), plot);
    }
  }
  if (record.points.size() == 1) {
    add("map",
        MapOf(record, "mean / lossless bound", SizeAxis(record), ContenderAxis(record), Slowdown));
    return plots;
  }
  for (const std::string& rate_class :
       Distinct(record, [](const Row& row) { return row.rate_class; })) {
    const HeatMap factors = BestFactors(record, rate_class);
    if (HasValues(factors)) add("factor-" + rate_class, factors);
  }
  for (const std::string& contender : Contenders(record)) {
    add(fmt::format("map-{}", plots.size()),
        MapOf(record, contender + ", mean / lossless bound", PointAxis(record), SizeAxis(record),
              [&](const Row& row) { return row.contender == contender ? Slowdown(row) : kNone; }));
  }
  return plots;
}

}  // namespace farspan::testbed
