// The scrape: names, types, labels, conservation, and that the committed catalogue is the code's.
#include "emulator/control/metrics.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "emulator/control/derived.h"
#include "tests/support/fake_engine.h"

namespace farspan::control {
namespace {

struct Scrape {
  std::map<std::string, double> samples;      // "name{labels}" as printed
  std::map<std::string, std::string> types;   // by family
  std::map<std::string, std::string> labels;  // by family: names, in order, comma-separated

  double sum(const std::string& name, const std::string& needle) const {
    double total = 0;
    for (const auto& [key, value] : samples) {
      if (key.starts_with(name + "{") && key.find(needle) != std::string::npos) total += value;
    }
    return total;
  }
};

std::string FamilyOf(const std::string& sample, const std::map<std::string, std::string>& types) {
  const std::regex suffix("_(bucket|sum|count)$");
  return types.contains(sample) ? sample : std::regex_replace(sample, suffix, "");
}

Scrape Parse(const std::string& text) {
  Scrape scrape;
  std::istringstream lines(text);
  const std::regex type("# TYPE (\\S+) (\\S+)");
  const std::regex sample(R"re(([a-z_]+)(\{(.*)\})? (\S+))re");
  const std::regex label(R"re(([a-z_]+)="[^"]*")re");
  for (std::string line; std::getline(lines, line);) {
    std::smatch m;
    if (std::regex_match(line, m, type)) {
      scrape.types[m[1]] = m[2];
    } else if (!line.starts_with('#')) {
      EXPECT_TRUE(std::regex_match(line, m, sample)) << line;
      const std::string family = FamilyOf(m[1], scrape.types);
      EXPECT_TRUE(scrape.samples.emplace(m[1].str() + m[2].str(), std::stod(m[4])).second) << line;
      std::string names;
      const std::string labels = m[3];
      for (std::sregex_iterator it(labels.begin(), labels.end(), label), end; it != end; ++it) {
        if ((*it)[1] != "le") names += (names.empty() ? "" : ",") + (*it)[1].str();
      }
      scrape.labels[family] = names;
    }
  }
  return scrape;
}

Scrape ScrapeOf(const FakeEngine& engine) { return Parse(MetricsText(engine.snapshot())); }

TEST(Metrics, EveryFamilyIsInTheCatalogueAsItIsScraped) {
  FakeEngine engine;
  ASSERT_TRUE(engine.add_rule("metro", Direction::kAb, {.name = "r1"}));
  const Scrape scrape = ScrapeOf(engine);
  std::set<std::string> names;
  for (const MetricInfo& m : MetricCatalogue()) {
    const std::string name(m.name);
    EXPECT_TRUE(names.insert(name).second) << name << " is listed twice";
    ASSERT_TRUE(scrape.types.contains(name)) << name;
    EXPECT_EQ(scrape.types.at(name), ToText(m.kind)) << name;
    EXPECT_EQ(scrape.labels.at(name), m.labels) << name;
    EXPECT_FALSE(m.help.empty()) << name;
  }
  EXPECT_EQ(names.size(), scrape.types.size());
}

TEST(Metrics, NamesFollowPrometheusGuide) {
  for (const MetricInfo& m : MetricCatalogue()) {
    EXPECT_TRUE(m.name.starts_with("farspan_")) << m.name;
    EXPECT_EQ(m.name.ends_with("_total"), m.kind == MetricKind::kCounter) << m.name;
    for (const std::string_view unit : {"packets", "bytes", "seconds", "ratio"}) {
      if (m.unit != unit) continue;
      EXPECT_NE(m.name.find("_" + std::string(unit)), std::string_view::npos) << m.name;
    }
  }
}

// The files in grafana/ are checked against this copy, without a build.
TEST(Metrics, CommittedCatalogueIsCurrent) {
  std::ifstream file(FARSPAN_SOURCE_DIR "/grafana/metrics.json");
  const std::string committed{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(committed, MetricCatalogueJson())
      << "write it anew: farspan link metrics --json > grafana/metrics.json";
}

double Imbalance(const Scrape& s, const std::string& where) {
  return s.sum("farspan_link_offered_packets_total", where) +
         s.sum("farspan_link_duplicated_packets_total", where) -
         s.sum("farspan_link_forwarded_packets_total", where) -
         s.sum("farspan_link_emulated_dropped_packets_total", where) -
         s.sum("farspan_link_own_dropped_packets_total", where) -
         s.sum("farspan_link_held_packets", where);
}

TEST(Metrics, ConservationHoldsWithinAScrape) {
  FakeEngine engine;
  const auto store_full = static_cast<size_t>(link::Cause::kStoreFull);
  engine.edit([&](EngineSnapshot& s) {
    s.directions[0].counters.dropped_packets[store_full] = 7;
    s.directions[0].counters.forwarded_packets -= 7;
  });
  const Scrape scrape = ScrapeOf(engine);
  const std::string ab = R"(link="chi-nyc",direction="ab")";
  EXPECT_GT(scrape.sum("farspan_link_offered_packets_total", ab), 0);
  EXPECT_EQ(Imbalance(scrape, ab), 0);
  EXPECT_EQ(scrape.sum("farspan_link_own_dropped_packets_total", ab), 7);
  EXPECT_EQ(scrape.sum("farspan_link_emulated_dropped_packets_total", "store_full"), 0);

  engine.edit([](EngineSnapshot& s) { --s.directions[0].counters.forwarded_packets; });
  EXPECT_EQ(Imbalance(ScrapeOf(engine), ab), 1);
}

TEST(Metrics, CountsAreExact) {
  FakeEngine engine;
  engine.edit(
      [](EngineSnapshot& s) { s.directions[1].counters.offered_bytes = (uint64_t{1} << 53) - 1; });
  EXPECT_NE(MetricsText(engine.snapshot()).find("9007199254740991"), std::string::npos);
}

TEST(Metrics, HistogramsAreCumulativeInSeconds) {
  FakeEngine engine;
  engine.edit([](EngineSnapshot& s) {
    s.ports[0].lateness = {{{1'000}, {1'000'000}}, {3, 5, 6}, 2.5e6, {2'000'000}};
  });
  const Scrape scrape = ScrapeOf(engine);
  const auto of = [&](const std::string& rest) {
    return scrape.samples.at("farspan_port_lateness_seconds" + rest);
  };
  EXPECT_EQ(of(R"(_bucket{port="chicago",le="1e-06"})"), 3);
  EXPECT_EQ(of(R"(_bucket{port="chicago",le="0.001"})"), 5);
  EXPECT_EQ(of(R"(_bucket{port="chicago",le="+Inf"})"), 6);
  EXPECT_EQ(of(R"(_count{port="chicago"})"), 6);
  EXPECT_DOUBLE_EQ(of(R"(_sum{port="chicago"})"), 2.5e-3);
}

TEST(Metrics, WhatALinkDoesNotHaveIsAbsent) {
  FakeEngine engine;
  const std::string ab = R"(link="metro",direction="ab")";
  const std::string rate = "farspan_link_rate_cap_bytes_per_second{" + ab + "}";
  const std::string loss = "farspan_link_expected_loss_ratio{" + ab + "}";
  EXPECT_EQ(ScrapeOf(engine).samples.at(rate), 1.25e9);
  EXPECT_EQ(ScrapeOf(engine).samples.at(loss), 1e-3);
  engine.edit([](EngineSnapshot& s) {
    s.directions[2].spec.lanes.front().rate = {};
    s.directions[2].spec.lanes.front().loss.kind = link::LossKind::kTrace;
  });
  EXPECT_FALSE(ScrapeOf(engine).samples.contains(rate));
  EXPECT_FALSE(ScrapeOf(engine).samples.contains(loss));
}

TEST(Metrics, NamesOfLinksAreEscaped) {
  FakeEngine engine;
  engine.edit([](EngineSnapshot& s) { s.directions[0].link = "a\"} 1\nfarspan_forged 1\\"; });
  const std::string text = MetricsText(engine.snapshot());
  EXPECT_EQ(text.find("\nfarspan_forged"), std::string::npos);
}

TEST(Metrics, ExpectedLossIsOfTheMeanSizeOverAllLanes) {
  DirectionSnapshot d = FakeDirection("l", Direction::kAb, 100);
  EXPECT_FALSE(ExpectedLoss(d));
  d.counters.offered_packets = 4;
  d.counters.offered_bytes = d.counters.offered_packets * 2 * 1538;
  EXPECT_DOUBLE_EQ(*ExpectedLoss(d), 1e-3);
  d.spec.lanes.front().loss.keying = link::Keying::kWireTime;  // twice as long on the wire
  EXPECT_NEAR(*ExpectedLoss(d), 1 - (1 - 1e-3) * (1 - 1e-3), 1e-12);
  d.spec.lanes.resize(2);
  d.spec.lanes.back().weight = 3;
  EXPECT_NEAR(*ExpectedLoss(d), (1 - (1 - 1e-3) * (1 - 1e-3)) / 4, 1e-12);
  d.spec.lanes.back().loss.kind = link::LossKind::kTrace;
  EXPECT_FALSE(ExpectedLoss(d));
}

TEST(Metrics, QuantilesAreUpperBounds) {
  const HistogramSnapshot h{{{10}, {100}, {1'000}}, {50, 90, 99, 100}, 0, {5'000}};
  EXPECT_EQ(Quantile(h, 0.5), TimeNs{10});
  EXPECT_EQ(Quantile(h, 0.51), TimeNs{100});
  EXPECT_EQ(Quantile(h, 0.99), TimeNs{1'000});
  EXPECT_EQ(Quantile(h, 0.999), TimeNs{5'000});
  EXPECT_EQ(Quantile({{{10}, {100}}, {0, 3, 3}, 0, {40}}, 0.5), TimeNs{40});
  EXPECT_EQ(Quantile({}, 0.5), TimeNs{0});
}

TEST(Metrics, PromtoolAcceptsTheScrape) {
  if (std::system("command -v promtool > /dev/null") != 0) {
    ASSERT_EQ(std::getenv("FARSPAN_REQUIRE_LAB"), nullptr) << "apt install prometheus";
    GTEST_SKIP() << "promtool is missing: apt install prometheus";
  }
  const auto check = [](const std::string& text) {
    FILE* pipe = popen("promtool check metrics", "w");
    std::fwrite(text.data(), 1, text.size(), pipe);
    return pclose(pipe);
  };
  EXPECT_EQ(check(MetricsText(FakeEngine().snapshot())), 0);
  EXPECT_NE(check("# TYPE a counter\na 1\n"), 0);
}

}  // namespace
}  // namespace farspan::control
