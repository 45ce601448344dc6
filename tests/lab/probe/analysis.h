// From what arrived to what happened: loss, order, delay, rate; pure functions over the samples.
//
// Order is RFC 4737's: a packet is reordered when its number is smaller than one that arrived
// before. Copies after the first are duplicates and count for nothing else. Delays are in ns.
// Loss is by gaps in the numbers; what is missing after the last arrival is only known to whoever
// knows how many were sent.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

namespace farspan::probe {

struct Sample {
  uint64_t sequence = 0;
  int64_t sent_ns = 0;
  int64_t received_ns = 0;
  uint32_t bytes = 0;  // UDP payload
  uint8_t tos = 0;     // DSCP and ECN as they arrived
};

struct DelayStatistics {
  uint64_t count = 0;
  double min = 0, mean = 0, stddev = 0, p16 = 0, p50 = 0, p84 = 0, p99 = 0, p999 = 0, max = 0;
};
DelayStatistics Summarise(std::vector<int64_t> values);

struct Gap {
  uint64_t first = 0;
  uint64_t count = 0;
  friend bool operator==(const Gap&, const Gap&) = default;
};

struct Analysis {
  uint64_t received = 0;  // with duplicates
  uint64_t unique = 0;
  uint64_t duplicates = 0;
  uint64_t reordered = 0;
  uint64_t reorder_extent_max = 0;  // arrivals since the first later one (RFC 4737, 4.2.2)
  uint64_t missing = 0;             // in the gaps below the largest number seen
  std::vector<Gap> gaps;            // all of them, in order
  uint64_t ecn[4] = {};             // not-ECT, ECT(1), ECT(0), CE
  DelayStatistics delay;
  // Payload delivered between two arrivals near 20 % and 80 % of the time: starts and ends do not
  // count.
  double payload_bits_per_s = 0;
  double packets_per_s = 0;
  double sent_packets_per_s = 0;  // the same packets, by the time in which they were sent
};

// `samples` in order of arrival.
Analysis Analyse(std::span<const Sample> samples);

nlohmann::json ToJson(const DelayStatistics& statistics);
// At most `gaps_max` gaps are written; their true number is "gap_count".
nlohmann::json ToJson(const Analysis& analysis, size_t gaps_max);

}  // namespace farspan::probe
