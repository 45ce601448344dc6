#include <algorithm>
#include <sstream>

#include "emulator/config/readers.h"
#include "emulator/config/routes.h"
#include "emulator/link/path.h"

namespace farspan::config {
namespace {

constexpr TimeNs kLongestDelay{3'600'000'000'000};  // an hour: beyond, sums of bytes could overflow

constexpr Word<double> kFibers[] = {
    {"smf28e", 1.4682}, {"smf28ull", 1.4620}, {"hollow-core", 1.003}};

constexpr std::string_view kEquipment[] = {
    "fiber",        "group_index",       "amplifiers", "amplifier_delay",
    "regenerators", "regenerator_delay", "fec"};

void ReadEquipment(Section& section, link::PathSpec& path) {
  if (section.one_of({"fiber", "group_index"}) == "fiber") {
    section.read_word<double>("fiber", path.group_index, kFibers);
  } else {
    section.read_number("group_index", path.group_index, 1, 2);
  }
  section.read("amplifiers", path.amplifier_spacing);
  section.read("amplifier_delay", path.amplifier_delay);
  section.read_count("regenerators", path.regenerators, 0, 100'000);
  section.read("regenerator_delay", path.regenerator_delay);
  section.read("fec", path.fec_delay);
}

// A delay is all of it: equipment in the same place contradicts, equipment farther away (shared by
// both directions, say) belongs to the distance that it replaces.
void RefuseEquipment(Section& section, std::string_view key) {
  for (const std::string_view equipment : kEquipment) {
    if (section.distance(equipment) > section.distance(key)) continue;
    section.fail(equipment, "goes with a distance or a route, but \"" + std::string(key) +
                                "\" is given, which is the whole delay; expected one of them");
  }
}

// "Chicago, New York", or both in an array.
std::vector<std::string> PlacesOf(Section& section) {
  std::vector<std::string> places;
  if (const auto text = section.find("route")->value_exact<std::string>()) {
    std::istringstream parts(*text);
    for (std::string place; std::getline(parts, place, ',');) places.push_back(place);
    return places;
  }
  for (const toml::node* node : section.elements("route")) {
    if (const auto name = section.text(*node, "route")) places.push_back(*name);
  }
  return places;
}

void ReadRoute(Section& section, link::PathSpec& path, std::string& source) {
  const std::vector<std::string> places = PlacesOf(section);
  if (places.size() == 2) return TakeRoute(section, places[0], places[1], path, source);
  std::string message = "expected two places, as in \"Chicago, New York\"";
  if (places.size() == 1) {
    const auto metro = FindMetro(places[0]);
    message += metro ? "; " + (*metro)->name + " is one" : "; " + metro.error().message;
  }
  section.fail("route", message);
}

}  // namespace

void TakeRoute(Section& section, std::string_view from, std::string_view to, link::PathSpec& path,
               std::string& source) {
  const Result<Route> route = FindRoute(from, to);
  if (!route) {
    section.fail("route", route.error().text());
    return;
  }
  path.length = route->path.length;
  path.delay = route->path.delay;
  path.group_index = route->path.group_index;
  source = route->from.name + " to " + route->to.name + ", " + std::string(ToText(route->label)) +
           ": " + route->source;
}

bool ReadPath(Section& section, link::PathSpec& path, std::string& source) {
  const std::string key(section.one_of({"distance", "delay", "rtt", "route"}));
  section.know(kEquipment);
  if (key == "delay" || key == "rtt") {
    RefuseEquipment(section, key);
    TimeNs delay{};
    section.read(key, delay);
    if (key == "rtt") delay.ns /= 2;
    path = link::PathSpec{.delay = delay};
    source.clear();
  } else if (key == "distance") {
    path.delay = {};
    section.read("distance", path.length);
    source.clear();
  } else if (key == "route") {
    ReadRoute(section, path, source);
  }
  if (key != "delay" && key != "rtt") ReadEquipment(section, path);
  if (link::OneWayDelay(path) > kLongestDelay) {
    section.fail(
        key.empty() ? "distance" : key,
        "the delay one way is " + ToText(link::OneWayDelay(path)) + "; expected at most an hour");
  }
  return !key.empty();
}

}  // namespace farspan::config
