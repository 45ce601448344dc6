#include "transports/testbed/compare_record.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "emulator/base/units.h"

namespace farspan::testbed {
namespace {

using nlohmann::json;

std::optional<Estimate> ReadEstimate(const json& of) {
  if (of.is_null()) return std::nullopt;
  return Estimate{of.at("value"), of.at("low"), of.at("high")};
}

CompareRecord::Row ReadRow(const json& of) {
  CompareRecord::Row row;
  row.point = of.at("point");
  row.bytes = of.at("bytes");
  row.contender = of.at("contender");
  row.transport = of.at("transport");
  row.rate_class = of.at("class");
  row.schedule = of.at("schedule");
  row.tuned = of.at("tuned");
  row.baseline = of.at("baseline");
  row.bound_s = of.at("bound_s");
  row.user_bytes = of.value("user_bytes", 0.0);
  row.failure = of.value("failure", "");
  if (of.contains("certificates")) {
    row.cpu_s_per_gb = of.at("cpu_s_per_GB");
    row.valid = of.at("valid");
    row.certificates = of.at("certificates").size();
  }
  if (!row.failure.empty()) return row;
  row.mean_s = of.at("mean_s");
  row.mean = ReadEstimate(of.at("mean_interval_s"));
  row.p99 = ReadEstimate(of.at("p99_s"));
  row.p999 = ReadEstimate(of.at("p999_s"));
  row.goodput_bits_per_s = of.at("goodput_bits_per_s");
  row.wan_bytes = of.at("wan_bytes");
  if (of.contains("over_time")) {
    const json& over_time = of.at("over_time");
    row.received_bytes = over_time.at("received_bytes").get<std::vector<double>>();
    row.resent_bytes = over_time.at("resent_bytes").get<std::vector<double>>();
    row.parity_bytes = over_time.at("parity_bytes").get<std::vector<double>>();
  }
  if (!of.at("factor").is_null()) row.factor = of.at("factor").get<double>();
  return row;
}

CompareRecord::Point ReadPoint(const json& of) {
  CompareRecord::Point point{of.at("value"),           of.at("loss"),          of.at("rtt_s"),
                             of.at("rate_bits_per_s"), of.value("burst", 0.0), {}};
  for (const json& event : of.value("events", json::array())) {
    point.events.emplace_back(event.at("at_s"), event.at("what"));
  }
  return point;
}

CompareRecord ReadRecord(const json& of) {
  CompareRecord record;
  record.label = of.at("label");
  record.scenario = of.at("scenario");
  record.title = of.at("title");
  record.collective = of.at("collective");
  record.sweep = of.at("sweep");
  record.samples = of.at("samples");
  record.first_seed = of.at("first_seed");
  record.over_time_s = of.value("over_time_s", 0.0);
  record.ranks = of.at("sites").size() * of.at("ranks_per_site").get<uint64_t>();
  for (const json& point : of.at("points")) record.points.push_back(ReadPoint(point));
  for (const json& row : of.at("rows")) record.rows.push_back(ReadRow(row));
  return record;
}

}  // namespace

std::string CompareRecord::name(const Row& row) const {
  std::string text = BytesToText(row.bytes) + ", ";
  if (!sweep.empty()) text += sweep + " " + points[row.point].value + ", ";
  return text + row.contender;
}

Result<CompareRecord> ParseCompare(std::string_view text, const std::string& where) {
  try {
    const json parsed = json::parse(text);
    if (!parsed.is_object() || parsed.value("schema", "") != "farspan.compare.v1") {
      return Fail(ErrorCode::kInvalid, "is not what farspan compare --json writes", where);
    }
    CompareRecord record = ReadRecord(parsed);
    for (const CompareRecord::Row& row : record.rows) {
      if (row.point < record.points.size()) continue;
      return Fail(ErrorCode::kInvalid, "a row names a point that is not there", where);
    }
    return record;
  } catch (const json::exception& error) {
    return Fail(ErrorCode::kInvalid, error.what(), where);
  }
}

Result<CompareRecord> LoadCompare(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return Fail(ErrorCode::kNotFound, "cannot be read", file.string());
  return ParseCompare(text.str(), file.string());
}

}  // namespace farspan::testbed
