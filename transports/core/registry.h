// Registry: names to factories, for policies that are chosen by name. Filled before the first
// endpoint is made, from one thread; names are literals and outlive it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emulator/base/result.h"

namespace farspan::transport {

template <typename Factory>
class Registry {
 public:
  Registry(std::string_view what, std::vector<std::pair<std::string_view, Factory>> entries)
      : what_(what), entries_(std::move(entries)) {}

  void add(std::string_view name, Factory factory) {
    for (auto& [known, value] : entries_) {
      if (known == name) {
        value = factory;
        return;
      }
    }
    entries_.emplace_back(name, factory);
  }

  Result<Factory> find(std::string_view name) const {
    for (const auto& [known, factory] : entries_) {
      if (known == name) return factory;
    }
    std::string message = "unknown " + std::string(what_) + " '" + std::string(name) + "'; known:";
    for (const std::string_view known : names()) message += " " + std::string(known);
    return Fail(ErrorCode::kInvalid, message);
  }

  std::vector<std::string_view> names() const {
    std::vector<std::string_view> result;
    for (const auto& [name, factory] : entries_) result.push_back(name);
    return result;
  }

 private:
  std::string_view what_;
  std::vector<std::pair<std::string_view, Factory>> entries_;
};

}  // namespace farspan::transport
