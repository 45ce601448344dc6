// Report: comparisons as one HTML page with plots, and the plots by themselves.
//
// What is drawn follows from what was compared: slowdown against loss (with 95 % intervals) where
// losses differ, or against the length of a loss where only that does; goodput against round trip
// with both limits of NCCL, and a training step's time over all-reduces (training_step.h), where
// round trips differ; the tail against what the WAN carries where
// samples stand for one; the first sample over time where it was recorded; maps of sweep against
// size, of each contender and of the best factors, or of contender against size where nothing is
// swept; the cores for 100 Gb/s where CPU time was measured.
#pragma once

#include <string>
#include <vector>

#include "transports/testbed/compare_record.h"
#include "transports/testbed/training_step.h"

namespace farspan::testbed {

struct ReportPlot {
  std::string name;  // of its files
  std::string svg;
  std::string csv;
};

std::vector<ReportPlot> PlotsOf(const CompareRecord& record, const TrainingStep& step = {});
std::string ReportHtml(const std::vector<CompareRecord>& records, const TrainingStep& step = {});
// Whether a training step is among the plots.
bool HasSteps(const CompareRecord& record, const TrainingStep& step);

}  // namespace farspan::testbed
