#include "emulator/config_source.h"

#include <fmt/core.h>

#include "emulator/config/loader.h"

namespace farspan {
namespace {

namespace po = boost::program_options;

struct LinkOption {
  const char* key;
  const char* help;
};

// Keys of a link (docs/configuration.md) that are worth an option of their own; the others by
// --set.
constexpr LinkOption kLinkOptions[] = {
    {"distance", "of glass, as in \"500 km\""},
    {"delay", "one way, as in 2.5ms"},
    {"rtt", "both ways together, as in 5ms"},
    {"route", "two places of the route library, as in \"Chicago, New York\""},
    {"fiber", "smf28e, smf28ull or hollow-core"},
    {"rate", "of the bottleneck, as in 10Gbps"},
    {"limit", "of its queue, as in 16MiB or 20ms"},
    {"loss", "as in 1e-4 or \"0.1 %\""},
    {"jitter", "standard deviation, as in 20us"},
    {"duplicate", "probability"},
    {"corrupt", "probability"},
    {"order", "when the path gets shorter: fiber or keep"},
};

}  // namespace

void AddConfigOptions(cli::Options& options) {
  const auto text = [] { return po::value<std::string>(); };
  options.visible.add_options()("config,c", text(), "TOML file; docs/configuration.md")(
      "wire", text(), "one link between two ports, A,B: interfaces, PCI addresses, vdevs")(
      "set", po::value<std::vector<std::string>>()->composing(),
      "override: link.NAME.KEY=VALUE, site.NAME.KEY=VALUE, engine.KEY=VALUE, KEY=VALUE");
  for (const LinkOption& option : kLinkOptions) {
    options.visible.add_options()(option.key, text(),
                                  fmt::format("--wire: {}", option.help).c_str());
  }
}

Result<config::EmulatorConfig> ReadConfig(const po::variables_map& values) {
  config::Overrides overrides;
  if (values.count("set") != 0) overrides = values["set"].as<std::vector<std::string>>();
  config::WireOptions wire;
  for (const LinkOption& option : kLinkOptions) {
    if (values.count(option.key) != 0) {
      wire.settings[option.key] = values[option.key].as<std::string>();
    }
  }
  const bool file = values.count("config") != 0;
  if (file == (values.count("wire") != 0)) {
    return Fail(ErrorCode::kInvalid, "expected either --config FILE or --wire A,B; see --help");
  }
  if (!file) {
    wire.ports = values["wire"].as<std::string>();
    return config::FromWire(wire, overrides);
  }
  if (!wire.settings.empty()) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("--{} goes with --wire; with --config write --set link.NAME.{}=…",
                            wire.settings.begin()->first, wire.settings.begin()->first));
  }
  return config::LoadFile(values["config"].as<std::string>(), overrides);
}

}  // namespace farspan
