#include "transports/testbed/scenario.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <sstream>

#include "emulator/base/nearest.h"
#include "emulator/config/files.h"
#include "emulator/config/readers.h"
#include "emulator/config/section.h"
#include "transports/congestion/controllers.h"
#include "transports/core/congestion.h"
#include "transports/core/recovery.h"
#include "transports/testbed/contender.h"
#include "transports/testbed/endpoints.h"
#include "transports/testbed/scenario_engine.h"

namespace farspan::testbed {
namespace {

using collectives::Collective;
using collectives::Schedule;
using config::Direction;
using config::Layer;
using config::Section;

constexpr Word<bool> kTopologies[] = {{"mesh", false}, {"uplinks", true}};
constexpr Word<bool> kTunings[] = {{"default", false}, {"tuned", true}};

constexpr size_t kMostSites = 64;

// A word out of names that are known only at run time.
bool ReadName(Section& section, std::string_view key, std::string& out,
              const std::vector<std::string_view>& names) {
  const toml::node* node = section.find(key);
  if (!node) return false;
  if (const auto index = section.word_index(*node, key, names)) out = names[*index];
  return true;
}

std::string TextOf(const toml::node& node) {
  if (const auto text = node.value_exact<std::string>()) return *text;
  std::ostringstream out;
  node.visit([&](const auto& value) { out << value; });
  return out.str();
}

Result<void> CheckPlans(const Scenario& scenario, uint64_t bytes) {
  for (const ContenderSpec& contender : scenario.contenders) {
    const auto plan = collectives::MakePlan(TaskOf(scenario, contender, bytes));
    if (plan) continue;
    return Fail(ErrorCode::kInvalid, BytesToText(bytes) + " for contender \"" + contender.name +
                                         "\": " + plan.error().message);
  }
  return {};
}

class Reader {
 public:
  Reader(std::string_view name, std::filesystem::path directory)
      : directory_(std::move(directory)) {
    scenario_.name = std::filesystem::path(name).stem().string();
  }

  Result<Scenario> read(toml::table& file) {
    transport::RegisterControllers();
    Section root(diagnostics_, "the scenario", {{&file, true}});
    scenario_.title = scenario_.name;
    root.read("title", scenario_.title);
    root.read_count("seed", scenario_.seed, 0, INT64_MAX);
    root.read_count("samples", scenario_.samples, 1, 10'000'000);
    root.read_count("warm_up", scenario_.warm_up, 0, 1'000);
    root.read("limit", scenario_.limit);
    if (root.read("over_time", scenario_.over_time)) {
      if (const auto good = CheckOverTime(scenario_); !good) {
        root.fail("over_time", good.error().message);
      }
    }
    root.read_word<bool>("topology", scenario_.shared_uplinks, kTopologies);
    uint64_t payload = scenario_.payload_bytes;
    if (root.read_bytes("payload", payload) && (payload < 64 || payload > 9'000)) {
      root.fail("payload", "expected 64 B to 9000 B in a datagram");
    }
    scenario_.payload_bytes = static_cast<uint32_t>(payload);
    read_sites(root);
    read_collective(root.child("collective", "[collective]"));
    read_sweep(root, file);
    read_links(root);
    read_cross(root);
    read_contenders(root);
    root.finish();
    for (size_t i = 0; i < scenario_.sizes.size() && !diagnostics_.failed(); ++i) {
      const auto good = CheckPlans(scenario_, scenario_.sizes[i]);
      if (!good) diagnostics_.fail(size_nodes_[i]->source(), "sizes: " + good.error().message);
    }
    if (diagnostics_.failed()) return tl::unexpected(diagnostics_.error());
    return std::move(scenario_);
  }

 private:
  void read_sites(Section& root) {
    const std::vector<const toml::table*> tables = root.tables("sites");
    for (const toml::table* table : tables) {
      Section section(diagnostics_, "a site", {{table, true}});
      std::string name, city;
      if (!section.read("name", name)) section.fail("has no \"name\"");
      if (!config::IsName(name)) {
        section.fail("name", '"' + name + "\": expected 1 to 64 letters, digits, '-' and '_'");
      } else if (site_index(name)) {
        section.fail("name", '"' + name + "\" is taken; expected another name for each");
      }
      section.read("city", city);
      section.finish();
      scenario_.sites.push_back(name);
      scenario_.cities.push_back(city);
    }
    if (tables.size() < 2 || tables.size() > kMostSites) {
      root.fail("has " + std::to_string(tables.size()) + " sites; expected 2 to " +
                std::to_string(kMostSites) + " [[sites]]");
    }
  }

  std::optional<uint32_t> site_index(std::string_view name) const {
    const auto found = std::find(scenario_.sites.begin(), scenario_.sites.end(), name);
    if (found == scenario_.sites.end()) return std::nullopt;
    return static_cast<uint32_t>(found - scenario_.sites.begin());
  }

  void read_collective(Section section) {
    section.read_word<Collective>("kind", scenario_.collective, collectives::kCollectives);
    scenario_.schedule = scenario_.collective == Collective::kAllReduce
                             ? Schedule::kDirect
                             : DefaultSchedule(scenario_.collective);
    section.read_word<Schedule>("schedule", scenario_.schedule, collectives::kSchedules);
    section.read_word<Element>("datatype", scenario_.element, kElements);
    section.read_count("ranks_per_site", scenario_.ranks_per_site, 1, 64);
    for (const toml::node* node : section.elements("sizes")) {
      const auto size = section.quantity(*node, "sizes", ParseBytes);
      if (!size) continue;
      if (*size == 0) section.fail(*node, "sizes", "expected more than 0 B");
      scenario_.sizes.push_back(*size);
      size_nodes_.push_back(node);
    }
    if (scenario_.sizes.empty()) section.fail("has no \"sizes\"; expected [\"1 MiB\", …]");
    section.finish();
  }

  // The values are moved into tables of their own, which lie over every link's.
  void read_sweep(Section& root, toml::table& file) {
    const Section section = root.child("sweep", "[sweep]");
    toml::table* sweep = section.layers().empty() ? nullptr : file["sweep"].as_table();
    if (sweep == nullptr) {
      sweep_.emplace_back();
      scenario_.points.emplace_back();
      return;
    }
    toml::array* values = sweep->size() == 1 ? sweep->begin()->second.as_array() : nullptr;
    if (values == nullptr || values->empty()) {
      diagnostics_.fail(sweep->source(),
                        "[sweep]: expected one key of a link with the values that it takes in "
                        "turn: loss = [\"1e-5\", \"1e-4\"]");
      return;
    }
    const toml::key key = sweep->begin()->first;
    scenario_.sweep = key.str();
    for (toml::node& value : *values) {
      scenario_.points.push_back({.value = TextOf(value), .links = {}, .engine_sets = {}});
      sweep_.emplace_back().insert_or_assign(key, std::move(value));
    }
  }

  struct OwnLink {
    const toml::table* table = nullptr;
    bool swapped = false;  // its "a" stands later among the sites than its "b"
  };

  // [link] is what all pairs share, [[links]] are pairs that differ.
  void read_links(Section& root) {
    const Section shared = root.child("link", "[link]");
    std::map<SitePair, OwnLink> own;
    for (const toml::table* table : root.tables("links")) {
      Section section(diagnostics_, "a link", {{table, true}});
      const auto a = read_end(section, "a"), b = read_end(section, "b");
      if (!a || !b) continue;
      if (*a == *b) section.fail("b", "a link joins two different sites");
      if (!own.emplace(std::minmax(*a, *b), OwnLink{table, *a > *b}).second) {
        section.fail("another link joins \"" + scenario_.sites[*a] + "\" and \"" +
                     scenario_.sites[*b] + "\" already");
      }
    }
    if (scenario_.shared_uplinks && !own.empty()) {
      root.fail("links", "topology = \"uplinks\" has one link for each site, all as [link] says");
    }
    const size_t sites = scenario_.sites.size();
    if (shared.layers().empty() && own.size() < sites * (sites - 1) / 2) {
      return root.fail("has no [link]; expected what joins the sites: a length, a rate, …");
    }
    for (size_t point = 0; point < scenario_.points.size(); ++point) {
      for (uint32_t a = 0; a < sites; ++a) {
        for (uint32_t b = a; b < sites; ++b) {
          if ((a == b) != scenario_.shared_uplinks) continue;
          std::vector<Layer> layers{{&sweep_[point], true}};
          const auto pair = own.find({a, b});
          if (pair != own.end()) layers.push_back({pair->second.table, true});
          for (const Layer& layer : shared.layers()) layers.push_back(layer);
          const bool swapped = pair != own.end() && pair->second.swapped;
          read_link(std::move(layers), swapped ? b : a, swapped ? a : b, scenario_.points[point]);
        }
      }
    }
  }

  std::optional<uint32_t> read_end(Section& section, std::string_view key) {
    std::string name;
    if (!section.read(key, name)) {
      section.fail("has no \"" + std::string(key) + "\"; expected a site's name");
      return std::nullopt;
    }
    const auto index = site_index(name);
    if (!index) {
      const std::vector<std::string_view> names(scenario_.sites.begin(), scenario_.sites.end());
      section.fail(key, "no site is called \"" + name + "\"; " + DidYouMean(name, names));
    }
    return index;
  }

  void read_link(std::vector<Layer> layers, uint32_t a, uint32_t b, ScenarioPoint& point) {
    if (diagnostics_.failed()) return;
    const std::string what = scenario_.shared_uplinks
                                 ? "the uplink of \"" + scenario_.sites[a] + '"'
                                 : "link " + scenario_.sites[a] + "-" + scenario_.sites[b];
    Section section(diagnostics_, what, std::move(layers));
    section.know({"a", "b"});
    point.links[{a, b}] = read_direction(section, "ab", a, b);
    if (a != b) point.links[{b, a}] = read_direction(section, "ba", b, a);
    section.finish();
    add_engine_link(section.layers(), scenario_.sites[a], scenario_.sites[b], point);
  }

  // The first layer is the sweep's.
  void add_engine_link(std::span<const Layer> layers, const std::string& a, const std::string& b,
                       ScenarioPoint& point) {
    const std::string name = a + "-" + b;
    for (const auto& [key, value] : *layers[0].table) {
      point.engine_sets.push_back("link." + name + "." + EngineSet(key.str(), value));
    }
    if (&point != scenario_.points.data()) return;
    std::vector<const toml::table*> tables;
    for (const Layer& layer : layers.subspan(1)) tables.push_back(layer.table);
    scenario_.engine_links += EngineToml({name, a, b, tables, directory_});
  }

  link::DirectionSpec read_direction(Section& section, std::string_view key, uint32_t from,
                                     uint32_t to) {
    Direction direction;
    direction.directory = directory_;
    direction.from_city = scenario_.cities[from];
    direction.to_city = scenario_.cities[to];
    constexpr size_t kSweepOnly = 1;
    config::ReadLinkDirection(section, kSweepOnly, key, direction);
    for (const link::LaneSpec& lane : direction.spec.lanes) {
      if (lane.rate.bits_per_s == 0) {
        section.fail("has no \"rate\"; expected that of the port in front of the fiber");
      }
    }
    if (!direction.rules.empty()) {
      section.fail("rules", "match packets of real hosts; in virtual time there are none to match");
    }
    return std::move(direction.spec);
  }

  void read_cross(Section& root) {
    root.read("cross_warm_up", scenario_.cross_warm_up);
    for (const toml::table* table : root.tables("cross")) {
      Section section(diagnostics_, "cross traffic", {{table, true}});
      const auto from = read_end(section, "from"), to = read_end(section, "to");
      CrossSpec spec;
      ReadName(section, "congestion", spec.congestion, transport::ControllerNames());
      if (!section.read("rate", spec.rate) && spec.congestion == "fixed") {
        section.fail("\"fixed\" needs a \"rate\"");
      }
      uint32_t flows = 1;
      section.read_count("flows", flows, 1, 64);
      section.finish();
      if (!from || !to) continue;
      if (*from == *to) section.fail("to", "cross traffic goes from one site to another");
      spec.sites = {*from, *to};
      scenario_.cross.insert(scenario_.cross.end(), flows, spec);
    }
  }

  void read_contenders(Section& root) {
    const std::vector<const toml::table*> tables = root.tables("contenders");
    for (const toml::table* table : tables) {
      Section section(diagnostics_, "a contender", {{table, true}});
      scenario_.contenders.push_back(read_contender(section));
    }
    if (tables.empty()) scenario_.contenders = StandardContenders(scenario_);
  }

  // What no transport of the house is called: a file's name, from the scenario's own folder on.
  bool read_library(Section& section, ContenderSpec& spec) {
    const toml::node* node = section.find("transport");
    const auto text = node ? node->value_exact<std::string>() : std::nullopt;
    if (!text || std::filesystem::path(*text).extension() != ".so") return false;
    spec.transport = "library";
    spec.library = std::filesystem::absolute(directory_ / *text);
    section.read("options", spec.options);
    return true;
  }

  ContenderSpec read_contender(Section& section) {
    ContenderSpec spec;
    if (!read_library(section, spec)) {
      ReadName(section, "transport", spec.transport, EndpointNames());
    }
    const bool span = spec.transport == "span";
    section.read_word<bool>("tuning", spec.tuned, kTunings);
    if (span) ReadName(section, "recovery", spec.recovery, transport::RecoveryNames());
    if (span) ReadName(section, "congestion", spec.congestion, transport::ControllerNames());
    if (spec.transport == "tcp") {
      spec.congestion = "cubic";
      ReadName(section, "congestion", spec.congestion, {"cubic", "bbr"});
    }
    CompleteContender(scenario_, spec);
    section.read_word<RateClass>("class", spec.rate_class, kRateClasses);
    section.read_word<Schedule>("schedule", spec.schedule, collectives::kSchedules);
    section.read_count("channels", spec.channels, 1, 64);
    section.read_bytes("buffsize", spec.buffsize);
    if (span) section.read_bytes("window", spec.window_bytes);
    section.read("name", spec.name);
    for (const ContenderSpec& other : scenario_.contenders) {
      if (other.name == spec.name) {
        section.fail("\"" + spec.name + "\" is there already; expected a \"name\" of its own");
      }
    }
    section.finish();
    return spec;
  }

  const std::filesystem::path directory_;
  config::Diagnostics diagnostics_;
  Scenario scenario_;
  std::vector<const toml::node*> size_nodes_;  // for messages
  std::deque<toml::table> sweep_;              // of each point
};

}  // namespace

collectives::Task TaskOf(const Scenario& scenario, const ContenderSpec& contender, uint64_t bytes) {
  collectives::Task task;
  task.collective = scenario.collective;
  task.schedule = contender.schedule;
  task.ranks = scenario.ranks();
  task.ranks_per_site = scenario.ranks_per_site;
  task.bytes = bytes;
  task.element_bytes = BytesOf(scenario.element);
  task.channels = contender.channels;
  return task;
}

Result<void> CheckOverTime(const Scenario& scenario) {
  constexpr int64_t kMostIntervals = 1'000'000;
  constexpr TimeNs kShortest{10'000};
  const TimeNs least = std::max(kShortest, TimeNs{scenario.limit.ns / kMostIntervals});
  if (scenario.over_time >= least) return {};
  return Fail(ErrorCode::kInvalid,
              "expected at least " + ToText(least) + ": 10 us, and a millionth of \"limit\"");
}

Result<void> CheckPlans(const Scenario& scenario) {
  for (const uint64_t bytes : scenario.sizes) {
    if (const auto good = CheckPlans(scenario, bytes); !good) return good;
  }
  return {};
}

Result<Scenario> ParseScenario(std::string_view toml, std::string_view name,
                               const std::filesystem::path& directory, uint64_t scale) {
  auto file = config::ParseToml(toml, name);
  if (!file) return tl::unexpected(file.error());
  if (scale > 1) ScaleDown(*file, scale);
  return Reader(name, directory).read(*file);
}

Result<Scenario> LoadScenario(const std::filesystem::path& file, uint64_t scale) {
  const auto text = config::ReadFile(file);
  if (!text) return tl::unexpected(text.error());
  return ParseScenario(*text, file.string(), file.parent_path(), scale);
}

Result<std::filesystem::path> FindScenario(const std::string& name,
                                           const std::filesystem::path& library) {
  if (name.ends_with(".toml") || name.find('/') != std::string::npos) return name;
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(library, ignored)) {
    if (entry.path().extension() == ".toml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  if (std::find(names.begin(), names.end(), name) != names.end()) {
    return library / (name + ".toml");
  }
  const std::vector<std::string_view> known(names.begin(), names.end());
  std::string hint = DidYouMean(name, known);
  if (hint.empty()) {
    hint = "there are";
    for (const std::string& one : names) hint += " " + one;
  }
  return Fail(ErrorCode::kNotFound, "no scenario is called \"" + name + "\"; " + hint,
              library.string());
}

}  // namespace farspan::testbed
