// Small configurations for tests: two sites, one wire.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "emulator/config/loader.h"

namespace farspan::test {

inline constexpr std::string_view kSites = R"(
[[sites]]
name = "a"
port = "eth1"
[[sites]]
name = "b"
port = "eth2"
)";

// A wire with these keys of its link.
inline std::string Wire(std::string_view keys) {
  return std::string(kSites) + "[[links]]\nname = \"w\"\na = \"a\"\nb = \"b\"\n" +
         std::string(keys);
}

inline config::LinkSpec LoadLink(std::string_view keys, const config::Overrides& overrides = {}) {
  const auto config = config::LoadText(Wire(keys), "test.toml", overrides);
  EXPECT_TRUE(config) << config.error().text();
  return config ? config->links.at(0) : config::LinkSpec{};
}

}  // namespace farspan::test
