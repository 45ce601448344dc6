#include "emulator/config/routes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "emulator/base/nearest.h"
#include "emulator/link/path.h"

namespace farspan::config {
namespace {

struct Point {
  double latitude = 0;
  double longitude = 0;
};

// Turning points of the cables from Europe to Asia.
constexpr Point kSuez{29.9, 32.6};
constexpr Point kBabElMandeb{12.6, 43.3};
constexpr Point kDondraHead{5.9, 80.6};
constexpr Point kSingaporeStrait{1.3, 103.8};

Point At(const Metro& metro) { return {metro.latitude, metro.longitude}; }

double HaversineKm(Point a, Point b) {
  constexpr double kMeanRadiusKm = 6371.0088;
  constexpr double kRadians = std::numbers::pi / 180;
  const double north = std::sin((b.latitude - a.latitude) * kRadians / 2);
  const double east = std::sin((b.longitude - a.longitude) * kRadians / 2);
  const double h = north * north +
                   std::cos(a.latitude * kRadians) * std::cos(b.latitude * kRadians) * east * east;
  return 2 * kMeanRadiusKm * std::asin(std::min(1.0, std::sqrt(h)));
}

// 0: the cables between these two do not go through Suez.
double SuezKm(const Metro& a, const Metro& b) {
  if (b.side == SuezSide::kEurope && a.side != SuezSide::kEurope) return SuezKm(b, a);
  if (a.side != SuezSide::kEurope) return 0;
  const double to_red_sea = HaversineKm(At(a), kSuez) + HaversineKm(kSuez, kBabElMandeb);
  if (b.side == SuezSide::kIndian) return to_red_sea + HaversineKm(kBabElMandeb, At(b));
  if (b.side != SuezSide::kPacific) return 0;
  return to_red_sea + HaversineKm(kBabElMandeb, kDondraHead) +
         HaversineKm(kDondraHead, kSingaporeStrait) + HaversineKm(kSingaporeStrait, At(b));
}

RouteClass ClassOf(const Metro& a, const Metro& b, double great_circle_km) {
  if (SuezKm(a, b) > 0) return RouteClass::kSubsea;
  if (great_circle_km < kRouteModel.short_below_km) return RouteClass::kShort;
  return a.landmass == b.landmass ? RouteClass::kContinental : RouteClass::kSubsea;
}

double ModelGlassKm(const Metro& a, const Metro& b) {
  const RouteModel& m = kRouteModel;
  if (const double suez = SuezKm(a, b); suez > 0) return m.fixed_km + m.subsea * suez;
  const double direct = GreatCircleKm(a, b);
  const double slope = a.landmass == b.landmass ? m.continental : m.subsea;
  return std::min(m.largest_factor * direct, m.fixed_km + slope * direct);
}

// Whole kilometres: more would be a promise.
link::PathSpec ModelPath(const Metro& a, const Metro& b) {
  return {.length = {std::max<int64_t>(1, std::llround(ModelGlassKm(a, b))) * 1'000'000}};
}

link::PathSpec SegmentPath(const Segment& segment) {
  if (segment.quantity == SegmentQuantity::kGlassKm) {
    return {.length = {std::llround(segment.value * 1e6)}};
  }
  return {.delay = {std::llround(segment.value * 1e6 / 2)}};
}

// Fills in what follows from the ends and the path.
Route Complete(const Metro& from, const Metro& to, const link::PathSpec& path) {
  Route route;
  route.from = from;
  route.to = to;
  route.path = path;
  route.great_circle_km = GreatCircleKm(from, to);
  route.route_class = ClassOf(from, to, route.great_circle_km);
  route.terms = link::DelayTerms(path);
  route.one_way = link::OneWayDelay(path);
  constexpr double kThousandKm = 1e9;  // mm
  const TimeNs glass = link::GlassDelay({static_cast<int64_t>(kThousandKm)}, path.group_index);
  route.factor = 1000.0 * static_cast<double>(route.one_way.ns) / static_cast<double>(glass.ns) /
                 route.great_circle_km;
  return route;
}

// Letters and digits only, in lower case; bytes beyond ASCII stay, so that they do not match.
std::string Key(std::string_view name) {
  std::string key;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') {
      key += static_cast<char>(c - 'A' + 'a');
    } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c & 0x80) != 0) {
      key += c;
    }
  }
  return key;
}

const Segment* FindSegment(const Metro& a, const Metro& b) {
  const std::vector<Segment>& segments = BuiltInRoutes().segments;
  const auto found = std::find_if(segments.begin(), segments.end(), [&](const Segment& s) {
    return (s.from == a.code && s.to == b.code) || (s.from == b.code && s.to == a.code);
  });
  return found == segments.end() ? nullptr : &*found;
}

}  // namespace

std::string_view ToText(RouteLabel label) {
  constexpr std::array<std::string_view, 3> kTexts{"published", "measured", "model"};
  return kTexts[static_cast<size_t>(label)];
}

std::string_view ToText(RouteClass route_class) {
  constexpr std::array<std::string_view, 3> kTexts{"short", "continental", "subsea"};
  return kTexts[static_cast<size_t>(route_class)];
}

double GreatCircleKm(const Metro& a, const Metro& b) { return HaversineKm(At(a), At(b)); }

Result<const Metro*> FindMetro(std::string_view name) {
  const std::string key = Key(name);
  std::vector<std::string_view> known;
  for (const Metro& metro : BuiltInRoutes().metros) {
    std::vector<std::string_view> words{metro.name, metro.code};
    words.insert(words.end(), metro.aliases.begin(), metro.aliases.end());
    for (const std::string_view word : words) {
      if (!key.empty() && Key(word) == key) return &metro;
    }
    known.insert(known.end(), words.begin(), words.end());
  }
  const std::string near = DidYouMean(name, known);
  return Fail(ErrorCode::kNotFound, "no metro is called \"" + std::string(name) + "\"; " +
                                        (near.empty() ? "" : near + " ") +
                                        "`farspan route --list` has them all");
}

Route ModelRoute(const Metro& from, const Metro& to) {
  Route route = Complete(from, to, ModelPath(from, to));
  route.label = RouteLabel::kModel;
  route.source = "typical cloud backbone, fitted to measured round trips (traces/routes)";
  if (SuezKm(from, to) > 0) route.note = "by cable through Suez";
  return route;
}

Route RouteBetween(const Metro& from, const Metro& to) {
  const Segment* segment = FindSegment(from, to);
  if (segment == nullptr) return ModelRoute(from, to);
  Route route = Complete(from, to, SegmentPath(*segment));
  route.source = segment->source + " (" + segment->date + ")";
  route.note = segment->note;
  route.label = RouteLabel::kPublished;
  if (segment->quantity == SegmentQuantity::kRttMs) {
    route.label = RouteLabel::kMeasured;
    route.terms = {{"half of the measured round trip", route.one_way}};
    if (segment->p95 > 0) {
      route.note += (route.note.empty() ? "" : "; ") +
                    std::string("95 % of its round trips within ") +
                    ToText(TimeNs{std::llround(segment->p95 * 1e6)});
    }
  }
  return route;
}

Result<Route> FindRoute(std::string_view from_name, std::string_view to_name) {
  const auto from = FindMetro(from_name);
  if (!from) return tl::unexpected(from.error());
  const auto to = FindMetro(to_name);
  if (!to) return tl::unexpected(to.error());
  if (*from == *to) {
    return Fail(ErrorCode::kInvalid, "both ends of the route are " + (*from)->name +
                                         ": name two metros, or give a distance");
  }
  return RouteBetween(**from, **to);
}

}  // namespace farspan::config
