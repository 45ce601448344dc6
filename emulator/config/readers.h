// Readers of the parts of a direction, from sections of TOML to the specs of emulator/link.
//
// For emulator/config and the testbed's scenarios. Each reads what is there over what the spec
// already holds, so that the caller's values are the defaults, and reports to the section's
// diagnostics.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/config/schema.h"
#include "emulator/config/section.h"
#include "emulator/link/spec.h"

namespace farspan::config {

// 1 to 64 letters, digits, '-' and '_': names stand in URLs, metric labels and --set.
bool IsName(std::string_view name);

// One direction while it is read.
struct Direction {
  std::filesystem::path directory;  // of files that it names
  std::string from_city;            // for a route that is not given
  std::string to_city;
  bool reversed = false;  // b to a: positions shared by both directions count from a

  link::DirectionSpec spec;
  std::vector<Rule> rules;
  std::vector<NamedEvent> events;
  std::string source;  // of a routed path
};

// False where the section has no distance, delay, rtt or route; glass and equipment are read even
// so. Equipment of `path` stays unless the section has it, a delay or an rtt.
bool ReadPath(Section& section, link::PathSpec& path, std::string& source);
// The route library's way between two cities; a failure is reported at the section.
void TakeRoute(Section& section, std::string_view from, std::string_view to, link::PathSpec& path,
               std::string& source);

// Default keying: wire time where there is a rate, else by packet.
void ReadLoss(Section& section, Rate rate, link::LossSpec& loss);
// `directory`: of files that it names; null: it may name none.
void ReadJitter(Section& section, const std::filesystem::path* directory, link::JitterSpec& jitter);
// limit, aqm, overhead, mpu, classes.
void ReadBottleneck(Section& section, link::BottleneckSpec& bottleneck);
// A rate of 0 is refused: no bottleneck is no rate.
void ReadRate(Section& section, Rate& rate);

// Of a key's value, in the section that has it.
std::optional<uint8_t> ReadDscp(Section& section, const toml::node& node, std::string_view key);

// timeline and traces, into direction.spec.timeline and direction.events; the lanes have been read.
void ReadTimeline(Section& section, Direction& direction);
void ReadTraces(Section& section, Direction& direction);
// rules, into direction.spec.faults and direction.rules.
void ReadRules(Section& section, Direction& direction);

// All of a direction. `lane_layers` is where a lane's own table stands among the section's layers.
void ReadDirection(Section& section, size_t lane_layer, Direction& direction);
// "ab" or "ba" of a link: its own table over what both directions share. The first `sets` layers of
// the link lie over the file's (--set); among the file's, a nearer one comes first with all it has.
void ReadLinkDirection(Section& link, size_t sets, std::string_view key, Direction& direction);

}  // namespace farspan::config
