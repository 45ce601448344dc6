#include "transports/testbed/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace farspan::testbed {
namespace {

constexpr double kWidth = 760, kHeight = 420;
constexpr double kLeft = 80, kRight = 250, kTop = 40, kBottom = 60;
constexpr std::array<std::string_view, 8> kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                   "#e69f00", "#56b4e9", "#000000", "#999999"};
constexpr std::array<std::string_view, 3> kDashes{"", "7 3", "2 3"};

std::string Open(double width, double height, std::string_view title) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{0}\" height=\"{1}\" "
      "fill=\"white\"/>\n<text x=\"{2}\" y=\"22\" font-size=\"15\">{3}</text>\n",
      width, height, kLeft, EscapeXml(title));
}

std::string Text(double x, double y, std::string_view anchor, std::string_view text,
                 std::string_view more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" {}>{}</text>\n", x, y,
                     anchor, more, EscapeXml(text));
}

std::string Stroke(double x1, double y1, double x2, double y2, std::string_view colour) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2,
      y2, colour);
}

// 1, 2 or 5 times a power of ten: the greatest up to a value, or the least from it on.
double RoundDown(double value) {
  const double decade = std::pow(10, std::floor(std::log10(value) + 1e-9));
  for (const double times : {5.0, 2.0}) {
    if (times * decade <= value * (1 + 1e-9)) return times * decade;
  }
  return decade;
}
double RoundUp(double value) { return 10 / RoundDown(10 / value); }

// Places values between two ends of the picture.
class Axis {
 public:
  Axis(bool logarithmic, double from, double to) : log_(logarithmic), from_(from), to_(to) {}

  void include(double value) {
    if (!std::isfinite(value) || (log_ && value <= 0)) return;
    low_ = std::min(low_, value);
    high_ = std::max(high_, value);
  }
  void round() {
    if (low_ > high_) low_ = high_ = 1;
    if (log_) {
      fine_ = high_ < 30 * low_;
      low_ = fine_ ? RoundDown(low_) : std::pow(10, std::floor(std::log10(low_) + 1e-9));
      high_ = fine_ ? RoundUp(high_) : std::pow(10, std::ceil(std::log10(high_) - 1e-9));
      if (low_ == high_) high_ *= 10;
      return;
    }
    low_ = std::min(low_, 0.0);
    if (high_ <= low_) high_ = low_ + 1;
    step_ = std::pow(10, std::floor(std::log10((high_ - low_) / 4)));
    while ((high_ - low_) / step_ > 8) step_ *= step_ * 2 > (high_ - low_) / 4 ? 2.5 : 2;
    high_ = std::ceil(high_ / step_) * step_;
  }
  double at(double value) const {
    const double share =
        log_ ? std::log(value / low_) / std::log(high_ / low_) : (value - low_) / (high_ - low_);
    return from_ + share * (to_ - from_);
  }
  double low() const { return low_; }
  double high() const { return high_; }
  bool shows(double value) const { return std::isfinite(value) && (!log_ || value > 0); }
  std::vector<double> ticks() const {
    std::vector<double> ticks;
    if (log_) {
      for (double at = low_; at <= high_ * 1.001; at = fine_ ? RoundUp(at * 1.1) : at * 10) {
        ticks.push_back(at);
      }
    } else {
      for (double at = low_; at <= high_ + step_ / 2; at += step_) ticks.push_back(at);
    }
    return ticks;
  }

 private:
  bool log_;
  bool fine_ = false;  // logarithmic, with more ticks than one a decade
  double from_, to_;
  double low_ = 1e300, high_ = -1e300, step_ = 1;
};

std::string Frame(const LinePlot& plot, const Axis& x, const Axis& y) {
  std::string svg;
  for (const double tick : x.ticks()) {
    svg += Stroke(x.at(tick), kTop, x.at(tick), kHeight - kBottom, "#dddddd");
    svg += Text(x.at(tick), kHeight - kBottom + 18, "middle", fmt::format("{:g}", tick));
  }
  for (const double tick : y.ticks()) {
    svg += Stroke(kLeft, y.at(tick), kWidth - kRight, y.at(tick), "#dddddd");
    svg += Text(kLeft - 8, y.at(tick) + 4, "end", fmt::format("{:g}", tick));
  }
  svg += Text((kLeft + kWidth - kRight) / 2, kHeight - 16, "middle", plot.x_label);
  const double middle = (kTop + kHeight - kBottom) / 2;
  svg += Text(20, middle, "middle", plot.y_label,
              fmt::format("transform=\"rotate(-90 20 {:.1f})\"", middle));
  return svg;
}

std::string DrawLine(const PlotLine& line, size_t number, const Axis& x, const Axis& y) {
  const std::string_view colour = kColours[number % kColours.size()];
  const std::string_view dash =
      line.dashed ? "2 3" : kDashes[number / kColours.size() % kDashes.size()];
  std::string svg, points;
  for (size_t i = 0; i < line.x.size(); ++i) {
    if (!x.shows(line.x[i]) || !y.shows(line.y[i])) continue;
    const double at = x.at(line.x[i]);
    points += fmt::format("{:.1f},{:.1f} ", at, y.at(line.y[i]));
    if (line.dashed) continue;
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", at,
                       y.at(line.y[i]), colour);
    if (i < line.low.size() && y.shows(line.low[i]) && y.shows(line.high[i])) {
      svg += Stroke(at, y.at(std::max(line.low[i], y.low())), at, y.at(line.high[i]), colour);
    }
  }
  svg += fmt::format(
      "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" "
      "stroke-dasharray=\"{}\"/>\n",
      points, colour, dash);
  const double key = kTop + 8 + 18 * static_cast<double>(number);
  svg += fmt::format(
      "<line x1=\"{0}\" y1=\"{2}\" x2=\"{1}\" y2=\"{2}\" stroke=\"{3}\" stroke-width=\"2\" "
      "stroke-dasharray=\"{4}\"/>\n",
      kWidth - kRight + 14, kWidth - kRight + 38, key, colour, dash);
  return svg + Text(kWidth - kRight + 44, key + 4, "start", line.name);
}

// Two vertices for each run of intervals of the same height.
std::string Steps(const PlotLine& line, double step, const Axis& x, const Axis& y) {
  std::string points;
  for (size_t begin = 0, end = 0; begin < line.x.size(); begin = end) {
    while (end < line.x.size() && line.y[end] == line.y[begin]) ++end;
    const double height = y.at(line.y[begin]);
    points += fmt::format("{:.1f},{:.1f} {:.1f},{:.1f} ", x.at(line.x[begin]), height,
                          x.at(line.x[end - 1] + step), height);
  }
  return points;
}

std::string DrawPanel(const PanelPlot& plot, const Panel& panel, double top, double bottom,
                      const Axis& x, const Axis& y) {
  std::string svg;
  for (const double tick : {y.low(), y.high()}) {
    svg += Stroke(kLeft, y.at(tick), kWidth - kRight, y.at(tick), "#bbbbbb");
    svg += Text(kLeft - 8, y.at(tick) + 4, "end", fmt::format("{:g}", tick));
  }
  for (size_t i = panel.lines.size(); i-- > 0;) {
    const PlotLine& line = panel.lines[i];
    const std::string points = Steps(line, plot.step, x, y);
    if (points.empty()) continue;
    if (i == 0) {
      svg += fmt::format(
          "<polygon points=\"{:.1f},{:.1f} {}{:.1f},{:.1f}\" fill=\"{}\" "
          "fill-opacity=\"0.25\"/>\n",
          x.at(line.x[0]), y.at(0), points, x.at(line.x.back() + plot.step), y.at(0), kColours[i]);
    }
    svg +=
        fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.3\"/>\n",
                    points, kColours[i]);
  }
  const double middle = (top + bottom) / 2;
  svg += Text(kWidth - kRight + 14, middle - 2, "start", panel.name);
  return svg + Text(kWidth - kRight + 14, middle + 14, "start", panel.note,
                    "font-size=\"11\" fill=\"#555\"");
}

}  // namespace

std::string EscapeXml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

std::string ToSvg(const LinePlot& plot) {
  Axis x(plot.log_x, kLeft, kWidth - kRight), y(plot.log_y, kHeight - kBottom, kTop);
  for (const PlotLine& line : plot.lines) {
    for (const double value : line.x) x.include(value);
    // An interval that reaches to nothing must not squeeze a logarithmic axis.
    for (const auto* values : {&line.y, &line.high, plot.log_y ? &line.y : &line.low}) {
      for (const double value : *values) y.include(value);
    }
  }
  x.round();
  y.round();
  std::string svg = Open(kWidth, kHeight, plot.title) + Frame(plot, x, y);
  for (size_t i = 0; i < plot.lines.size(); ++i) svg += DrawLine(plot.lines[i], i, x, y);
  return svg + "</svg>\n";
}

std::string ToSvg(const PanelPlot& plot) {
  constexpr double kHead = 84, kPanelHeight = 62, kGap = 16;
  const double bottom = kHead + (kPanelHeight + kGap) * static_cast<double>(plot.panels.size());
  Axis x(false, kLeft, kWidth - kRight);
  for (const Panel& panel : plot.panels) {
    for (const PlotLine& line : panel.lines) {
      for (const double begin : line.x) x.include(begin + plot.step);
    }
  }
  x.round();
  std::string svg = Open(kWidth, bottom + 44, plot.title);
  for (const double tick : x.ticks()) {
    svg += Stroke(x.at(tick), kHead, x.at(tick), bottom - kGap, "#dddddd");
    svg += Text(x.at(tick), bottom + 2, "middle", fmt::format("{:g}", tick));
  }
  svg += Text((kLeft + kWidth - kRight) / 2, bottom + 24, "middle", plot.x_label);
  for (size_t p = 0; p < plot.panels.size(); ++p) {
    const double top = kHead + (kPanelHeight + kGap) * static_cast<double>(p);
    Axis y(false, top + kPanelHeight, top);
    for (const Panel& panel : plot.panels) {
      for (const PlotLine& line : panel.lines) {
        for (const double value : line.y) y.include(value);
      }
    }
    y.round();
    svg += DrawPanel(plot, plot.panels[p], top, top + kPanelHeight, x, y);
  }
  const double middle = (kHead + bottom - kGap) / 2;
  svg += Text(20, middle, "middle", plot.y_label,
              fmt::format("transform=\"rotate(-90 20 {:.1f})\"", middle));
  for (size_t m = 0; m < plot.marks.size(); ++m) {
    const double at = x.at(plot.marks[m].x), label = kHead - 6 - 13 * static_cast<double>(m % 2);
    svg += Stroke(at, label + 2, at, bottom - kGap, "#000000");
    svg += Text(at + 3, label, "start", plot.marks[m].label);
  }
  double key = kLeft;
  for (size_t i = 0; !plot.panels.empty() && i < plot.panels[0].lines.size(); ++i) {
    const std::string& name = plot.panels[0].lines[i].name;
    svg += fmt::format(
        "<line x1=\"{}\" y1=\"42\" x2=\"{}\" y2=\"42\" stroke=\"{}\" stroke-width=\"3\"/>\n", key,
        key + 22, kColours[i]);
    svg += Text(key + 28, 46, "start", name);
    key += 52 + 7 * static_cast<double>(name.size());
  }
  return svg + "</svg>\n";
}

std::string ToSvg(const HeatMap& map) {
  constexpr double kCell = 92, kCellHeight = 40, kHead = 150;
  const double width = kHead + kCell * static_cast<double>(map.columns.size()) + 30;
  const double height = kTop + 30 + kCellHeight * static_cast<double>(map.rows.size()) + 40;
  double most = std::log(1.5);  // how far from `neutral` is full colour; less is no difference
  for (const auto& row : map.values) {
    for (const double value : row) {
      if (std::isfinite(value)) most = std::max(most, std::abs(std::log(value / map.neutral)));
    }
  }
  const double title = kLeft + 8.5 * static_cast<double>(map.title.size());
  std::string svg = Open(std::max(width, title), height, map.title);
  for (size_t c = 0; c < map.columns.size(); ++c) {
    svg +=
        Text(kHead + kCell * (static_cast<double>(c) + 0.5), kTop + 18, "middle", map.columns[c]);
  }
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const double top = kTop + 30 + kCellHeight * static_cast<double>(r);
    svg += Text(kHead - 8, top + kCellHeight / 2 + 4, "end", map.rows[r]);
    for (size_t c = 0; c < map.columns.size(); ++c) {
      const double value = map.values[r][c];
      const bool known = std::isfinite(value);
      const double share = known ? std::log(value / map.neutral) / most : 0;
      const int pale = static_cast<int>(255 - 135 * std::abs(share));
      svg += fmt::format(
          "<rect x=\"{:.0f}\" y=\"{:.0f}\" width=\"{:.0f}\" height=\"{:.0f}\" "
          "fill=\"rgb({},{},{})\" stroke=\"#cccccc\"/>\n",
          kHead + kCell * static_cast<double>(c), top, kCell, kCellHeight, share < 0 ? 255 : pale,
          pale, share < 0 ? pale : 255);
      svg += Text(kHead + kCell * (static_cast<double>(c) + 0.5), top + kCellHeight / 2 + 4,
                  "middle", known ? fmt::format("{:.2f}", value) : "–");
    }
  }
  svg += Text(kHead, height - 12, "start", map.x_label + " across, " + map.y_label + " down");
  return svg + "</svg>\n";
}

std::string ToCsv(const LinePlot& plot) {
  std::string csv = "line,x,y,low,high\n";
  for (const PlotLine& line : plot.lines) {
    for (size_t i = 0; i < line.x.size(); ++i) {
      csv += fmt::format("{},{},{},", Quoted(line.name), line.x[i], line.y[i]);
      csv += i < line.low.size() ? fmt::format("{},{}\n", line.low[i], line.high[i]) : ",\n";
    }
  }
  return csv;
}

std::string ToCsv(const PanelPlot& plot) {
  std::string csv = "panel,line,x,y\n";
  for (const Panel& panel : plot.panels) {
    for (const PlotLine& line : panel.lines) {
      for (size_t i = 0; i < line.x.size(); ++i) {
        csv += fmt::format("{},{},{},{}\n", Quoted(panel.name), Quoted(line.name), line.x[i],
                           line.y[i]);
      }
    }
  }
  return csv;
}

std::string ToCsv(const HeatMap& map) {
  std::string csv = "row,column,value\n";
  for (size_t r = 0; r < map.rows.size(); ++r) {
    for (size_t c = 0; c < map.columns.size(); ++c) {
      csv +=
          fmt::format("{},{},{}\n", Quoted(map.rows[r]), Quoted(map.columns[c]), map.values[r][c]);
    }
  }
  return csv;
}

}  // namespace farspan::testbed
