// Asked for against measured: one row per claim.
//
// A row passes if what was asked lies in the 99.9 % interval of what was measured; where the model
// leaves no chance, the interval is a point. Rows without `asked` are reported and not judged: no
// closed form describes a link that changes meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "emulator/survey/survey.h"

namespace farspan::survey {

struct Row {
  std::string name;
  std::optional<double> asked;
  double measured = 0;
  std::string unit;
  double low = 0;
  double high = 0;
  std::string note;

  bool pass() const { return !asked || (low <= *asked && *asked <= high); }
};

// What `asked` promises against what `report` found.
std::vector<Row> Judge(const SurveySpec& asked, const SurveyReport& report);

bool AllPass(const std::vector<Row>& rows);

// --- table.cc
std::string TableText(const std::vector<Row>& rows);
// An object of schema "farspan.simulate.v1", label "virtual".
std::string TableJson(const std::vector<Row>& rows, uint64_t seed);

}  // namespace farspan::survey
