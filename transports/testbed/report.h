// Report: comparisons as one HTML page with plots, and the plots by themselves.
//
// What is drawn follows from what was compared: slowdown against loss (with 95 % intervals) where
// losses differ, goodput against round trip with both limits of NCCL where round trips differ, a
// heat map of sweep against size where both do, and bars of one number per contender otherwise.
#pragma once

#include <string>
#include <vector>

#include "transports/testbed/compare_record.h"

namespace farspan::testbed {

struct ReportPlot {
  std::string name;  // of its files
  std::string svg;
  std::string csv;
};

std::vector<ReportPlot> PlotsOf(const CompareRecord& record);
std::string ReportHtml(const std::vector<CompareRecord>& records);

}  // namespace farspan::testbed
