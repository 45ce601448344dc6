// Scenario: what `farspan compare` runs, read from TOML.
//
// Sites, the links between them in the words of the emulator's configuration
// (docs/configuration.md) , a collective with its sizes, a sweep of one of the links' keys, and
// contenders. Errors are as the emulator's: "FILE:LINE:COLUMN: what is wrong, what was expected,
// the nearest word". docs/compare.md lists the keys. Plain data: whoever has read it owns it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/base/units.h"
#include "emulator/base/words.h"
#include "emulator/link/spec.h"
#include "transports/collectives/schedules.h"
#include "transports/testbed/elements.h"

namespace farspan::testbed {

// What a contender knows of the path: its rate beforehand, or only what its controller finds.
// Factors are between contenders of one class.
enum class RateClass : uint8_t { kProvisioned, kControlled };
inline constexpr Word<RateClass> kRateClasses[] = {{"provisioned", RateClass::kProvisioned},
                                                   {"controlled", RateClass::kControlled}};
inline std::string_view ToText(RateClass rate_class) { return WordOf(kRateClasses, rate_class); }

struct ContenderSpec {
  std::string name{};
  std::string transport = "span";
  std::filesystem::path library{};   // transport "library": a user's, for real time alone
  std::string options{};             // what it is told
  std::string recovery = "auto";     // span
  std::string congestion = "fixed";  // span, tcp
  RateClass rate_class = RateClass::kProvisioned;
  bool tuned = true;  // false: as it comes, with NCCL's BUFFSIZE of 4 MiB
  collectives::Schedule schedule = collectives::Schedule::kDirect;
  uint32_t channels = 1;  // of a ring
  uint64_t buffsize = 0;  // of a lane, in 8 slots; 0: the preset's, of tuned Span at least 4 BDP
  uint64_t window_bytes = 0;  // span, in flight on a path; 0: never reached

  bool is_library() const { return !library.empty(); }
  bool baseline() const { return transport != "span" && !is_library(); }
};

using SitePair = std::pair<uint32_t, uint32_t>;  // from, to

// A flow of somebody else's between two sites, before and beside every contender.
struct CrossSpec {
  SitePair sites;
  std::string congestion = "cubic";
  Rate rate{};  // `fixed`: at which it sends; others: a ceiling, 0 none
};

// One value of the sweep: all links as they are with it.
struct ScenarioPoint {
  std::string value;  // as written; empty where nothing is swept
  std::map<SitePair, link::DirectionSpec> links;
  std::vector<std::string> engine_sets;  // what --set tells the emulator of it
};

struct Scenario {
  std::string name;  // of the file
  std::string title;
  uint64_t seed = 1;
  uint64_t samples = 200;        // each with a seed of its own: seed, seed + 1, …
  uint32_t warm_up = 1;          // iterations before the one that is measured; 0: cold
  TimeNs limit{60'000'000'000};  // of virtual time for one iteration
  uint32_t payload_bytes = 4096;
  std::vector<std::string> sites;
  std::vector<std::string> cities;  // of each, as written or empty
  bool shared_uplinks = false;
  collectives::Collective collective = collectives::Collective::kAllReduce;
  collectives::Schedule schedule = collectives::Schedule::kDirect;
  Element element = Element::kBfloat16;
  uint32_t ranks_per_site = 1;
  std::vector<uint64_t> sizes;
  TimeNs over_time{};      // the first samples are recorded by intervals of that length; 0: not
  bool real_time = false;  // it runs on real hosts: real_compare.h
  std::vector<CrossSpec> cross;
  TimeNs cross_warm_up{1'000'000'000};  // that they have for themselves
  std::string sweep;                    // the links' key; empty: one point
  std::vector<ScenarioPoint> points;
  std::vector<ContenderSpec> contenders;
  std::string engine_links;  // without the sweep, as the emulator's configuration has them

  uint32_t ranks() const { return static_cast<uint32_t>(sites.size()) * ranks_per_site; }
};

// A contender's share in one collective of so many bytes, of rank 0.
collectives::Task TaskOf(const Scenario& scenario, const ContenderSpec& contender, uint64_t bytes);

// Whether intervals of that length may be recorded; the error's context is empty.
Result<void> CheckOverTime(const Scenario& scenario);
// Whether every contender has a plan for every size; the error's context is empty.
Result<void> CheckPlans(const Scenario& scenario);

Result<Scenario> ParseScenario(std::string_view toml, std::string_view name,
                               const std::filesystem::path& directory = {}, uint64_t scale = 1);
// Rates, sizes and amounts of bytes divided by `scale`: see scenario_engine.h.
Result<Scenario> LoadScenario(const std::filesystem::path& file, uint64_t scale = 1);
// A file, or the name of one in `library` without its ".toml".
Result<std::filesystem::path> FindScenario(const std::string& name,
                                           const std::filesystem::path& library);

}  // namespace farspan::testbed
