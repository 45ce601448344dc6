// The certificate: whether a run can be believed, and the figures that say so.
//
// A run is INVALID when packets left early or too late, when their arrival or the clock was too
// uncertain, when the engine itself lost or may have lost packets, or when its books do not agree
// with those of the ports and the kernel. Emulated drops are never a reason. A run still going is
// judged on what it has done so far: books that only an end can close are left open.
//
// Quantiles are bucket bounds of LatencyHistogram: rounded up by at most 1/16, so a run is never
// judged better than it was. Threads: any; the record's histograms may be counting meanwhile.
// Not judged: the emulated channel itself (the tests of link/ do that), nor the hosts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/dpdk/run_record.h"

namespace farspan::dpdk {

struct Certificate {
  bool valid = false;
  std::vector<std::string> reasons;  // why it is INVALID: what, measured, allowed, how to mend it
  std::string json;                  // schema "farspan.certificate.v1"
  std::string text;                  // for a terminal, the verdict first
};

Certificate Certify(const RunRecord& record);

// --- What it is made of ------------------------------------------------------------------------

// The verdict alone, for every scrape; empty: VALID.
std::vector<std::string> ReasonsAgainst(const RunRecord& record);

struct OwnDropCount {
  std::string_view cause;
  uint64_t packets = 0;
  uint64_t bound = 0;  // at most so many; more than `packets` where the books have not closed
};
// All causes of a port, zeros too.
std::vector<OwnDropCount> OwnDropsOf(const PortRecord& port);

// Two sides of an account that must be equal once the run is over; see run_record.h.
struct Books {
  uint64_t came = 0;
  uint64_t accounted = 0;
  uint64_t tolerance = 0;  // `accounted` may lack so many, counted as own drops elsewhere
  bool balanced() const { return accounted <= came && came - accounted <= tolerance; }
};
Books ArrivalBooks(const RunRecord& record);
Books DepartureBooks(const RunRecord& record);
Books LinkBooks(const link::DirectionCounters& counters);  // hold during the run as well

// The strictest lateness_max of the ports that an lcore polls.
TimeNs LoopBudget(const RunRecord& record, size_t lcore);

std::string_view ToText(config::PortKind kind);
std::string_view ToText(LeftAt left);
std::string ShortText(TimeNs time);  // four digits: "12.35 us"

std::string CertificateJson(const RunRecord& record, const std::vector<std::string>& reasons);
std::string CertificateText(const RunRecord& record, const std::vector<std::string>& reasons);

}  // namespace farspan::dpdk
