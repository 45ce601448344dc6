// A comparison by real hosts: what is to be run, and what came of it.
//
// The plan is for scripts/lab, which makes a network namespace for each site and starts, for every
// sample, an emulator of its own with the sample's seed between them and one process per rank
// (real_rank.h); so every contender meets the same channel, and every sample has a certificate.
// Contenders take turns sample by sample: a slow minute of the machine is nobody's alone.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "transports/testbed/compare.h"

namespace farspan::testbed {

// Takes out what stands for hardware that is not there; refuses what cannot be carried.
Result<Scenario> ForRealTime(Scenario scenario);

// `rank_command` is what a rank's process is started with, before its --rank and so on. Schema
// "farspan.real_plan.v1".
nlohmann::json RealPlan(const Scenario& scenario, const std::vector<std::string>& rank_command);

// The rows, out of what the lab wrote.
Result<std::vector<CompareRow>> ReadReal(const Scenario& scenario, const nlohmann::json& results);

}  // namespace farspan::testbed
