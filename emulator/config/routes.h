// The route library: from two named places to the fiber between them.
//
// Data: traces/routes/{metros,segments}.csv, compiled in, with their provenance in README.md there.
// In this order:
//   published  a published length of glass becomes the path's length, exactly; nothing is added
//   measured   a published round trip becomes the path's delay, half of it each way
//   model      the length of glass that accounts for a typical cloud backbone's round trip:
//                glass = min(3.1 x d, 550 km + s x d),  s = 1.6 over land, 1.25 over sea
//              d is the great circle, or, between Europe and Asia or Oceania, the way through Suez
//              along which the cables lie. The 550 km (5.4 ms of round trip) and the factors come
//              from measured round trips between cloud regions, so they include equipment, slack
//              and the way out of either site already: add none. A path engineered for latency is
//              much shorter: Hibernia Express has 1.08 times its great circle, the model 1.35.
//
// Distances: haversine on a sphere of the mean Earth radius (IUGG: 6371.0088 km), within 0.5 % of
// the ellipsoid's. Metros are points; their coordinates are good to about 10 km.
// Not modelled: which cable, protection paths, differences between the two directions.
// Threading: everything is immutable after the first call, which parses the data.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/link/spec.h"

namespace farspan::config {

// --- Data ------------------------------------------------------------------------------------

// Where a metro stands on the cables from Europe through Suez to Asia and Oceania.
enum class SuezSide { kNone, kEurope, kIndian, kPacific };

struct Metro {
  std::string code;
  std::string name;
  std::vector<std::string> aliases;
  std::string country;  // ISO 3166
  double latitude = 0;  // degrees, north and east positive
  double longitude = 0;
  std::string landmass;  // metros of one are joined by land, bridge or tunnel
  SuezSide side = SuezSide::kNone;
  std::string kind;  // campus, cloud, exchange, landing, joined by '+'
  std::string note;
};

enum class SegmentQuantity { kGlassKm, kRttMs };

struct Segment {
  std::string from;  // codes; it holds in both directions
  std::string to;
  SegmentQuantity quantity = SegmentQuantity::kGlassKm;
  double value = 0;
  double p95 = 0;  // of a round trip, 0: unknown
  std::string source;
  std::string date;
  std::string note;
};

struct RouteData {
  std::vector<Metro> metros;
  std::vector<Segment> segments;
};

// An error's context is "metros.csv:12" or "segments.csv:3".
Result<RouteData> ParseRouteData(std::string_view metros_csv, std::string_view segments_csv);
const RouteData& BuiltInRoutes();

// --- Routes ----------------------------------------------------------------------------------

enum class RouteLabel { kPublished, kMeasured, kModel };
enum class RouteClass {
  kShort,        // below 1,200 km
  kContinental,  // on one landmass, overland or along its coast
  kSubsea,       // between landmasses, or through Suez
};
std::string_view ToText(RouteLabel label);
std::string_view ToText(RouteClass route_class);

// The model's constants, fitted to the measured segments; tests/unit/routes_test.cc prints and
// bounds what they leave.
struct RouteModel {
  double fixed_km = 550;
  double continental = 1.6;
  double subsea = 1.25;
  double largest_factor = 3.1;  // decides below 367 km over land
  double short_below_km = 1200;
};
inline constexpr RouteModel kRouteModel;

struct Route {
  Metro from;
  Metro to;
  double great_circle_km = 0;
  link::PathSpec path;
  RouteLabel label = RouteLabel::kModel;
  RouteClass route_class = RouteClass::kShort;
  double factor = 0;   // the whole delay as glass of `path`, over the great circle
  std::string source;  // "Spread Networks ... (2010-2012)", or the model's formula
  std::string note;
  std::vector<link::DelayTerm> terms;  // add up to one_way
  TimeNs one_way{};
};

// By code, name or alias; case, spaces and punctuation do not matter. kNotFound says what is near.
Result<const Metro*> FindMetro(std::string_view name);

double GreatCircleKm(const Metro& a, const Metro& b);

// What the model alone says of two different metros, whatever is known of them.
Route ModelRoute(const Metro& from, const Metro& to);

// Two different metros: published, measured or model, whichever comes first.
Route RouteBetween(const Metro& from, const Metro& to);
Result<Route> FindRoute(std::string_view from, std::string_view to);

}  // namespace farspan::config
