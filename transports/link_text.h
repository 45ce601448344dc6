// What `farspan link` prints of the answers of the HTTP API (docs/control.md), for people.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace farspan {

std::string ListText(const nlohmann::ordered_json& state);
std::string ShowText(const nlohmann::ordered_json& link);
std::string QueuePairsText(const nlohmann::ordered_json& answer);
std::string AppliedText(const nlohmann::ordered_json& answer);
std::string ClearedText(const nlohmann::ordered_json& answer);
std::string RulesText(const nlohmann::ordered_json& answer);
// Of the metrics that an emulator exports; nobody is asked.
std::string CatalogueText();

}  // namespace farspan
