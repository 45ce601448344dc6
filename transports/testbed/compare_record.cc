#include "transports/testbed/compare_record.h"

#include <nlohmann/json.hpp>

#include "emulator/base/units.h"
#include "emulator/config/files.h"

namespace farspan::testbed {
namespace {

using nlohmann::json;

// Knows which field is being read, for errors: the JSON library's name none.
class Reader {
 public:
  CompareRecord read(const json& of) {
    CompareRecord record;
    record.label = at(of, "label");
    record.scenario = at(of, "scenario");
    record.title = at(of, "title");
    record.collective = at(of, "collective");
    record.sweep = at(of, "sweep");
    record.samples = at(of, "samples");
    record.first_seed = at(of, "first_seed");
    record.over_time_s = of.value("over_time_s", 0.0);
    record.ranks = at(of, "sites").size() * at(of, "ranks_per_site").get<uint64_t>();
    for (const json& point : at(of, "points")) {
      element_ = "points[" + std::to_string(record.points.size()) + "].";
      record.points.push_back(read_point(point));
    }
    element_.clear();
    for (const json& row : at(of, "rows")) {
      element_ = "rows[" + std::to_string(record.rows.size()) + "].";
      record.rows.push_back(read_row(row));
    }
    return record;
  }

  std::string place() const { return element_ + key_; }

 private:
  const json& at(const json& of, const char* key) {
    key_ = key;
    return of.at(key);
  }

  CompareRecord::Point read_point(const json& of) {
    CompareRecord::Point point{at(of, "value"),           at(of, "loss"),         at(of, "rtt_s"),
                               at(of, "rate_bits_per_s"), of.value("burst", 0.0), {}};
    for (const json& event : of.value("events", json::array())) {
      point.events.emplace_back(at(event, "at_s"), at(event, "what"));
    }
    return point;
  }

  std::optional<Estimate> read_estimate(const json& of, const char* key) {
    const json& estimate = at(of, key);
    if (estimate.is_null()) return std::nullopt;
    return Estimate{estimate.at("value"), estimate.at("low"), estimate.at("high")};
  }

  CompareRecord::Row read_row(const json& of) {
    CompareRecord::Row row;
    row.point = at(of, "point");
    row.bytes = at(of, "bytes");
    row.contender = at(of, "contender");
    row.transport = at(of, "transport");
    row.rate_class = at(of, "class");
    row.schedule = at(of, "schedule");
    row.tuned = at(of, "tuned");
    row.baseline = at(of, "baseline");
    row.bound_s = at(of, "bound_s");
    row.user_bytes = of.value("user_bytes", 0.0);
    row.failure = of.value("failure", "");
    if (of.contains("certificates")) {
      row.cpu_s_per_gb = at(of, "cpu_s_per_GB");
      row.valid = at(of, "valid");
      row.certificates = at(of, "certificates").size();
    }
    if (!row.failure.empty()) return row;
    row.mean_s = at(of, "mean_s");
    row.mean = read_estimate(of, "mean_interval_s");
    row.p99 = read_estimate(of, "p99_s");
    row.p999 = read_estimate(of, "p999_s");
    row.goodput_bits_per_s = at(of, "goodput_bits_per_s");
    row.wan_bytes = at(of, "wan_bytes");
    if (of.contains("over_time")) {
      const json& over_time = at(of, "over_time");
      row.received_bytes = at(over_time, "received_bytes").get<std::vector<double>>();
      row.resent_bytes = at(over_time, "resent_bytes").get<std::vector<double>>();
      row.parity_bytes = at(over_time, "parity_bytes").get<std::vector<double>>();
    }
    if (!at(of, "factor").is_null()) row.factor = at(of, "factor").get<double>();
    return row;
  }

  std::string element_;  // of an array
  std::string key_;
};

}  // namespace

std::string CompareRecord::name(const Row& row) const {
  std::string text = BytesToText(row.bytes) + ", ";
  if (!sweep.empty()) text += sweep + " " + points[row.point].value + ", ";
  return text + row.contender;
}

Result<CompareRecord> ParseCompare(std::string_view text, const std::string& where) {
  const auto parsed = config::ParseJson(text, where);
  if (!parsed) return tl::unexpected(parsed.error());
  if (!parsed->is_object() || parsed->value("schema", json()) != "farspan.compare.v1") {
    return Fail(ErrorCode::kInvalid, "is not what farspan compare --json writes", where);
  }
  Reader reader;
  try {
    CompareRecord record = reader.read(*parsed);
    for (size_t i = 0; i < record.rows.size(); ++i) {
      if (record.rows[i].point < record.points.size()) continue;
      return Fail(ErrorCode::kInvalid,
                  "rows[" + std::to_string(i) + "].point: there is no such point", where);
    }
    return record;
  } catch (const json::exception& error) {
    const std::string_view words = error.what();  // "[json.exception.type_error.302] type must …"
    return Fail(ErrorCode::kInvalid,
                reader.place() + ": " + std::string(words.substr(words.find("] ") + 2)) +
                    "; expected what farspan compare --json writes",
                where);
  }
}

Result<CompareRecord> LoadCompare(const std::filesystem::path& file) {
  const auto text = config::ReadFile(file);
  if (!text) return tl::unexpected(text.error());
  return ParseCompare(*text, file.string());
}

}  // namespace farspan::testbed
