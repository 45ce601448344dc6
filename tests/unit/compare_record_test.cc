// What is told of a comparison's JSON that cannot be read back: where, and what was expected.
#include "transports/testbed/compare_record.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace farspan::testbed {
namespace {

using nlohmann::json;

json Good() {
  return json::parse(R"({
    "schema": "farspan.compare.v1", "label": "virtual", "scenario": "s", "title": "t",
    "collective": "all_reduce", "sweep": "", "samples": 1, "first_seed": 1, "sites": ["a", "b"],
    "ranks_per_site": 1,
    "points": [{"value": "", "loss": 0, "rtt_s": 0.01, "rate_bits_per_s": 1e9}],
    "rows": [{"point": 0, "bytes": 1, "contender": "x", "transport": "span", "class": "controlled",
              "schedule": "ring", "tuned": true, "baseline": false, "bound_s": 1,
              "failure": "timeout"}]})");
}

TEST(CompareRecord, ReadsWhatIsGood) {
  const auto record = ParseCompare(Good().dump(), "run.json");
  ASSERT_TRUE(record) << record.error().text();
  EXPECT_EQ(record->ranks, 2u);
  EXPECT_EQ(record->rows.at(0).failure, "timeout");
}

TEST(CompareRecord, TextThatIsNoJsonIsToldWhere) {
  for (const auto& [text, error] :
       {std::pair{"", "run.json:1:1: not valid JSON: unexpected end of input"},
        {"[1, 2", "run.json:1:6: not valid JSON: unexpected end of input; expected ']'"},
        {"{\"a\": 1,\n  b}", "run.json:2:3: not valid JSON: invalid literal; last read: "},
        {"{\"a\": 1}\n\n}", "run.json:3:1: not valid JSON: unexpected '}'"}}) {
    const auto record = ParseCompare(text, "run.json");
    ASSERT_FALSE(record) << text;
    EXPECT_EQ(record.error().text().find(error), 0u) << record.error().text();
    EXPECT_EQ(record.error().message.find("json.exception"), std::string::npos);
  }
}

TEST(CompareRecord, AFieldThatIsNotAsWrittenIsNamed) {
  const auto told = [](const char* pointer, const json& value) {
    json bad = Good();
    if (value.is_discarded()) {
      const json::json_pointer at(pointer);
      bad.at(at.parent_pointer()).erase(at.back());
    } else {
      bad.at(json::json_pointer(pointer)) = value;
    }
    const auto record = ParseCompare(bad.dump(), "run.json");
    return record ? std::string() : record.error().text();
  };
  const json kGone(json::value_t::discarded);
  const std::string hint = "; expected what farspan compare --json writes";
  EXPECT_EQ(told("/schema", 5), "run.json: is not what farspan compare --json writes");
  EXPECT_EQ(told("/label", kGone), "run.json: label: key 'label' not found" + hint);
  EXPECT_EQ(told("/points/0/loss", "no"),
            "run.json: points[0].loss: type must be number, but is string" + hint);
  EXPECT_EQ(told("/rows/0/tuned", kGone), "run.json: rows[0].tuned: key 'tuned' not found" + hint);
  EXPECT_EQ(told("/rows/0/point", 1), "run.json: rows[0].point: there is no such point");
  EXPECT_EQ(told("/rows/0", 3).find("run.json: rows[0]."), 0u);
}

}  // namespace
}  // namespace farspan::testbed
