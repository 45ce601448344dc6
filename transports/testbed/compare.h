// Comparison: contenders of a scenario against each other, in virtual time; what real hosts
// measured (real_compare.h) becomes the same rows.
//
// A sample is a new group of ranks on links of its own seed: it connects, warms up, settles, and
// then, as a new epoch of the links' time begins, all ranks start one collective together. Its time
// ends when the last rank has its result; its bytes are counted until every sender knows that all
// has arrived. Sample i of every contender has seed + i, so that they meet the same bad moments.
// Samples share nothing: threads run them in any order, and the figures do not depend on it.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transports/testbed/contender.h"
#include "transports/testbed/scenario.h"
#include "transports/testbed/statistics.h"

namespace farspan::testbed {

// Of one sample that real hosts ran.
struct MeasuredSample {
  double cpu_s = 0;            // of all ranks, and softirqs of their machine
  nlohmann::json certificate;  // of the engine that carried it and nothing else; null: none left
};

struct CompareSample {
  double seconds = 0;
  double wan_bytes = 0;
  double cross_bits_per_s = 0;
  TrafficBytes traffic;
  std::vector<TrafficBytes> over_time;  // by intervals of the scenario's `over_time`, if recorded
  std::string failure;                  // then there is nothing else
  std::optional<MeasuredSample> measured;
};

struct Measured {
  double cpu_s_per_gb = 0;                   // of user data that went between sites
  std::vector<nlohmann::json> certificates;  // of each sample

  size_t valid() const;
};

struct CompareRow {
  size_t point = 0;  // of the scenario's
  uint64_t bytes = 0;
  size_t contender = 0;
  std::string failure;  // of the first sample that failed; then there is nothing else
  Summary seconds;
  // Per sample, the mean:
  double wan_bytes = 0;  // on the wire, all headers and framing, lost ones too
  double resent_bytes = 0;
  double duplicate_bytes = 0;
  double parity_bytes = 0;
  double cross_bits_per_s = 0;          // goodput of all cross flows meanwhile
  uint64_t user_bytes = 0;              // that go from sites to others
  std::vector<TrafficBytes> over_time;  // of the first sample
  double bound_s = 0;
  std::optional<double> factor;      // the best baseline's mean of the class over this one's
  std::optional<Measured> measured;  // by real hosts; absent in virtual time

  double goodput_bits_per_s() const { return static_cast<double>(bytes) * 8 / seconds.mean; }
};

struct CompareOptions {
  unsigned jobs = 1;
  // Told now and then, by the caller's thread.
  std::function<void(uint64_t done, uint64_t of)> progress;
};

// Ordered by point, size, contender.
std::vector<CompareRow> RunCompare(const Scenario& scenario, const CompareOptions& options);

// --- compare_rows.cc
// Of all that is to be run, with nothing but the bound.
std::vector<CompareRow> RowsOf(const Scenario& scenario);
// Samples of row i are at i * scenario.samples and after.
void Conclude(const Scenario& scenario, std::span<const CompareSample> samples,
              std::vector<CompareRow>& rows);

// Bytes on the wire for each byte of user data, by the contender that needs the fewest.
double LeastWireShare(const Scenario& scenario);

// The least time in which any schedule over these links can be done by any of the contenders: the
// farthest site must hear of the rest, and what must cross must fit through all links together,
// with the headers and framing of the contender that needs the fewest.
double LowerBound(const Scenario& scenario, const ScenarioPoint& point, uint64_t bytes);

// Of a timeline, from the common start on.
struct PointEvent {
  double at_s = 0;
  std::string what;
};

// What a plot puts a point at: of the first link.
struct PointView {
  double loss = 0;  // of a full datagram of Span's
  double rtt_s = 0;
  double rate_bits_per_s = 0;
  double burst = 0;  // mean length of a loss, in reference frames or packets; 0: no loss
  std::vector<PointEvent> events;
};
PointView ViewOf(const Scenario& scenario, const ScenarioPoint& point);

// --- compare_output.cc
std::string CompareText(const Scenario& scenario, const std::vector<CompareRow>& rows);
std::string CompareMarkdown(const Scenario& scenario, const std::vector<CompareRow>& rows);
std::string CompareCsv(const Scenario& scenario, const std::vector<CompareRow>& rows);
// Schema "farspan.compare.v1".
nlohmann::json CompareJson(const Scenario& scenario, const std::vector<CompareRow>& rows);

}  // namespace farspan::testbed
