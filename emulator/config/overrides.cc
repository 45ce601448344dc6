#include "emulator/config/overrides.h"

#include <algorithm>

#include "emulator/base/nearest.h"

namespace farspan::config {
namespace {

bool IsKey(std::string_view key) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  return !key.empty() && std::all_of(key.begin(), key.end(), good);
}

std::string AsTomlString(std::string_view value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

std::optional<toml::table> TryParse(const std::string& text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error&) {
    return std::nullopt;
  }
}

}  // namespace

Result<toml::table> ParseSetting(std::string_view key, std::string_view value,
                                 const std::string& name) {
  if (!IsKey(key)) {
    return Fail(ErrorCode::kInvalid, "expected KEY=VALUE, such as link.NAME.delay=5ms", name);
  }
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(value.begin(), value.end(), control)) {
    return Fail(ErrorCode::kInvalid, "a value has no line breaks or control characters", name);
  }
  const std::string left = std::string(key) + " = ";
  if (auto table = TryParse(left + std::string(value), name)) return std::move(*table);
  if (auto table = TryParse(left + AsTomlString(value), name)) return std::move(*table);
  return Fail(ErrorCode::kInvalid, "not a key and a value of TOML", name);
}

Result<toml::table> ParseSettings(const std::map<std::string, std::string>& settings) {
  toml::table merged;
  for (const auto& [key, value] : settings) {
    std::string name = "--";
    name.append(key).append(" ").append(value);
    Result<toml::table> table = ParseSetting(key, value, name);
    if (!table) return table;
    for (auto&& [inner, node] : *table) {
      merged.insert_or_assign(inner, std::move(node));
    }
  }
  return merged;
}

tl::unexpected<Error> AsKey(Error error) {
  if (error.context.starts_with("--")) {
    error.context = error.context.substr(2, error.context.find(' ') - 2);
    if (error.message.starts_with(error.context + ": ")) error.context.clear();  // says it itself
  }
  return tl::unexpected(std::move(error));
}

Result<void> OverrideSet::add(std::string_view text) {
  const std::string name = "--set " + std::string(text);
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    return Fail(ErrorCode::kInvalid, "expected KEY=VALUE, such as link.NAME.delay=5ms", name);
  }
  std::string_view key = text.substr(0, equals);
  std::string_view target;
  Scope scope = Scope::kRoot;
  if (key.starts_with("link.") || key.starts_with("site.")) {
    scope = key.starts_with("link.") ? Scope::kLink : Scope::kSite;
    const std::string_view rest = key.substr(5);
    const size_t dot = rest.find('.');
    if (dot == std::string_view::npos) {
      return Fail(ErrorCode::kInvalid,
                  scope == Scope::kLink
                      ? "expected link.NAME.KEY=VALUE, such as link.NAME.delay=5ms"
                      : "expected site.NAME.KEY=VALUE, such as site.NAME.port=eth1",
                  name);
    }
    target = rest.substr(0, dot);
    key = rest.substr(dot + 1);
  }
  Result<toml::table> table = ParseSetting(key, text.substr(equals + 1), name);
  if (!table) return tl::unexpected(table.error());
  add(scope, target, std::move(*table), name);
  return {};
}

void OverrideSet::add(Scope scope, std::string_view target, toml::table table, std::string name) {
  entries_.push_back({scope, std::string(target), std::move(name), std::move(table)});
}

std::vector<Layer> OverrideSet::layers(Scope scope, std::string_view target) const {
  std::vector<Layer> layers;
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (entry->scope == scope && entry->target == target) layers.push_back({&entry->table, true});
  }
  return layers;
}

Result<void> OverrideSet::check_targets(Scope scope,
                                        const std::vector<std::string_view>& names) const {
  for (const Entry& entry : entries_) {
    if (entry.scope != scope) continue;
    if (std::find(names.begin(), names.end(), entry.target) != names.end()) continue;
    std::string hint = DidYouMean(entry.target, names);
    if (hint.empty()) {
      hint = "expected";
      for (const std::string_view name : names) hint.append(" ").append(name);
    }
    return Fail(ErrorCode::kInvalid,
                std::string("no ") + (scope == Scope::kLink ? "link" : "site") + " is called \"" +
                    entry.target + "\"; " + hint,
                entry.name);
  }
  return {};
}

}  // namespace farspan::config
