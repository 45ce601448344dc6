// CompareRecord: what the JSON of a comparison says, read back, for gates and reports.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "transports/testbed/statistics.h"

namespace farspan::testbed {

struct CompareRecord {
  struct Point {
    std::string value;
    double loss = 0;
    double rtt_s = 0;
    double rate_bits_per_s = 0;
    double burst = 0;  // mean length of a loss, in frames; 0 where there is none
    std::vector<std::pair<double, std::string>> events;  // seconds from the start, what
  };
  struct Row {
    size_t point = 0;
    uint64_t bytes = 0;
    std::string contender;
    std::string transport;
    std::string rate_class;
    std::string schedule;
    bool tuned = true;
    bool baseline = false;
    std::string failure;  // then only `bound_s` of what follows
    double mean_s = 0;
    std::optional<Estimate> mean, p99, p999;
    double goodput_bits_per_s = 0;
    double wan_bytes = 0;
    double user_bytes = 0;  // that go from sites to others
    double bound_s = 0;
    std::optional<double> factor;
    double cpu_s_per_gb = 0;               // measured
    uint64_t valid = 0, certificates = 0;  // measured: how many of the samples' certificates
    // Of the first sample, by intervals of over_time_s; empty where nothing was recorded.
    std::vector<double> received_bytes, resent_bytes, parity_bytes;
  };

  std::string label;  // "virtual" or "measured"
  std::string scenario;
  std::string title;
  std::string collective;
  std::string sweep;
  double over_time_s = 0;
  uint64_t ranks = 0;
  uint64_t samples = 0;
  uint64_t first_seed = 0;
  std::vector<Point> points;
  std::vector<Row> rows;

  // "128 MiB, loss 1e-5, span auto, fixed"
  std::string name(const Row& row) const;
};

// `where` is for messages. Anything but schema "farspan.compare.v1" is refused.
Result<CompareRecord> ParseCompare(std::string_view json, const std::string& where);
Result<CompareRecord> LoadCompare(const std::filesystem::path& file);

}  // namespace farspan::testbed
