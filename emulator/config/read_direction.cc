#include <algorithm>

#include "emulator/config/readers.h"

namespace farspan::config {
namespace {

constexpr size_t kMostLanes = 256;

// The layers of one lane: its own table comes after what --set says, before the direction's.
std::vector<Layer> LaneLayers(const Section& section, size_t lane_layer, const toml::table* lane) {
  std::vector<Layer> layers = section.layers();
  for (Layer& layer : layers) layer.own = false;
  if (lane) {
    layers.insert(layers.begin() + static_cast<ptrdiff_t>(lane_layer), Layer{lane, true});
  }
  return layers;
}

link::LaneSpec ReadLane(Section& lane, Direction& direction) {
  link::LaneSpec spec;
  if (!ReadPath(lane, spec.path, direction.source)) {
    if (direction.from_city.empty() || direction.to_city.empty()) {
      lane.fail(
          "has no length; expected one of distance, delay, rtt, route, or a city at both "
          "sites");
    } else {
      TakeRoute(lane, direction.from_city, direction.to_city, spec.path, direction.source);
    }
  }
  ReadRate(lane, spec.rate);
  ReadLoss(lane, spec.rate, spec.loss);
  return spec;
}

void ReadLanes(Section& section, size_t lane_layer, Direction& direction) {
  std::vector<link::LaneSpec>& lanes = direction.spec.lanes;
  lanes.clear();
  const std::vector<const toml::table*> tables = section.tables("lanes");
  for (const toml::table* table : tables) {
    Section lane(section.diagnostics(), "a lane of " + section.what(),
                 LaneLayers(section, lane_layer, table));
    lanes.push_back(ReadLane(lane, direction));
    lane.read_count("weight", lanes.back().weight, 1, 1'000'000);
    lane.finish();
  }
  if (tables.size() > kMostLanes) section.fail("lanes", "expected at most 256");
  Section only(section.diagnostics(), section.what(), LaneLayers(section, lane_layer, nullptr));
  if (lanes.empty()) {
    lanes.push_back(ReadLane(only, direction));
  } else {
    // The link's own values were read through every lane; this knows their keys.
    link::LaneSpec shared;
    std::string source;
    ReadPath(only, shared.path, source);
    ReadRate(only, shared.rate);
    ReadLoss(only, shared.rate, shared.loss);
  }
  section.know(only);
}

constexpr Word<link::OrderPolicy> kOrders[] = {{"fiber", link::OrderPolicy::kFiber},
                                               {"keep", link::OrderPolicy::kKeep}};
constexpr Word<link::RehashPolicy> kRehashes[] = {{"resilient", link::RehashPolicy::kResilient},
                                                  {"modulo", link::RehashPolicy::kModulo}};

}  // namespace

void ReadDirection(Section& section, size_t lane_layer, Direction& direction) {
  link::DirectionSpec& spec = direction.spec;
  ReadBottleneck(section, spec.bottleneck);
  ReadLanes(section, lane_layer, direction);
  const auto has_rate = [](const link::LaneSpec& lane) { return lane.rate.bits_per_s != 0; };
  if (std::none_of(spec.lanes.begin(), spec.lanes.end(), has_rate)) {
    for (const std::string_view key : {"limit", "aqm", "pfc", "classes", "overhead", "mpu"}) {
      if (section.has(key)) section.fail(key, "needs a \"rate\": without one nothing waits");
    }
  }
  ReadJitter(section, &direction.directory, spec.jitter);
  section.read_probability("duplicate", spec.duplicate);
  section.read_probability("corrupt", spec.corrupt);
  section.read_word<link::OrderPolicy>("order", spec.order, kOrders);
  section.read_word<link::RehashPolicy>("rehash", spec.rehash, kRehashes);
  section.read("detection", spec.detection);
  ReadTimeline(section, direction);
  ReadTraces(section, direction);
  ReadRules(section, direction);
}

void ReadLinkDirection(Section& link, size_t sets, std::string_view key, Direction& direction) {
  const Section own = link.child(key, std::string(key) + " of " + link.what());
  std::vector<Layer> layers;
  std::vector<Layer> shared_sets;  // a direction's own settings come before the shared ones
  size_t lane_layer = 0;
  for (size_t i = 0; i < link.layers().size(); ++i) {
    const toml::table* shared = link.layers()[i].table;
    if (const toml::node* node = shared->get(key); node && node->is_table()) {
      layers.push_back({node->as_table(), true});
    }
    (i < sets ? shared_sets : layers).push_back({shared, false});
    if (i + 1 != sets) continue;
    layers.insert(layers.end(), shared_sets.begin(), shared_sets.end());
    lane_layer = layers.size();
  }
  Section section(link.diagnostics(), own.what(), std::move(layers));
  direction.reversed = key == "ba";
  ReadDirection(section, lane_layer, direction);
  section.finish();
  link.know(section);
}

}  // namespace farspan::config
