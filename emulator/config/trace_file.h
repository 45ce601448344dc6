// Traces from CSV files: how a link's rate, delay or loss went over time; and tc's .dist tables.
//
// A trace has two columns, time and value, times increasing from 0 or later. Units stand in the
// cells ("1.5 s,20 Mbps") or, for bare numbers, in the first line: "time [s],rate [Mbps]". Losses
// are fractions, or percentages with a % in either place. Blank lines and lines that begin with '#'
// are skipped. A value holds until the next one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/base/units.h"

namespace farspan::config {

template <typename T>
struct TracePoint {
  TimeNs at{};
  T value{};
};

// `name` is for messages: an error's context is "NAME:LINE:COLUMN".
Result<std::vector<TracePoint<Rate>>> ParseRateTrace(std::string_view csv, std::string_view name);
Result<std::vector<TracePoint<TimeNs>>> ParseDelayTrace(std::string_view csv,
                                                        std::string_view name);
Result<std::vector<TracePoint<double>>> ParseLossTrace(std::string_view csv, std::string_view name);

// Whole numbers between blanks, '#' to the end of a line is a comment (iproute2's format):
// quantiles of the distribution, in 1/8192 standard deviations.
Result<std::vector<int16_t>> ParseDistribution(std::string_view text, std::string_view name);

}  // namespace farspan::config
