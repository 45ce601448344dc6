// SvgPlot: line plots and heat maps as SVG text, without a library.
//
// Colours are Okabe & Ito's, which the colour-blind can tell apart; line styles repeat the
// distinction. Axes are decimal or logarithmic; NaN leaves a gap.
#pragma once

#include <string>
#include <vector>

namespace farspan::testbed {

struct PlotLine {
  std::string name{};
  std::vector<double> x{}, y{};
  std::vector<double> low{}, high{};  // of y; empty: no bars
  bool dashed = false;                // a limit rather than a measurement
};

struct LinePlot {
  std::string title, x_label, y_label;
  bool log_x = false, log_y = false;
  std::vector<PlotLine> lines;
};

struct HeatMap {
  std::string title, x_label, y_label;
  std::vector<std::string> columns, rows;
  std::vector<std::vector<double>> values;  // [row][column], at least 1 where it is best
};

std::string ToSvg(const LinePlot& plot);
std::string ToSvg(const HeatMap& map);
std::string ToCsv(const LinePlot& plot);
std::string ToCsv(const HeatMap& map);

std::string EscapeXml(std::string_view text);

}  // namespace farspan::testbed
