// farspan route FROM TO [--json]: the fiber between two places, term by term.
#include <fmt/core.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/units.h"
#include "emulator/config/routes.h"
#include "transports/commands.h"

namespace farspan {
namespace {

namespace po = boost::program_options;
using nlohmann::ordered_json;

constexpr std::string_view kUsage =
    "Usage: farspan route FROM TO [--json]\n"
    "       farspan route --list [--json]\n\n"
    "FROM and TO are names, codes or aliases of metros; case and punctuation do not matter.\n\n";

double Ms(TimeNs time) { return static_cast<double>(time.ns) * 1e-6; }

TimeNs RoundTrip(const config::Route& route) { return route.one_way + route.one_way; }

ordered_json ToJson(const config::Metro& metro) {
  return {
      {"code", metro.code},         {"name", metro.name},         {"aliases", metro.aliases},
      {"country", metro.country},   {"latitude", metro.latitude}, {"longitude", metro.longitude},
      {"landmass", metro.landmass}, {"kind", metro.kind},         {"note", metro.note}};
}

ordered_json ToJson(const config::Route& route) {
  ordered_json terms = ordered_json::array();
  for (const link::DelayTerm& term : route.terms) {
    terms.push_back({{"name", term.name}, {"ns", term.value.ns}});
  }
  return {{"schema", "farspan.route.v1"},
          {"from", ToJson(route.from)},
          {"to", ToJson(route.to)},
          {"label", config::ToText(route.label)},
          {"class", config::ToText(route.route_class)},
          {"great_circle_km", route.great_circle_km},
          {"factor", route.factor},
          {"glass_km", static_cast<double>(route.path.length.mm) * 1e-6},
          {"group_index", route.path.group_index},
          {"terms", std::move(terms)},
          {"one_way_ns", route.one_way.ns},
          {"rtt_ns", RoundTrip(route).ns},
          {"source", route.source},
          {"note", route.note}};
}

std::string Place(const config::Metro& metro) {
  return fmt::format("{} ({}, {})", metro.name, metro.code, metro.country);
}

std::string ToText(const config::Route& route) {
  std::string text;
  const auto line = [&](std::string_view what, double ms) {
    fmt::format_to(std::back_inserter(text), "  {:<44}{:>12.6f} ms\n", what, ms);
  };
  text += fmt::format("{} to {}\n", Place(route.from), Place(route.to));
  for (const link::DelayTerm& term : route.terms) line(term.name, Ms(term.value));
  line("one way", Ms(route.one_way));
  line("round trip", Ms(RoundTrip(route)));
  text += fmt::format("  great circle {:.0f} km x {:.2f}, class {}\n", route.great_circle_km,
                      route.factor, config::ToText(route.route_class));
  text += fmt::format("  label {}: {}\n", config::ToText(route.label), route.source);
  if (!route.note.empty()) text += fmt::format("  {}\n", route.note);
  return text;
}

void PrintList(bool json) {
  const config::RouteData& data = config::BuiltInRoutes();
  if (!json) {
    for (const config::Metro& metro : data.metros) {
      fmt::print("{:<4} {:<24}{:<4}{:<24}{}\n", metro.code, metro.name, metro.country, metro.kind,
                 metro.note);
    }
    return;
  }
  ordered_json metros = ordered_json::array();
  for (const config::Metro& metro : data.metros) metros.push_back(ToJson(metro));
  ordered_json segments = ordered_json::array();
  for (const config::Segment& s : data.segments) {
    const bool glass = s.quantity == config::SegmentQuantity::kGlassKm;
    segments.push_back({{"from", s.from},
                        {"to", s.to},
                        {glass ? "glass_km" : "rtt_ms", s.value},
                        {"source", s.source},
                        {"date", s.date},
                        {"note", s.note}});
    if (s.p95 > 0) segments.back()["rtt_p95_ms"] = s.p95;
  }
  const ordered_json list{
      {"schema", "farspan.route_list.v1"}, {"metros", metros}, {"segments", segments}};
  fmt::print("{}\n", list.dump(2));
}

int PrintRoute(const std::vector<std::string>& places, bool json) {
  if (places.size() != 2) {
    return cli::Report(
        {ErrorCode::kInvalid,
         "needs two places, such as `farspan route \"Abilene TX\" Ashburn` (names with "
         "spaces in quotes), or --list",
         "route"});
  }
  const auto route = config::FindRoute(places[0], places[1]);
  if (!route) return cli::Report(route.error());
  fmt::print("{}", json ? ToJson(*route).dump(2) + "\n" : ToText(*route));
  return cli::kExitGood;
}

}  // namespace

int CmdRoute(const std::vector<std::string>& args) {
  cli::Options options;
  options.usage = kUsage;
  options.visible.add_options()("json", "machine output, schema farspan.route.v1")(
      "list", "all metros (with --json: and all segments)");
  options.hidden.add_options()("place", po::value<std::vector<std::string>>());
  options.positional.add("place", -1);
  options.rules = {cli::Excludes("list", "place", "shows all places: leave out FROM and TO")};
  bool help = false;
  const auto values = cli::Parse(options, args, help);
  if (!values) return cli::Report(values.error());
  if (help) return cli::kExitGood;
  const bool json = values->count("json") != 0;
  if (values->count("list") != 0) {
    PrintList(json);
    return cli::kExitGood;
  }
  const auto places = (*values)["place"];
  return PrintRoute(
      places.empty() ? std::vector<std::string>{} : places.as<std::vector<std::string>>(), json);
}

}  // namespace farspan
