#include "emulator/config/section.h"

#include <algorithm>
#include <charconv>

#include "emulator/base/nearest.h"

namespace farspan::config {
namespace {

std::string_view TypeName(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a number";
    case toml::node_type::boolean:
      return "true or false";
    default:
      return "a date or time";
  }
}

template <typename T>
std::string NumberText(T value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

}  // namespace

std::string Where(const toml::source_region& source) {
  std::string path = source.path ? *source.path : std::string();
  if (path.empty() || path.starts_with("--")) return path;
  if (path.ends_with(':')) return path.substr(0, path.size() - 1);
  return path + ':' + std::to_string(source.begin.line) + ':' + std::to_string(source.begin.column);
}

Result<toml::table> ParseToml(std::string_view text, std::string_view name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    return Fail(ErrorCode::kInvalid, "not valid TOML: " + std::string(error.description()),
                Where(error.source()));
  }
}

void Diagnostics::fail(const toml::source_region& where, std::string message, ErrorCode code) {
  if (!error_) error_ = Error{code, std::move(message), Where(where)};
}

void Diagnostics::fail(Error error) {
  if (!error_) error_ = std::move(error);
}

void Diagnostics::fail_unknown_key(const toml::source_region& where, std::string message) {
  if (unknown_key_) return;
  unknown_key_ = true;
  error_ = Error{ErrorCode::kInvalid, std::move(message), Where(where)};
}

Section::Section(Diagnostics& diagnostics, std::string what, std::vector<Layer> layers)
    : diagnostics_(diagnostics), what_(std::move(what)), layers_(std::move(layers)) {}

const toml::node* Section::find(std::string_view key) {
  know({key});
  for (const Layer& layer : layers_) {
    if (const toml::node* node = layer.table->get(key)) return node;
  }
  return nullptr;
}

size_t Section::distance(std::string_view key) {
  know({key});
  const auto has = [&](const Layer& layer) { return layer.table->contains(key); };
  const auto found = std::find_if(layers_.begin(), layers_.end(), has);
  return found == layers_.end() ? std::numeric_limits<size_t>::max()
                                : static_cast<size_t>(found - layers_.begin());
}

std::string_view Section::one_of(std::initializer_list<std::string_view> keys) {
  know(keys);
  for (const Layer& layer : layers_) {
    std::string_view given;
    for (const std::string_view key : keys) {
      const toml::node* node = layer.table->get(key);
      if (!node) continue;
      if (!given.empty()) {
        std::string all;
        for (const std::string_view k : keys) all.append(all.empty() ? "" : ", ").append(k);
        fail(*node, key,
             "excludes \"" + std::string(given) + "\", which is given too; expected one of " + all);
      }
      given = key;
    }
    if (!given.empty()) return given;
  }
  return {};
}

bool Section::read(std::string_view key, std::string& out) {
  const toml::node* node = find(key);
  if (!node) return false;
  if (auto value = text(*node, key)) out = std::move(*value);
  return true;
}

bool Section::read(std::string_view key, bool& out) {
  const toml::node* node = find(key);
  if (!node) return false;
  if (const auto value = node->value_exact<bool>()) {
    out = *value;
  } else {
    refuse_type(*node, key, "true or false");
  }
  return true;
}

bool Section::read(std::string_view key, TimeNs& out) {
  const toml::node* node = find(key);
  if (const auto value = node ? quantity(*node, key, ParseTime) : std::nullopt) out = *value;
  return node != nullptr;
}

bool Section::read(std::string_view key, Rate& out) {
  const toml::node* node = find(key);
  if (const auto value = node ? quantity(*node, key, ParseRate) : std::nullopt) out = *value;
  return node != nullptr;
}

bool Section::read(std::string_view key, Length& out) {
  const toml::node* node = find(key);
  if (const auto value = node ? quantity(*node, key, ParseLength) : std::nullopt) out = *value;
  return node != nullptr;
}

bool Section::read_bytes(std::string_view key, uint64_t& out) {
  const toml::node* node = find(key);
  if (const auto value = node ? quantity(*node, key, ParseBytes) : std::nullopt) out = *value;
  return node != nullptr;
}

bool Section::read_probability(std::string_view key, double& out) {
  const toml::node* node = find(key);
  if (const auto value = node ? quantity(*node, key, ParseProbability) : std::nullopt) out = *value;
  return node != nullptr;
}

bool Section::read_number(std::string_view key, double& out, double min, double max) {
  const toml::node* node = find(key);
  if (!node) return false;
  const auto value = node->is_number() ? node->value<double>() : std::nullopt;
  if (!value) {
    refuse_type(*node, key, "a number");
  } else if (!(*value >= min && *value <= max)) {
    fail(*node, key,
         NumberText(*value) + " is out of range; expected " + NumberText(min) + " to " +
             NumberText(max));
  } else {
    out = *value;
  }
  return true;
}

std::optional<std::string> Section::text(const toml::node& node, std::string_view key) {
  auto value = node.value_exact<std::string>();
  if (!value) refuse_type(node, key, "a string");
  return value;
}

std::optional<uint64_t> Section::count(const toml::node& node, std::string_view key, uint64_t min,
                                       uint64_t max) {
  const auto value = node.value_exact<int64_t>();
  if (!value) {
    refuse_type(node, key, "a whole number");
    return std::nullopt;
  }
  if (*value < 0 || static_cast<uint64_t>(*value) < min || static_cast<uint64_t>(*value) > max) {
    fail(node, key,
         NumberText(*value) + " is out of range; expected " + NumberText(min) + " to " +
             NumberText(max));
    return std::nullopt;
  }
  return static_cast<uint64_t>(*value);
}

std::optional<size_t> Section::word_index(const toml::node& node, std::string_view key,
                                          std::span<const std::string_view> words) {
  const auto value = text(node, key);
  if (!value) return std::nullopt;
  const auto found = std::find(words.begin(), words.end(), *value);
  if (found != words.end()) return static_cast<size_t>(found - words.begin());
  std::string all;
  for (const std::string_view word : words) {
    all.append(all.empty() ? "\"" : ", \"").append(word).append("\"");
  }
  const std::string hint = DidYouMean(*value, words);
  fail(node, key,
       "unknown word \"" + *value + "\"; expected " + all + (hint.empty() ? "" : ": " + hint));
  return std::nullopt;
}

std::optional<std::string> Section::scalar(const toml::node& node, std::string_view key) {
  if (auto value = node.value_exact<std::string>()) return value;
  if (const auto value = node.value_exact<int64_t>()) return NumberText(*value);
  if (const auto value = node.value_exact<double>()) return NumberText(*value);
  refuse_type(node, key, "a quantity in quotes");
  return std::nullopt;
}

void Section::refuse_type(const toml::node& node, std::string_view key, std::string_view expected) {
  fail(node, key, "is " + std::string(TypeName(node)) + ", expected " + std::string(expected));
}

Section Section::child(std::string_view key, std::string what) {
  know({key});
  std::vector<Layer> layers;
  for (const Layer& layer : layers_) {
    const toml::node* node = layer.table->get(key);
    if (!node) continue;
    if (const toml::table* table = node->as_table()) {
      layers.push_back({table, true});
    } else {
      refuse_type(*node, key, "a table");
    }
  }
  Section section(diagnostics_, std::move(what), std::move(layers));
  section.nowhere_ = source();
  return section;
}

std::vector<const toml::node*> Section::elements(std::string_view key) {
  const toml::node* node = find(key);
  if (!node) return {};
  const toml::array* array = node->as_array();
  if (!array) {
    refuse_type(*node, key, "an array");
    return {};
  }
  std::vector<const toml::node*> nodes;
  for (const toml::node& element : *array) nodes.push_back(&element);
  return nodes;
}

std::vector<const toml::table*> Section::tables(std::string_view key) {
  std::vector<const toml::table*> found;
  for (const toml::node* node : elements(key)) {
    if (const toml::table* table = node->as_table()) {
      found.push_back(table);
    } else {
      refuse_type(*node, key, "a table in an array: [[" + std::string(key) + "]]");
    }
  }
  return found;
}

void Section::fail(const toml::node& at, std::string_view key, std::string_view message) {
  diagnostics_.fail(at.source(), std::string(key) + ": " + std::string(message));
}

void Section::fail(std::string_view key, std::string_view message) {
  const toml::node* node = find(key);
  diagnostics_.fail(node ? node->source() : source(),
                    std::string(key) + ": " + std::string(message));
}

void Section::fail(std::string_view message) {
  diagnostics_.fail(source(), what_ + ": " + std::string(message));
}

const toml::source_region& Section::source() const {
  return layers_.empty() ? nowhere_ : layers_.back().table->source();
}

void Section::know(std::span<const std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
  }
}

void Section::know(const Section& other) {
  for (const std::string& key : other.known_) know({key});
}

void Section::finish() {
  const std::vector<std::string_view> known(known_.begin(), known_.end());
  for (const Layer& layer : layers_) {
    if (!layer.own) continue;
    for (const auto& [key, node] : *layer.table) {
      if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
      std::string expected = DidYouMean(key.str(), known);
      if (expected.empty()) {
        expected = "expected one of";
        for (const std::string_view word : known) {
          expected.append(word == known.front() ? " " : ", ").append(word);
        }
      }
      diagnostics_.fail_unknown_key(key.source(), "unknown key \"" + std::string(key.str()) +
                                                      "\" in " + what_ + "; " + expected);
    }
  }
}

}  // namespace farspan::config
