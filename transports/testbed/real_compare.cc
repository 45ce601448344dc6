#include "transports/testbed/real_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "transports/testbed/compare_case.h"
#include "transports/testbed/real_contender.h"

namespace farspan::testbed {
namespace {

using nlohmann::json;

// Through packet sockets and veth pairs of one machine, both directions at once.
constexpr double kMostRate = 1e9;

std::string ContenderNames(const Scenario& scenario) {
  std::string names;
  for (const ContenderSpec& contender : scenario.contenders) {
    names += (names.empty() ? "" : "; ") + contender.name;
  }
  return names;
}

CompareSample ReadSample(const json& of) {
  CompareSample sample;
  sample.failure = of.value("failure", "");
  sample.measured = MeasuredSample{of.value("cpu_s", 0.0), of.at("certificate")};
  if (!sample.failure.empty()) return sample;
  sample.seconds = of.at("seconds");
  sample.wan_bytes = of.at("wan_bytes");
  sample.traffic.resent = of.at("resent");
  sample.traffic.duplicate = of.at("duplicate");
  sample.traffic.parity = of.at("parity");
  return sample;
}

}  // namespace

Result<Scenario> ForRealTime(Scenario scenario) {
  if (scenario.shared_uplinks || !scenario.cross.empty()) {
    return Fail(ErrorCode::kInvalid, "shared uplinks and cross traffic are of virtual time alone",
                scenario.name);
  }
  const std::string all = ContenderNames(scenario);
  std::erase_if(scenario.contenders, [](const auto& one) { return !RunsInRealTime(one); });
  if (scenario.contenders.empty()) {
    return Fail(ErrorCode::kInvalid,
                "none of the contenders runs on real hosts here, only span, tcp and libraries do; "
                "there are: " +
                    all,
                scenario.name);
  }
  double most = 0;
  for (const ScenarioPoint& point : scenario.points) {
    for (const auto& [pair, spec] : point.links) most = std::max(most, RateOf(spec));
  }
  if (most > kMostRate) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("a link has {:.4g} Gb/s, network namespaces of one machine carry about "
                            "{:.4g}: --scale {:.0f} divides rates and sizes",
                            most * 1e-9, kMostRate * 1e-9, std::ceil(most / kMostRate)),
                scenario.name);
  }
  scenario.real_time = true;
  scenario.over_time = {};
  return scenario;
}

json RealPlan(const Scenario& scenario, const std::vector<std::string>& rank_command) {
  json runs = json::array();
  const size_t contenders = scenario.contenders.size();
  const size_t blocks = scenario.points.size() * scenario.sizes.size();
  for (size_t block = 0; block < blocks; ++block) {
    const ScenarioPoint& point = scenario.points[block / scenario.sizes.size()];
    for (uint64_t sample = 0; sample < scenario.samples; ++sample) {
      for (size_t contender = 0; contender < contenders; ++contender) {
        runs.push_back({{"row", block * contenders + contender},
                        {"sample", sample},
                        {"seed", scenario.seed + sample},
                        {"tuned", scenario.contenders[contender].tuned},
                        {"sets", point.engine_sets}});
      }
    }
  }
  json sites = json::array();
  for (size_t i = 0; i < scenario.sites.size(); ++i) {
    sites.push_back({{"name", scenario.sites[i]}, {"city", scenario.cities[i]}});
  }
  return {{"schema", "farspan.real_plan.v1"},
          {"sites", std::move(sites)},
          {"links", scenario.engine_links},
          {"ranks_per_site", scenario.ranks_per_site},
          {"mtu", scenario.payload_bytes + kRealMtuBeyond},
          {"limit_s", ToSeconds(scenario.limit)},
          {"rank_command", rank_command},
          {"runs", std::move(runs)}};
}

Result<std::vector<CompareRow>> ReadReal(const Scenario& scenario, const json& results) {
  std::vector<CompareRow> rows = RowsOf(scenario);
  std::vector<CompareSample> samples(rows.size() * scenario.samples);
  for (CompareSample& sample : samples) sample.failure = "was not run";
  try {
    for (const json& run : results.at("runs")) {
      const size_t row = run.at("row"), sample = run.at("sample");
      samples.at(row * scenario.samples + sample) = ReadSample(run);
    }
  } catch (const std::exception& error) {
    return Fail(ErrorCode::kIo, error.what(), "the lab's results");
  }
  Conclude(scenario, samples, rows);
  return rows;
}

}  // namespace farspan::testbed
