// Metrics: one catalogue of every metric, and the reading of an engine in Prometheus' text format.
//
// Names are farspan_ + what + base unit (+ _total), as Prometheus' naming guide has it. Emulated
// drops and the engine's own are different metrics, so that no query adds them up by accident. All
// samples of one scrape come from one EngineSnapshot: conservation holds within a scrape. Values
// are doubles, as Prometheus stores them: counts are exact up to 2^53.
#pragma once

#include <prometheus/metric_family.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/control/engine_control.h"

namespace farspan::control {

enum class MetricKind { kCounter, kGauge, kHistogram };
std::string_view ToText(MetricKind kind);

struct MetricInfo {
  std::string_view name;
  MetricKind kind;
  std::string_view unit;    // "" where it has none
  std::string_view labels;  // comma-separated
  std::string_view help;
};

// Everything that a scrape can hold; dashboards and rules are checked against it.
const std::vector<MetricInfo>& MetricCatalogue();
// The same as JSON, schema farspan.metrics.v1; grafana/metrics.json is a copy.
std::string MetricCatalogueJson();

std::vector<prometheus::MetricFamily> CollectMetrics(const EngineSnapshot& snapshot);
// In Prometheus' text format 0.0.4.
std::string MetricsText(const EngineSnapshot& snapshot);

struct OwnDrop {
  std::string_view cause;
  uint64_t packets;
};
std::array<OwnDrop, 5> OwnDrops(const PortSnapshot& port);

// The least bound that at least a share `q` of the observations does not exceed; the greatest
// observation where that is smaller. 0 without observations.
TimeNs Quantile(const HistogramSnapshot& histogram, double q);

// Loss to expect of packets of the mean size of those offered so far, over all lanes; nothing where
// nothing was offered, or where a trace says which packets are lost.
std::optional<double> ExpectedLoss(const DirectionSnapshot& direction);

// The sum of the lanes' rates; nothing where a lane has no bottleneck.
std::optional<Rate> RateCap(const link::DirectionSpec& spec);

}  // namespace farspan::control
