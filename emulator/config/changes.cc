#include "emulator/config/changes.h"

#include "emulator/config/overrides.h"
#include "emulator/config/readers.h"
#include "emulator/config/section.h"

namespace farspan::config {
namespace {

std::vector<link::Change> ReadChanges(Section& section, const link::DirectionSpec& current) {
  std::vector<link::Change> changes;
  size_t first = 0;
  size_t end = current.lanes.size();
  if (section.read_count("lane", first, 0, end - 1)) end = first + 1;
  section.know({"distance", "delay", "rtt", "rate", "loss", "jitter", "lane"});
  const bool path = !section.one_of({"distance", "delay", "rtt"}).empty();
  for (size_t i = first; i < end; ++i) {
    const link::LaneSpec& lane = current.lanes[i];
    const int number = static_cast<int>(i);
    Rate rate = lane.rate;
    ReadRate(section, rate);
    if (section.has("rate")) changes.push_back(link::SetRate{number, rate});
    if (path) {
      link::SetPath set{.lane = number, .path = lane.path};
      std::string source;
      ReadPath(section, set.path, source);
      changes.push_back(set);
    }
    if (section.has("loss")) {
      link::SetLoss set{.lane = number, .loss = {}};
      ReadLoss(section, rate, set.loss);
      changes.push_back(std::move(set));
    }
  }
  if (section.has("jitter")) {
    link::SetJitter set;
    ReadJitter(section, nullptr, set.jitter);
    changes.push_back(std::move(set));
  }
  if (changes.empty()) section.fail("expected distance, delay, rtt, rate, loss or jitter");
  return changes;
}

}  // namespace

Result<std::vector<link::Change>> ChangesFrom(const link::DirectionSpec& current,
                                              const std::map<std::string, std::string>& settings) {
  const Result<toml::table> table = ParseSettings(settings);
  if (!table) return AsKey(table.error());
  Diagnostics diagnostics;
  Section section(diagnostics, "a change", {{&*table, true}});
  std::vector<link::Change> changes = ReadChanges(section, current);
  section.finish();
  if (diagnostics.failed()) return AsKey(diagnostics.error());
  return changes;
}

}  // namespace farspan::config
