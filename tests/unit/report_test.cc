// Reports: which plots follow from what was compared, and that they show its numbers.
#include "transports/testbed/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <regex>
#include <sstream>

#include "transports/testbed/svg_plot.h"

namespace farspan::testbed {
namespace {

CompareRecord::Row RowOf(const std::string& contender, size_t point, double mean_s) {
  CompareRecord::Row row;
  row.contender = contender;
  row.baseline = contender.starts_with("tcp");
  row.rate_class = "controlled";
  row.point = point;
  row.bytes = 1 << 20;
  row.mean_s = mean_s;
  row.bound_s = 0.01;
  row.wan_bytes = 2.2e6;
  row.user_bytes = 2e6;
  return row;
}

CompareRecord TwoPoints() {
  CompareRecord record;
  record.label = "virtual";
  record.scenario = "test";
  record.title = "Test";
  record.sweep = "loss";
  record.ranks = 2;
  record.points = {{"one", 1e-3, 0.01, 1e9, 2, {}}, {"two", 1.01e-3, 0.01, 1e9, 20, {}}};
  for (const size_t point : {0u, 1u}) {
    for (const char* name : {"span", "tcp"}) record.rows.push_back(RowOf(name, point, 0.02));
  }
  return record;
}

const ReportPlot* Find(const std::vector<ReportPlot>& plots, const std::string& name) {
  const auto found = std::find_if(plots.begin(), plots.end(),
                                  [&](const ReportPlot& plot) { return plot.name == name; });
  return found == plots.end() ? nullptr : &*found;
}

TEST(Report, LengthOfALossIsDrawnWhereTheLossIsTheSame) {
  CompareRecord record = TwoPoints();
  const auto same = PlotsOf(record);
  const ReportPlot* burst = Find(same, "test-burst-1048576");
  ASSERT_NE(burst, nullptr);
  EXPECT_NE(burst->csv.find("\"span\",20,2,"), std::string::npos) << burst->csv;
  EXPECT_EQ(Find(same, "test-loss-1048576"), nullptr);
  record.points[1].loss = 2e-3;
  EXPECT_EQ(Find(PlotsOf(record), "test-burst-1048576"), nullptr);
  EXPECT_NE(Find(PlotsOf(record), "test-loss-1048576"), nullptr);
}

TEST(Report, QuotesInNamesAreDoubledInCsv) {
  LinePlot plot;
  plot.lines.push_back({.name = "the \"new\" one", .x = {1}, .y = {2}});
  EXPECT_EQ(ToCsv(plot), "line,x,y,low,high\n\"the \"\"new\"\" one\",1,2,,\n");
}

TEST(Report, TheTailIsDrawnWhereSamplesStandForIt) {
  CompareRecord record = TwoPoints();
  EXPECT_EQ(Find(PlotsOf(record), "test-tail-1048576"), nullptr);
  for (CompareRecord::Row& row : record.rows) row.p99 = Estimate{0.03, 0.025, 0.04};
  auto plots = PlotsOf(record);
  const ReportPlot* tail = Find(plots, "test-tail-1048576");
  ASSERT_NE(tail, nullptr);
  EXPECT_NE(tail->csv.find("\"span\",0.1,3,2.5,4"), std::string::npos) << tail->csv;
  EXPECT_NE(tail->svg.find("p99 / lossless bound"), std::string::npos);
  for (CompareRecord::Row& row : record.rows) row.p999 = Estimate{0.05, 0.05, 0.05};
  plots = PlotsOf(record);
  EXPECT_NE(Find(plots, "test-tail-1048576")->csv.find("\"span\",0.1,5,5,5"), std::string::npos);
}

TEST(Report, FactorsAreOfTheFastestThatIsNoBaseline) {
  CompareRecord record = TwoPoints();
  EXPECT_EQ(Find(PlotsOf(record), "test-factor-controlled"), nullptr);
  record.rows.push_back(RowOf("span other", 0, 0.01));
  record.rows.push_back(RowOf("tcp other", 0, 0.01));
  for (auto& [row, factor] : {std::pair{&record.rows[0], 1.5},
                              {&record.rows[2], 0.5},
                              {&record.rows[4], 3.0},
                              {&record.rows[5], 9.0}}) {
    row->factor = factor;
  }
  const auto plots = PlotsOf(record);
  const ReportPlot* factors = Find(plots, "test-factor-controlled");
  ASSERT_NE(factors, nullptr);
  EXPECT_EQ(factors->csv, "row,column,value\n\"1 MiB\",\"one\",3\n\"1 MiB\",\"two\",0.5\n");
  EXPECT_NE(factors->svg.find(">3.00<"), std::string::npos);
}

TEST(Report, AStepOfTrainingIsDrawnWhereDistancesDiffer) {
  CompareRecord record = TwoPoints();
  const TrainingStep step{{1'000'000'000}, 10 << 20};
  record.collective = "all_reduce";
  EXPECT_FALSE(HasSteps(record, step));
  EXPECT_EQ(Find(PlotsOf(record, step), "test-step-1048576"), nullptr);
  record.points[1].rtt_s = 0.04;
  record.rows[2].mean_s = 0.2;
  record.rows[2].mean = Estimate{0.2, 0.1, 0.3};
  EXPECT_TRUE(HasSteps(record, step));
  auto plots = PlotsOf(record, step);
  const ReportPlot* drawn = Find(plots, "test-step-1048576");
  ASSERT_NE(drawn, nullptr);
  // Ten buckets, the first ready at 0.4 s: hidden but for the last, or 0.4 s + 10 x 0.2 s.
  EXPECT_NE(drawn->csv.find("\"span\",10,1.02,"), std::string::npos) << drawn->csv;
  EXPECT_NE(drawn->csv.find("\"span\",40,2.4,1.4,3.4"), std::string::npos) << drawn->csv;
  EXPECT_NE(drawn->csv.find("\"lossless bound\",40,1.01,"), std::string::npos) << drawn->csv;
  record.sweep = "distance";
  record.points[0].value = "80 km";
  record.points[1].value = "3750 km";
  plots = PlotsOf(record, step);
  EXPECT_NE(Find(plots, "test-step-1048576")->csv.find("\"span\",3750,2.4,"), std::string::npos);
  // Not of what does not sum, nor of buckets larger than all gradients.
  EXPECT_FALSE(HasSteps(record, {step.compute, 1'000}));
  record.collective = "all_gather";
  EXPECT_FALSE(HasSteps(record, step));
  EXPECT_EQ(Find(PlotsOf(record, step), "test-step-1048576"), nullptr);
}

TEST(Report, CoresAreOfMeasuredRuns) {
  CompareRecord record = TwoPoints();
  for (CompareRecord::Row& row : record.rows) row.cpu_s_per_gb = 0.4;
  EXPECT_EQ(Find(PlotsOf(record), "test-cores-1048576"), nullptr);
  record.label = "measured";
  const auto plots = PlotsOf(record);
  const ReportPlot* cores = Find(plots, "test-cores-1048576");
  ASSERT_NE(cores, nullptr);
  EXPECT_NE(cores->csv.find("\"tcp\",\"two\",5\n"), std::string::npos) << cores->csv;
}

// Intervals of 1 ms: the vertices of the first line, every other one, lie where the CSV says.
TEST(Report, WhatIsDrawnOverTimeIsWhatTheTableSays) {
  CompareRecord record = TwoPoints();
  record.over_time_s = 1e-3;
  record.points[0].events = {{1e-3, "cut"}, {3e-3, "switched"}};
  record.rows[0].received_bytes = {1e6, 2.5e5, 0, 5e5, 7.5e5};
  record.rows[0].resent_bytes = record.rows[0].parity_bytes = {0, 0, 0, 0, 1e5};
  const auto plots = PlotsOf(record);
  EXPECT_EQ(Find(plots, "test-time-1-1048576"), nullptr);
  const ReportPlot* plot = Find(plots, "test-time-0-1048576");
  ASSERT_NE(plot, nullptr);
  // 1 MB in 1 ms over two ranks is 4 Gb/s each.
  const std::vector<std::pair<double, double>> table{{0, 4}, {1, 1}, {2, 0}, {3, 2}, {4, 3}};
  std::string expected = "panel,line,x,y\n";
  for (const auto& [x, y] : table) {
    std::ostringstream line;
    line << "\"span\",\"received\"," << x << ',' << y << '\n';
    expected += line.str();
  }
  EXPECT_EQ(plot->csv.substr(0, expected.size()), expected);

  const std::regex first_line("<polyline points=\"([^\"]*)\" fill=\"none\" stroke=\"#0072b2\"");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(plot->svg, match, first_line));
  std::istringstream points(match[1]);
  std::vector<std::pair<double, double>> vertices;
  double x = 0, y = 0;
  char comma = 0;
  while (points >> x >> comma >> y) vertices.emplace_back(x, y);
  ASSERT_EQ(vertices.size(), 2 * table.size());
  const double ms = (vertices[8].first - vertices[0].first) / 4;
  const double rate = (vertices[4].second - vertices[0].second) / 4;  // 4 Gb/s at 0, none at 2 ms
  EXPECT_GT(ms, 0);
  EXPECT_GT(rate, 0);
  for (size_t i = 0; i < table.size(); ++i) {
    EXPECT_NEAR(vertices[2 * i].first, vertices[0].first + table[i].first * ms, 0.11);
    EXPECT_NEAR(vertices[2 * i].second, vertices[0].second + (4 - table[i].second) * rate, 0.11);
    EXPECT_NEAR(vertices[2 * i + 1].first, vertices[2 * i].first + ms, 0.11);
    EXPECT_EQ(vertices[2 * i + 1].second, vertices[2 * i].second);
  }
  EXPECT_NE(plot->svg.find(">cut<"), std::string::npos);
  EXPECT_NE(plot->svg.find(">switched<"), std::string::npos);
}

}  // namespace
}  // namespace farspan::testbed
