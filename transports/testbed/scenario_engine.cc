#include "transports/testbed/scenario_engine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

#include "emulator/base/units.h"

namespace farspan::testbed {
namespace {

constexpr std::array<std::string_view, 4> kLengths{"distance", "delay", "rtt", "route"};
constexpr std::array<std::string_view, 2> kDirections{"ab", "ba"};
// What is not of the path: whose ends they are, names, and bytes per packet.
constexpr std::array<std::string_view, 3> kNotScaled{"name", "overhead", "mpu"};

template <typename List>
bool Contains(const List& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// What is in `over` is not to be had from `base` any more; one length replaces the others.
void Remove(toml::table& base, const toml::table& over) {
  for (const auto& [key, value] : over) base.erase(key.str());
  const auto given = [&](std::string_view length) { return over.contains(length); };
  if (std::none_of(kLengths.begin(), kLengths.end(), given)) return;
  for (const std::string_view length : kLengths) base.erase(length);
}

void Overlay(toml::table& base, const toml::table& over) {
  Remove(base, over);
  for (const auto& [key, value] : over) {
    if (key.str() == "a" || key.str() == "b" || Contains(kDirections, key.str())) continue;
    base.insert_or_assign(key.str(), value);
  }
}

void MakeAbsolute(toml::node* file, const std::filesystem::path& directory) {
  if (file == nullptr || !file->is_string()) return;
  auto& text = file->as_string()->get();
  text = std::filesystem::absolute(directory / text).string();
}

// Tables of jitter, and traces: what the emulator looks for beside its own file.
void MakeFilesAbsolute(toml::node& node, const std::filesystem::path& directory) {
  if (toml::array* array = node.as_array()) {
    for (toml::node& element : *array) MakeFilesAbsolute(element, directory);
  }
  toml::table* table = node.as_table();
  if (table == nullptr) return;
  for (auto&& [key, value] : *table) {
    if (key.str() == "table") MakeAbsolute(&value, directory);
    if (key.str() == "traces" && value.is_table()) {
      for (auto&& [of, file] : *value.as_table()) MakeAbsolute(&file, directory);
    }
    MakeFilesAbsolute(value, directory);
  }
}

void ScaleNode(toml::node& node, uint64_t by) {
  if (toml::array* array = node.as_array()) {
    for (toml::node& element : *array) ScaleNode(element, by);
  }
  if (toml::table* table = node.as_table()) {
    for (auto&& [key, value] : *table) {
      if (!Contains(kNotScaled, key.str())) ScaleNode(value, by);
    }
  }
  if (!node.is_string()) return;
  std::string& text = node.as_string()->get();
  if (const auto rate = ParseRate(text)) {
    text = std::to_string(rate->bits_per_s / by) + " bps";
  } else if (const auto bytes = ParseBytes(text)) {
    text = std::to_string(*bytes / by) + " B";
  }
}

void ScaleSizes(toml::table& file, uint64_t by) {
  constexpr uint64_t kShare = 4096;
  const toml::array* sites = file["sites"].as_array();
  const auto per_site = file["collective"]["ranks_per_site"].value_or<int64_t>(1);
  const uint64_t step = kShare * std::max<uint64_t>(sites == nullptr ? 1 : sites->size(), 1) *
                        static_cast<uint64_t>(std::max<int64_t>(per_site, 1));
  toml::array* sizes = file["collective"]["sizes"].as_array();
  if (sizes == nullptr) return;
  for (toml::node& node : *sizes) {
    if (!node.is_string()) continue;
    std::string& text = node.as_string()->get();
    const auto bytes = ParseBytes(text);
    if (bytes) text = std::to_string(std::max<uint64_t>(*bytes / by / step, 1) * step) + " B";
  }
}

}  // namespace

std::string EngineToml(const EngineLink& link) {
  toml::table shared;
  std::array<toml::table, 2> own;
  for (auto layer = link.layers.rbegin(); layer != link.layers.rend(); ++layer) {
    for (size_t i = 0; i < kDirections.size(); ++i) {
      Remove(own[i], **layer);  // a nearer table comes before a farther one's directions
      if (const toml::table* of = (**layer)[kDirections[i]].as_table()) Overlay(own[i], *of);
    }
    Overlay(shared, **layer);
  }
  shared.insert_or_assign("name", link.name);
  shared.insert_or_assign("a", link.a);
  shared.insert_or_assign("b", link.b);
  for (size_t i = 0; i < kDirections.size(); ++i) {
    if (!own[i].empty()) shared.insert_or_assign(kDirections[i], std::move(own[i]));
  }
  MakeFilesAbsolute(shared, link.directory);
  const toml::table root{{"links", toml::array{std::move(shared)}}};
  std::ostringstream out;
  out << root << '\n';
  return out.str();
}

std::string EngineSet(std::string_view key, const toml::node& value) {
  toml::table line;
  line.insert_or_assign(key, value);
  if (toml::table* table = line[key].as_table()) table->is_inline(true);
  std::ostringstream out;
  out << line;
  std::string text = out.str();
  const size_t equals = text.find(" = ");
  return equals == std::string::npos ? text : text.erase(equals, 1).erase(equals + 1, 1);
}

void ScaleDown(toml::table& file, uint64_t by) {
  for (const char* key : {"link", "links", "cross", "sweep", "contenders"}) {
    if (toml::node* node = file.get(key)) ScaleNode(*node, by);
  }
  ScaleSizes(file, by);
}

}  // namespace farspan::testbed
