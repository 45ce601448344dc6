#include "emulator/config/loader.h"

#include <algorithm>
#include <set>

#include "emulator/base/nearest.h"
#include "emulator/config/files.h"
#include "emulator/config/overrides.h"
#include "emulator/config/ports.h"
#include "emulator/config/read_engine.h"
#include "emulator/config/readers.h"
#include "emulator/config/resolve_pfc.h"
#include "emulator/config/section.h"

namespace farspan::config {
namespace {

constexpr Word<Mode> kModes[] = {{"wire", Mode::kWire}, {"mesh", Mode::kMesh}};
constexpr Word<Forwarding> kForwardings[] = {{"prefix", Forwarding::kPrefix},
                                             {"mac", Forwarding::kMac}};
constexpr Word<Unmatched> kUnmatched[] = {{"default", Unmatched::kDefault},
                                          {"bypass", Unmatched::kBypass}};

constexpr Word<PausePolicy> kPausePolicies[] = {
    {"pass", PausePolicy::kPass}, {"consume", PausePolicy::kConsume}, {"drop", PausePolicy::kDrop}};

using Scope = OverrideSet::Scope;

constexpr TimeNs kSendAheadMax{1'000'000};

std::string Join(const std::vector<std::string_view>& words) {
  std::string text;
  for (const std::string_view word : words) text.append(text.empty() ? "" : ", ").append(word);
  return text;
}

bool NeedObserver(const std::vector<Rule>& rules) {
  return std::any_of(rules.begin(), rules.end(),
                     [](const Rule& rule) { return rule.conditions.roce.needs_observer(); });
}

class Loader {
 public:
  Loader(const OverrideSet& overrides, std::filesystem::path directory)
      : overrides_(overrides), directory_(std::move(directory)) {}

  Result<EmulatorConfig> load(const toml::table& file) {
    std::vector<Layer> layers = overrides_.layers(Scope::kRoot);
    layers.push_back({&file, true});
    Section root(diagnostics_, "the configuration", std::move(layers));
    root.read_word<Mode>("mode", config_.mode, kModes);
    const bool forwards =
        root.read_word<Forwarding>("forwarding", config_.forwarding, kForwardings);
    if (forwards && config_.mode == Mode::kWire) {
      root.fail("forwarding", "goes with mode = \"mesh\": every frame crosses a wire");
    }
    root.read_count("seed", config_.seed, 0, INT64_MAX);
    ReadEngine(root.child("engine", "[engine]"), config_.engine);
    const std::vector<const toml::table*> sites = root.tables("sites");
    for (const toml::table* table : sites) read_site(*table);
    const std::vector<const toml::table*> links = root.tables("links");
    for (const toml::table* table : links) read_link(*table);
    root.finish();
    check_shape(root, sites, links);
    if (diagnostics_.failed()) return tl::unexpected(diagnostics_.error());
    for (const LinkSpec& link : config_.links) {
      if (NeedObserver(link.ab_rules) || NeedObserver(link.ba_rules)) {
        config_.engine.observer.enabled = true;
      }
    }
    if (const auto resolved = ResolvePfc(config_); !resolved) {
      return tl::unexpected(resolved.error());
    }
    for (const auto& [scope, names] :
         {std::pair(Scope::kSite, site_names()), std::pair(Scope::kLink, link_names())}) {
      if (const auto checked = overrides_.check_targets(scope, names); !checked) {
        return tl::unexpected(checked.error());
      }
    }
    return std::move(config_);
  }

 private:
  std::vector<std::string_view> site_names() const {
    std::vector<std::string_view> names;
    for (const SiteSpec& site : config_.sites) names.push_back(site.name);
    return names;
  }
  std::vector<std::string_view> link_names() const {
    std::vector<std::string_view> names;
    for (const LinkSpec& link : config_.links) names.push_back(link.name);
    return names;
  }

  // The name in the file itself, by which --set finds its table.
  static std::string name_of(const toml::table& table) {
    return table["name"].value_or(std::string());
  }

  Section open(const toml::table& table, Scope scope, const char* what) {
    const std::string name = name_of(table);
    std::vector<Layer> layers;
    if (!name.empty()) layers = overrides_.layers(scope, name);
    layers.push_back({&table, true});
    const std::string called = name.empty() ? "" : " \"" + name + '"';
    return {diagnostics_, what + called, std::move(layers)};
  }

  void read_name(Section& section, std::string& name, const std::vector<std::string_view>& others) {
    if (!section.read("name", name)) {
      section.fail("has no \"name\"");
    } else if (!IsName(name)) {
      section.fail("name", '"' + name + "\": expected 1 to 64 letters, digits, '-' and '_'");
    } else if (std::find(others.begin(), others.end(), name) != others.end()) {
      section.fail("name", '"' + name + "\" is taken; expected another name for each");
    }
  }

  void read_site(const toml::table& table) {
    Section section = open(table, Scope::kSite, "site");
    SiteSpec site;
    read_name(section, site.name, site_names());
    if (const toml::node* node = section.find("port")) {
      if (auto port = section.quantity(*node, "port", ParsePort)) site.port = std::move(*port);
      for (const SiteSpec& other : config_.sites) {
        if (other.port.kind != site.port.kind || other.port.target != site.port.target) continue;
        section.fail("port", '"' + site.port.text + "\" is site \"" + other.name +
                                 "\"'s already; expected a port for each site");
      }
    } else {
      section.fail(
          "has no \"port\"; expected an interface (\"eth1\"), a PCI address, "
          "\"vhost:/path.sock\" or a DPDK vdev");
    }
    section.read("port_rate", site.port_rate);
    section.read("city", site.city);
    for (const toml::node* node : section.elements("prefixes")) {
      if (const auto prefix = section.quantity(*node, "prefixes", ParsePrefix)) {
        add_prefix(section, *node, *prefix, site);
      }
    }
    if (section.has("egress")) {
      Section egress = section.child("egress", "the egress of site \"" + site.name + '"');
      site.egress.emplace();
      if (!egress.has("rate")) egress.fail("has no \"rate\"; expected the port's, \"100 Gbps\"");
      ReadRate(egress, site.egress->rate);
      ReadBottleneck(egress, site.egress->queue);
      for (const link::ClassSpec& c : site.egress->queue.classes) {
        if (c.pfc) egress.fail("an egress asks nobody to pause; pfc belongs to a link's classes");
      }
      egress.finish();
    }
    read_pause(section, site);
    if (section.read("send_ahead", site.send_ahead) && site.send_ahead > kSendAheadMax) {
      section.fail("send_ahead",
                   "expected at most 1 ms: what is on its way to the port is beyond "
                   "live changes");
    }
    section.finish();
    config_.sites.push_back(std::move(site));
  }

  // Bridges keep pause frames to themselves (802.1Q, 8.6.3), wires do not know them.
  void read_pause(Section& section, SiteSpec& site) {
    site.pause = config_.mode == Mode::kWire ? PausePolicy::kPass : PausePolicy::kDrop;
    section.read_word<PausePolicy>("pause", site.pause, kPausePolicies);
    if (site.pause == PausePolicy::kConsume && !site.egress) {
      section.fail("pause", "\"consume\" needs an \"egress\", whose queue waits meanwhile");
    }
  }

  void add_prefix(Section& section, const toml::node& node, const roce::IpPrefix& prefix,
                  SiteSpec& site) {
    const auto taken = [&](const SiteSpec& other) {
      return std::find(other.prefixes.begin(), other.prefixes.end(), prefix) !=
             other.prefixes.end();
    };
    const auto other = std::find_if(config_.sites.begin(), config_.sites.end(), taken);
    if (other != config_.sites.end()) {
      section.fail(node, "prefixes", ToText(prefix) + " is at site \"" + other->name + "\" too");
    }
    site.prefixes.push_back(prefix);
  }

  const SiteSpec* read_end(Section& section, const char* key, std::string& name) {
    if (!section.read(key, name)) {
      section.fail(std::string("has no \"") + key +
                   "\"; expected a site's name: " + Join(site_names()));
      return nullptr;
    }
    for (const SiteSpec& site : config_.sites) {
      if (site.name == name) return &site;
    }
    const std::vector<std::string_view> names = site_names();
    const std::string hint = DidYouMean(name, names);
    section.fail(key, "no site is called \"" + name + "\"; " +
                          (hint.empty() ? "expected one of " + Join(names) : hint));
    return nullptr;
  }

  Direction read_direction(Section& section, const char* key, const SiteSpec* from,
                           const SiteSpec* to) {
    Direction direction;
    direction.directory = directory_;
    if (from && to) {
      direction.from_city = from->city;
      direction.to_city = to->city;
    }
    ReadLinkDirection(section, section.layers().size() - 1, key, direction);
    return direction;
  }

  void read_link(const toml::table& table) {
    Section section = open(table, Scope::kLink, "link");
    LinkSpec link;
    read_name(section, link.name, link_names());
    const SiteSpec* a = read_end(section, "a", link.a);
    const SiteSpec* b = read_end(section, "b", link.b);
    if (a && a == b) section.fail("b", "a link joins two different sites");
    section.read_word<Unmatched>("unmatched", link.unmatched, kUnmatched);
    Direction ab = read_direction(section, "ab", a, b);
    Direction ba = read_direction(section, "ba", b, a);
    link.ab = std::move(ab.spec);
    link.ba = std::move(ba.spec);
    link.ab_rules = std::move(ab.rules);
    link.ba_rules = std::move(ba.rules);
    link.ab_events = std::move(ab.events);
    link.ba_events = std::move(ba.events);
    link.ab_source = std::move(ab.source);
    link.ba_source = std::move(ba.source);
    section.finish();
    config_.links.push_back(std::move(link));
  }

  void check_shape(Section& root, const std::vector<const toml::table*>& sites,
                   const std::vector<const toml::table*>& links) {
    if (config_.sites.size() < 2) {
      return root.fail("has " + std::to_string(config_.sites.size()) +
                       " sites; expected two [[sites]] or more");
    }
    if (config_.links.empty()) return root.fail("has no link; expected [[links]]");
    if (config_.mode == Mode::kWire) {
      if (config_.sites.size() > 2) {
        diagnostics_.fail(sites[2]->source(),
                          "a wire has two sites; expected mode = \"mesh\" for more");
      } else if (config_.links.size() > 1) {
        diagnostics_.fail(links[1]->source(), "a wire is one link; expected no other");
      }
      return;
    }
    std::set<std::pair<std::string, std::string>> pairs;
    for (size_t i = 0; i < config_.links.size(); ++i) {
      const LinkSpec& link = config_.links[i];
      if (pairs.insert(std::minmax(link.a, link.b)).second) continue;
      diagnostics_.fail(links[i]->source(),
                        "another link joins \"" + link.a + "\" and \"" + link.b +
                            "\" already; expected one, with [[links.lanes]] for parallel paths");
    }
    if (config_.forwarding != Forwarding::kPrefix) return;
    for (size_t i = 0; i < config_.sites.size(); ++i) {
      if (!config_.sites[i].prefixes.empty()) continue;
      diagnostics_.fail(sites[i]->source(),
                        "site \"" + config_.sites[i].name +
                            "\" has no \"prefixes\", by which a mesh forwards; expected "
                            "prefixes = [\"10.0.1.0/24\"], or forwarding = \"mac\"");
    }
  }

  const OverrideSet& overrides_;
  const std::filesystem::path directory_;
  Diagnostics diagnostics_;
  EmulatorConfig config_;
};

Result<EmulatorConfig> Load(std::string_view text, std::string_view name,
                            const OverrideSet& overrides, const std::filesystem::path& directory) {
  const Result<toml::table> table = ParseToml(text, name);
  if (!table) return tl::unexpected(table.error());
  return Loader(overrides, directory).load(*table);
}

// "A,B"; commas inside [] belong to a port, as those of a vdev's arguments may.
Result<std::pair<std::string, std::string>> SplitPorts(const std::string& ports) {
  std::vector<std::string> parts{""};
  int depth = 0;
  for (const char c : ports) {
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (c == ',' && depth == 0) {
      parts.emplace_back();
    } else if (c != '[' && c != ']') {
      parts.back() += c;
    }
  }
  if (parts.size() != 2 || parts[0].empty() || parts[1].empty() || depth != 0) {
    return Fail(ErrorCode::kInvalid,
                "expected two ports, A,B; write one that has commas in brackets: "
                "[net_null0,size=64],eth1",
                "--wire " + ports);
  }
  return std::pair(parts[0], parts[1]);
}

}  // namespace

bool IsName(std::string_view name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), good);
}

Result<EmulatorConfig> LoadText(std::string_view toml, std::string_view name,
                                const Overrides& overrides,
                                const std::filesystem::path& directory) {
  OverrideSet set;
  for (const std::string& text : overrides) {
    if (const auto added = set.add(text); !added) return tl::unexpected(added.error());
  }
  return Load(toml, name, set, directory);
}

Result<EmulatorConfig> LoadFile(const std::filesystem::path& file, const Overrides& overrides) {
  const Result<std::string> text = ReadFile(file);
  if (!text) return tl::unexpected(text.error());
  return LoadText(*text, file.string(), overrides, file.parent_path());
}

Result<EmulatorConfig> FromWire(const WireOptions& options, const Overrides& overrides) {
  constexpr std::string_view kWire = R"(
[[sites]]
name = "a"
[[sites]]
name = "b"
[[links]]
name = "wire"
a = "a"
b = "b"
)";
  const auto ports = SplitPorts(options.ports);
  if (!ports) return tl::unexpected(ports.error());
  const std::string wire = "--wire " + options.ports;
  const auto port = [&](const std::string& name) {
    return ParseSetting("port", '"' + name + '"', wire);
  };
  Result<toml::table> port_a = port(ports->first);
  Result<toml::table> port_b = port(ports->second);
  Result<toml::table> settings = ParseSettings(options.settings);
  for (const Result<toml::table>* table : {&port_a, &port_b, &settings}) {
    if (!*table) return tl::unexpected(table->error());
  }
  OverrideSet set;
  set.add(Scope::kSite, "a", std::move(*port_a), wire);
  set.add(Scope::kSite, "b", std::move(*port_b), wire);
  set.add(Scope::kLink, "wire", std::move(*settings), wire);
  for (const std::string& text : overrides) {
    if (const auto added = set.add(text); !added) return tl::unexpected(added.error());
  }
  return Load(kWire, "--wire", set, {});
}

}  // namespace farspan::config
