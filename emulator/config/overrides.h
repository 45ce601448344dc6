// --set and the one-line form's options, as layers of TOML over the file's tables.
//
// Internal to emulator/config.
#pragma once

#include <toml++/toml.h>

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/config/section.h"

namespace farspan::config {

// "KEY = VALUE" as TOML where VALUE parses as that, else as a string. `name` is what errors show.
Result<toml::table> ParseSetting(std::string_view key, std::string_view value,
                                 const std::string& name);

// All of them in one table, so that keys which exclude each other meet. Errors are shown at
// "--KEY VALUE".
Result<toml::table> ParseSettings(const std::map<std::string, std::string>& settings);
// An error of theirs, shown at "KEY".
tl::unexpected<Error> AsKey(Error error);

class OverrideSet {
 public:
  enum class Scope { kRoot, kSite, kLink };

  // "link.NAME.KEY=VALUE", "site.NAME.KEY=VALUE", "KEY=VALUE".
  Result<void> add(std::string_view text);
  void add(Scope scope, std::string_view target, toml::table table, std::string name);

  // The latest first. Their tables live as long as this does.
  std::vector<Layer> layers(Scope scope, std::string_view target = {}) const;

  // An override whose site or link is not among `names` is an error.
  Result<void> check_targets(Scope scope, const std::vector<std::string_view>& names) const;

 private:
  struct Entry {
    Scope scope;
    std::string target;
    std::string name;
    toml::table table;
  };
  std::deque<Entry> entries_;
};

}  // namespace farspan::config
