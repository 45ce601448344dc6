#include "emulator/config/routes.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <set>
#include <string>
#include <vector>

namespace farspan::config {
namespace {

constexpr double kEarthKm = 6371.0088;
constexpr double kLightKmPerMs = 299.792458;
constexpr double kGlassKmPerMs = kLightKmPerMs / 1.4682;

double RttMs(const Route& route) { return 2e-6 * static_cast<double>(route.one_way.ns); }

const Metro& Named(std::string_view name) {
  const auto metro = FindMetro(name);
  EXPECT_TRUE(metro.has_value()) << name;
  return metro ? **metro : BuiltInRoutes().metros.front();
}

Metro At(double latitude, double longitude) {
  Metro metro;
  metro.latitude = latitude;
  metro.longitude = longitude;
  return metro;
}

// --- Distances and goldens -------------------------------------------------------------------

TEST(Routes, GreatCircleHasItsClosedForms) {
  const double quarter = kEarthKm * std::numbers::pi / 2;
  EXPECT_NEAR(GreatCircleKm(At(0, 0), At(90, 0)), quarter, 1e-6);
  EXPECT_NEAR(GreatCircleKm(At(0, 0), At(0, 90)), quarter, 1e-6);
  EXPECT_NEAR(GreatCircleKm(At(12, 170), At(-12, -10)), 2 * quarter, 1e-3);  // antipodes
  EXPECT_NEAR(GreatCircleKm(At(10, 179), At(10, -179)),                      // over the date line
              GreatCircleKm(At(10, -1), At(10, 1)), 1e-6);
  EXPECT_EQ(GreatCircleKm(At(5, 5), At(5, 5)), 0);
}

TEST(Routes, ChicagoToNewJerseyIsTheGoldenCase) {
  const auto route = FindRoute("Chicago", "New Jersey");
  ASSERT_TRUE(route.has_value());
  EXPECT_EQ(route->label, RouteLabel::kPublished);
  EXPECT_EQ(route->path.length, Length{1'328'000'000});
  EXPECT_EQ(route->path.delay.ns, 0);
  EXPECT_NEAR(RttMs(*route), 13.01, 0.005);
  EXPECT_GT(RttMs(*route), 12.98);  // published, after a year of improvements
  EXPECT_LT(RttMs(*route), 13.1);   // published, at the opening
}

TEST(Routes, MeasuredRoundTripIsHalvedExactly) {
  const auto route = FindRoute("new-york", "LONDON");
  ASSERT_TRUE(route.has_value());
  EXPECT_EQ(route->label, RouteLabel::kMeasured);
  EXPECT_EQ(route->path.length.mm, 0);
  EXPECT_EQ(route->one_way, TimeNs{29'475'000});
  EXPECT_NE(route->source.find("2015-09"), std::string::npos);
}

// --- Every pair ------------------------------------------------------------------------------

void ExpectSane(const Route& route, const Route& back) {
  SCOPED_TRACE(route.from.name + " to " + route.to.name);
  EXPECT_EQ(route.one_way, back.one_way);
  EXPECT_EQ(route.path.length, back.path.length);
  EXPECT_EQ(route.label, back.label);
  EXPECT_EQ(route.route_class, back.route_class);
  TimeNs sum{};
  for (const link::DelayTerm& term : route.terms) sum += term.value;
  EXPECT_EQ(sum, route.one_way);
  EXPECT_GT(RttMs(route), 2 * route.great_circle_km / kLightKmPerMs);  // faster than light
  EXPECT_GE(route.factor, 1.0);
  EXPECT_NEAR(RttMs(route), 2 * route.factor * route.great_circle_km / kGlassKmPerMs,
              1e-5 * RttMs(route));
  EXPECT_LT(RttMs(route), 500);
  EXPECT_FALSE(route.source.empty());
}

TEST(Routes, EveryPairHasARoute) {
  const std::vector<Metro>& metros = BuiltInRoutes().metros;
  ASSERT_GE(metros.size(), 60u);
  for (const Metro& a : metros) {
    for (const Metro& b : metros) {
      if (a.code == b.code) continue;
      ExpectSane(RouteBetween(a, b), RouteBetween(b, a));
      ExpectSane(ModelRoute(a, b), ModelRoute(b, a));
    }
  }
}

TEST(Routes, ClassesFollowLandmassAndDistance) {
  const auto of = [](std::string_view a, std::string_view b) {
    return ModelRoute(Named(a), Named(b)).route_class;
  };
  EXPECT_EQ(of("Ashburn", "Columbus"), RouteClass::kShort);
  EXPECT_EQ(of("London", "Dublin"), RouteClass::kShort);
  EXPECT_EQ(of("Ashburn", "Quincy"), RouteClass::kContinental);
  EXPECT_EQ(of("Ashburn", "Sao Paulo"), RouteClass::kContinental);  // along the coast
  EXPECT_EQ(of("Ashburn", "London"), RouteClass::kSubsea);
  EXPECT_EQ(of("Frankfurt", "Mumbai"), RouteClass::kSubsea);  // through Suez
  EXPECT_EQ(of("Mumbai", "Frankfurt"), RouteClass::kSubsea);
}

TEST(Routes, ModelIsItsFormula) {
  const Route near = ModelRoute(Named("Singapore"), Named("Johor"));
  EXPECT_NEAR(near.factor, kRouteModel.largest_factor, 0.1);  // 18 km, rounded to a whole one
  const Route land = ModelRoute(Named("Abilene"), Named("Ashburn"));
  EXPECT_NEAR(static_cast<double>(land.path.length.mm) * 1e-6, 550 + 1.6 * land.great_circle_km,
              0.5);
  const Route sea = ModelRoute(Named("Ashburn"), Named("London"));
  EXPECT_NEAR(static_cast<double>(sea.path.length.mm) * 1e-6, 550 + 1.25 * sea.great_circle_km,
              0.5);
  // Through Suez: much longer than straight across Russia.
  const Route suez = ModelRoute(Named("Milan"), Named("Osaka"));
  EXPECT_GT(suez.factor, 2.0);
  EXPECT_LT(suez.factor, 2.5);
}

// --- Against what was published --------------------------------------------------------------

struct Comparison {
  const Segment* segment;
  Route model;  // made without the pair's own segment
  double error = 0;
};

std::vector<Comparison> Compare(SegmentQuantity quantity, std::string_view source) {
  std::vector<Comparison> rows;
  for (const Segment& segment : BuiltInRoutes().segments) {
    if (segment.quantity != quantity || segment.source.find(source) == std::string::npos) continue;
    Comparison row{&segment, ModelRoute(Named(segment.from), Named(segment.to)), 0};
    const double modelled = quantity == SegmentQuantity::kRttMs
                                ? RttMs(row.model)
                                : static_cast<double>(row.model.path.length.mm) * 1e-6;
    row.error = modelled / segment.value - 1;
    rows.push_back(std::move(row));
  }
  return rows;
}

void Print(const char* title, const std::vector<Comparison>& rows) {
  std::printf("\n%s\n%-9s %-12s %8s %8s %8s %7s\n", title, "pair", "class", "km", "known", "model",
              "error");
  for (const Comparison& row : rows) {
    std::printf("%s-%s   %-12s %8.0f %8.2f %8.2f %+6.0f%%\n", row.segment->from.c_str(),
                row.segment->to.c_str(), std::string(ToText(row.model.route_class)).c_str(),
                row.model.great_circle_km, row.segment->value, row.segment->value * (1 + row.error),
                100 * row.error);
  }
}

double MeanAbsolute(const std::vector<Comparison>& rows) {
  double sum = 0;
  for (const Comparison& row : rows) sum += std::abs(row.error);
  return sum / static_cast<double>(rows.size());
}

// The eight pairs that the model was first held against. Toronto-Quebec is the straightest hop of
// all (1.8), and the model's short hops are average: +29 %. The rest is within 7 %.
TEST(Routes, ModelAgainstTheReferencePairs) {
  std::vector<Comparison> rows = Compare(SegmentQuantity::kRttMs, "Azure");
  rows.resize(8);
  Print("Model against eight Azure round trips (P50, ms)", rows);
  for (const Comparison& row : rows) {
    EXPECT_GT(row.error, -0.10) << row.segment->from << '-' << row.segment->to;
    EXPECT_LT(row.error, 0.32) << row.segment->from << '-' << row.segment->to;
  }
  EXPECT_LT(MeanAbsolute(rows), 0.08);
  // Twins: one factor for all pairs, be it the conduit maps' 1.3 or the Internet's 2.1, fails this.
  for (const double factor : {1.3, 1.6, 2.1}) {
    double sum = 0;
    for (const Comparison& row : rows) {
      sum +=
          std::abs(2 * factor * row.model.great_circle_km / kGlassKmPerMs / row.segment->value - 1);
    }
    EXPECT_GT(sum / 8, 0.16) << factor;
  }
}

// All of one operator's pairs. Worst below: Madrid-Sao Paulo, whose packets visit North America;
// Seoul-Tokyo and the short hops of 170 to 400 km, where the ways out of the sites dominate. Worst
// above: straight cables between coasts of one landmass (Chennai-Singapore).
TEST(Routes, ModelAgainstOneOperator) {
  const std::vector<Comparison> rows = Compare(SegmentQuantity::kRttMs, "Azure");
  ASSERT_GE(rows.size(), 100u);
  Print("Model against Azure round trips (P50, ms)", rows);
  std::vector<double> errors;
  double sum = 0;
  for (const Comparison& row : rows) {
    EXPECT_GT(row.error, -0.45) << row.segment->from << '-' << row.segment->to;
    EXPECT_LT(row.error, 0.40) << row.segment->from << '-' << row.segment->to;
    errors.push_back(std::abs(row.error));
    sum += row.error;
  }
  std::sort(errors.begin(), errors.end());
  std::printf("median %.0f%%, nine in ten within %.0f%%, mean %+.1f%%\n",
              100 * errors[errors.size() / 2], 100 * errors[errors.size() * 9 / 10],
              100 * sum / static_cast<double>(rows.size()));
  EXPECT_LT(errors[errors.size() / 2], 0.10);
  EXPECT_LT(errors[errors.size() * 9 / 10], 0.27);
  EXPECT_LT(std::abs(sum) / static_cast<double>(rows.size()), 0.05);
}

// No constant was fitted to these.
TEST(Routes, ModelAgainstAnotherOperator) {
  const std::vector<Comparison> rows = Compare(SegmentQuantity::kRttMs, "IBM");
  ASSERT_EQ(rows.size(), 8u);
  Print("Model against IBM Cloud round trips (mean, ms)", rows);
  for (const Comparison& row : rows) EXPECT_LT(std::abs(row.error), 0.16);
}

// Paths engineered for latency, and bare glass between landing stations: a backbone is longer, but
// not by more than 1.9 times.
TEST(Routes, ModelIsLongerThanTheBestPaths) {
  std::vector<Comparison> rows = Compare(SegmentQuantity::kRttMs, "Hibernia");
  Print("Model against a path engineered for latency (ms)", rows);
  const std::vector<Comparison> glass = Compare(SegmentQuantity::kGlassKm, "");
  Print("Model against published glass (km)", glass);
  ASSERT_GE(glass.size(), 10u);
  rows.insert(rows.end(), glass.begin(), glass.end());
  for (const Comparison& row : rows) {
    EXPECT_GT(row.error, -0.05) << row.segment->from << '-' << row.segment->to;
    EXPECT_LT(row.error, 0.90) << row.segment->from << '-' << row.segment->to;
  }
}

// A typing error in a table shows as a path faster than glass, or absurdly slow.
TEST(Routes, SegmentsArePhysical) {
  for (const Segment& segment : BuiltInRoutes().segments) {
    const Route route = RouteBetween(Named(segment.from), Named(segment.to));
    EXPECT_GE(route.factor, 1.02) << segment.from << '-' << segment.to;
    EXPECT_LE(route.factor, 5) << segment.from << '-' << segment.to;
    EXPECT_LE(segment.p95, 1.4 * segment.value + 4);
  }
}

// --- Looking up ------------------------------------------------------------------------------

TEST(Routes, NamesCodesAndAliasesAllFindTheMetro) {
  for (const std::string_view name : {"The Dalles OR", "the dalles", "THE-DALLES", "dls", "DLS"}) {
    EXPECT_EQ(Named(name).code, "DLS") << name;
  }
  EXPECT_EQ(Named("Secaucus").code, "NYC");
}

TEST(Routes, NoTwoMetrosShareAWord) {
  for (const Metro& metro : BuiltInRoutes().metros) {
    EXPECT_EQ(Named(metro.code).code, metro.code);
    EXPECT_EQ(Named(metro.name).code, metro.code);
    for (const std::string& alias : metro.aliases) EXPECT_EQ(Named(alias).code, metro.code);
  }
}

TEST(Routes, UnknownPlacesAreToldTheNearest) {
  const auto route = FindRoute("Frankfurt", "Ashbrun");
  ASSERT_FALSE(route.has_value());
  EXPECT_EQ(route.error().code, ErrorCode::kNotFound);
  EXPECT_NE(route.error().message.find("did you mean \"Ashburn"), std::string::npos)
      << route.error().message;
  for (const std::string_view name : {"", "-", "Atlantis", "\xff\xfe"}) {
    const auto metro = FindMetro(name);
    ASSERT_FALSE(metro.has_value()) << name;
    EXPECT_NE(metro.error().message.find("--list"), std::string::npos);
  }
}

TEST(Routes, APlaceHasNoRouteToItself) {
  const auto route = FindRoute("FRA", "frankfurt");
  ASSERT_FALSE(route.has_value());
  EXPECT_EQ(route.error().code, ErrorCode::kInvalid);
}

// --- The parser ------------------------------------------------------------------------------

const std::string kMetroHead =
    "code,name,aliases,country,latitude,longitude,landmass,side,kind,note\n";
const std::string kSegmentHead = "from,to,quantity,value,p95,source,date,note\n";
const std::string kTwoMetros = kMetroHead +
                               "AAA,A,,US,10,20,land,none,cloud,\n"
                               "BBB,B,Bee;Be,US,-10,-20,land,europe,cloud,note\n";

struct BadInput {
  std::string metros;
  std::string segments;
  std::string context;
  std::string message;
};

TEST(Routes, BadDataIsRefusedWithItsLine) {
  const std::vector<BadInput> cases{
      {"", kSegmentHead, "metros.csv:1", "columns"},
      {"code;name\n", kSegmentHead, "metros.csv:1", "columns"},
      {kMetroHead + "AAA,A\n", kSegmentHead, "metros.csv:2", "expected 10 fields"},
      {kMetroHead + "AAA,A,,US,91,20,land,none,k,\n", kSegmentHead, "metros.csv:2", "latitude"},
      {kMetroHead + "AAA,A,,US,1,nan,land,none,k,\n", kSegmentHead, "metros.csv:2", "longitude"},
      {kMetroHead + "AAA,A,,US,1,2,land,left,k,\n", kSegmentHead, "metros.csv:2", "side"},
      {kMetroHead + "AAA,,,US,1,2,land,none,k,\n", kSegmentHead, "metros.csv:2", "name"},
      {kTwoMetros + "AAA,C,,US,1,2,land,none,k,\n", kSegmentHead, "metros.csv:4", "taken"},
      {kTwoMetros, "from,to\n", "segments.csv:1", "columns"},
      {kTwoMetros, kSegmentHead + "AAA,CCC,rtt_ms,1,,s,2020,\n", "segments.csv:2", "\"CCC\""},
      {kTwoMetros, kSegmentHead + "AAA,AAA,rtt_ms,1,,s,2020,\n", "segments.csv:2", "different"},
      {kTwoMetros, kSegmentHead + "AAA,BBB,miles,1,,s,2020,\n", "segments.csv:2", "quantity"},
      {kTwoMetros, kSegmentHead + "AAA,BBB,rtt_ms,-1,,s,2020,\n", "segments.csv:2", "value"},
      {kTwoMetros, kSegmentHead + "AAA,BBB,rtt_ms,5 ms,,s,2020,\n", "segments.csv:2", "value"},
      {kTwoMetros, kSegmentHead + "AAA,BBB,rtt_ms,5,4,s,2020,\n", "segments.csv:2", "p95"},
      {kTwoMetros, kSegmentHead + "AAA,BBB,rtt_ms,5,,,2020,\n", "segments.csv:2", "source"},
      {kTwoMetros, kSegmentHead + "AAA,BBB,rtt_ms,5,,s,1,\n\nBBB,AAA,glass_km,9,,s,1,\n",
       "segments.csv:4", "already"},
  };
  for (const BadInput& bad : cases) {
    const auto data = ParseRouteData(bad.metros, bad.segments);
    ASSERT_FALSE(data.has_value()) << bad.message;
    EXPECT_EQ(data.error().context, bad.context);
    EXPECT_NE(data.error().message.find(bad.message), std::string::npos) << data.error().text();
  }
}

TEST(Routes, GoodDataIsTaken) {
  const auto data =
      ParseRouteData(kTwoMetros, kSegmentHead + "AAA,BBB,rtt_ms,5,6.5,who,2020,a note\r\n");
  ASSERT_TRUE(data.has_value()) << data.error().text();
  EXPECT_EQ(data->metros[1].aliases, (std::vector<std::string>{"Bee", "Be"}));
  EXPECT_EQ(data->segments[0].p95, 6.5);
  EXPECT_EQ(data->segments[0].note, "a note");
}

RC_GTEST_PROP(Routes, AnyTextParsesOrIsRefused, (const std::string& text)) {
  (void)ParseRouteData(text, kSegmentHead);
  (void)ParseRouteData(kMetroHead + text, kSegmentHead);
  (void)ParseRouteData(kTwoMetros, kSegmentHead + "AAA,BBB," + text);
  (void)FindMetro(text);
}

}  // namespace
}  // namespace farspan::config
