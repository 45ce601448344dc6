// Metrics: one catalogue of every metric, and the reading of an engine in Prometheus' text format.
//
// Names are farspan_ + what + base unit (+ _total), as Prometheus' naming guide has it. Emulated
// drops and the engine's own are different metrics, so that no query adds them up by accident. All
// samples of one scrape come from one EngineSnapshot: conservation holds within a scrape. Values
// are doubles, as Prometheus stores them: counts are exact up to 2^53.
#pragma once

#include <prometheus/metric_family.h>

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

}  // namespace farspan::control
