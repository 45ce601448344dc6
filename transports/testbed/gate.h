// Gate: a comparison against one that was committed, for CI jobs.
//
// Virtual time has no noise: with the seeds and samples of the committed run, any difference comes
// from the code. The tolerance is what a change may cost before it must be looked at. A row that
// takes less than the physical bound fails too: such a run cannot be believed.
#pragma once

#include <string>
#include <vector>

#include "transports/testbed/compare_record.h"

namespace farspan::testbed {

struct GateRow {
  std::string name;
  bool passed = true;
  bool better = false;  // beyond the tolerance
  std::string verdict;  // "mean 12.4 ms, was 11.9 ms (+4.2 %)"
};

// One for each row of the committed run.
std::vector<GateRow> Judge(const CompareRecord& committed, const CompareRecord& run,
                           double tolerance);

bool AllPassed(const std::vector<GateRow>& rows);
std::string GateText(const std::string& title, const std::vector<GateRow>& rows);
// The JUnit format that CI systems read: one suite for each title.
std::string GateJunit(const std::vector<std::pair<std::string, std::vector<GateRow>>>& gates);

}  // namespace farspan::testbed
