// SvgPlot: line plots, panels over time and heat maps as SVG text, without a library.
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

// Panels below each other with the same axes: rates by intervals of `step`, drawn as steps. The
// first line of each is filled; all panels have lines of the same names.
struct Panel {
  std::string name, note;
  std::vector<PlotLine> lines;  // x: where the interval begins
};
struct PanelPlot {
  struct Mark {
    double x = 0;
    std::string label;
  };
  std::string title, x_label, y_label;
  double step = 1;
  std::vector<Mark> marks;
  std::vector<Panel> panels;
};

// White at `neutral`, blue above it, red below, by the logarithm.
struct HeatMap {
  std::string title, x_label, y_label;
  std::vector<std::string> columns, rows;
  std::vector<std::vector<double>> values;  // [row][column]; NaN: none
  double neutral = 1;
};

std::string ToSvg(const LinePlot& plot);
std::string ToSvg(const PanelPlot& plot);
std::string ToSvg(const HeatMap& map);
std::string ToCsv(const LinePlot& plot);
std::string ToCsv(const PanelPlot& plot);
std::string ToCsv(const HeatMap& map);

std::string EscapeXml(std::string_view text);
std::string Quoted(std::string_view text);  // for CSV

}  // namespace farspan::testbed
