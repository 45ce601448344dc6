#include "tests/support/training.h"

#include <cmath>
#include <memory>
#include <numbers>
#include <span>

#include "emulator/base/check.h"
#include "emulator/base/random.h"
#include "tests/support/link_support.h"
#include "transports/collectives/schedules.h"
#include "transports/congestion/controllers.h"
#include "transports/core/span.h"
#include "transports/testbed/sim_group.h"

namespace farspan::test {
namespace {

using namespace farspan::literals;
using testbed::Compression;

constexpr uint32_t kRanksPerSite = 2;
constexpr uint64_t kSlotBytes = 4096;
constexpr uint32_t kFeatures = 256;
constexpr uint32_t kSamples = 256;  // of a rank
constexpr float kRate = 6;          // of descent
// The first feature of every group of 128 is loud, and the sites disagree on it; the others are
// quiet, and they agree.
constexpr double kLoud = 3;
constexpr double kQuiet = 0.1;

double Normal(uint64_t seed, uint64_t index, uint32_t lane) {
  const RandomWords words = Draw({seed}, RandomPurpose::kTest, index, lane);
  return std::sqrt(-2 * std::log(ToUnit(words.lo))) *
         std::cos(2 * std::numbers::pi * ToUnit(words.hi));
}

// One rank's samples.
class Shard {
 public:
  Shard(uint64_t seed, uint32_t rank) : features_(kSamples * kFeatures), labels_(kSamples) {
    constexpr uint32_t kWeights = 1000;  // a lane of the random numbers
    const double side = rank / kRanksPerSite % 2 == 0 ? 1 : -1;
    std::vector<double> weights, scales;
    for (uint32_t j = 0; j < kFeatures; ++j) {
      const bool loud = j % 128 == 0;
      weights.push_back(loud ? side * kLoud : Normal(seed, j, kWeights));
      scales.push_back(loud ? 1 : kQuiet);
    }
    for (uint32_t i = 0; i < kSamples; ++i) {
      double evidence = 0;
      for (uint32_t j = 0; j < kFeatures; ++j) {
        const double x = scales[j] * Normal(seed, uint64_t{i} * kFeatures + j, rank);
        features_[i * kFeatures + j] = static_cast<float>(x);
        evidence += weights[j] * x;
      }
      labels_[i] = evidence > 0 ? 1.0f : -1.0f;
    }
  }

  // The mean loss; adds nothing up but its own gradient.
  double gradient(std::span<const float> weights, std::span<float> out) const {
    std::fill(out.begin(), out.end(), 0.0f);
    double loss = 0;
    for (uint32_t i = 0; i < kSamples; ++i) {
      const float* x = &features_[i * kFeatures];
      float margin = 0;
      for (uint32_t j = 0; j < kFeatures; ++j) margin += weights[j] * x[j];
      margin *= labels_[i];
      loss += std::log1p(std::exp(-static_cast<double>(margin))) / kSamples;
      const float slope = -labels_[i] / (1 + std::exp(margin)) / kSamples;
      for (uint32_t j = 0; j < kFeatures; ++j) out[j] += slope * x[j];
    }
    return loss;
  }

 private:
  std::vector<float> features_;
  std::vector<float> labels_;
};

// Takes off a value what was cut off last time, instead of adding it.
class Backwards final : public testbed::Quantised {
 public:
  Backwards(Compression compression, uint64_t bytes)
      : Quantised(compression, testbed::Element::kFloat), cut_off_(bytes / sizeof(float)) {}

  void encode(const std::byte* values, uint64_t at, uint64_t bytes, std::byte* code) override {
    const auto* value = reinterpret_cast<const float*>(values);
    const std::span<float> cut_off(&cut_off_[at / sizeof(float)], bytes / sizeof(float));
    std::vector<float> carried(cut_off.size()), decoded(cut_off.size());
    for (size_t i = 0; i < carried.size(); ++i) carried[i] = value[i] - cut_off[i];
    Quantised::encode(reinterpret_cast<std::byte*>(carried.data()), at, bytes, code);
    const std::byte* const one[] = {code};
    sum(one, bytes, reinterpret_cast<std::byte*>(decoded.data()));
    for (size_t i = 0; i < carried.size(); ++i) cut_off[i] = carried[i] - decoded[i];
  }

 private:
  std::vector<float> cut_off_;
};

std::unique_ptr<collectives::Codec> MakeCodec(const TrainingOptions& options, uint64_t bytes) {
  if (options.compression == Compression::kNone) return nullptr;
  if (options.feedback == Feedback::kFull) {
    return std::make_unique<testbed::ErrorFeedback>(options.compression, bytes);
  }
  if (options.feedback == Feedback::kBackwards) {
    return std::make_unique<Backwards>(options.compression, bytes);
  }
  return std::make_unique<testbed::Quantised>(options.compression, testbed::Element::kFloat);
}

std::unique_ptr<testbed::SimGroup> MakeGroup(const TrainingOptions& options) {
  transport::RegisterControllers();
  transport::SpanConfig config;
  config.congestion = "fixed";
  config.controller.rate = 10_gbps;
  config.window_packets = 1024;
  config.parity_symbols = 256;
  config.open_blocks = 32;
  testbed::SimTopology topology;
  topology.ranks = options.sites * kRanksPerSite;
  topology.ranks_per_site = kRanksPerSite;
  topology.seed = options.seed;
  topology.wan = Plain(10_gbps, 5_ms);
  topology.wan.lanes[0].loss.kind = link::LossKind::kBernoulli;
  topology.wan.lanes[0].loss.probability = 1e-3;
  topology.site = Plain(100_gbps, 5_us);
  topology.wan_capacity = topology.site_capacity = {10'000};
  const auto make = [&](uint32_t rank) -> Result<std::unique_ptr<transport::Endpoint>> {
    transport::SpanConfig own = config;
    own.seed = options.seed * 100 + rank;
    auto span = transport::Span::Create(own);
    if (!span) return tl::unexpected(span.error());
    return std::unique_ptr<transport::Endpoint>(std::move(*span));
  };
  auto group = testbed::SimGroup::Create(topology, make,
                                         {"span", uint64_t{1} << 40, config.max_requests, 0, {}});
  FARSPAN_CHECK(group);
  return std::move(*group);
}

}  // namespace

Training Train(const TrainingOptions& options) {
  const std::unique_ptr<testbed::SimGroup> group = MakeGroup(options);
  testbed::SumReducer reducer(testbed::Element::kFloat);
  std::vector<std::unique_ptr<collectives::Codec>> codecs;
  std::vector<collectives::Plan> plans;
  std::vector<Shard> shards;
  for (uint32_t rank = 0; rank < group->ranks(); ++rank) {
    collectives::Task task{.schedule = collectives::Schedule::kHierarchical,
                           .rank = rank,
                           .ranks = group->ranks(),
                           .ranks_per_site = kRanksPerSite,
                           .bytes = kFeatures * sizeof(float),
                           .slot_bytes = kSlotBytes};
    codecs.push_back(MakeCodec(options, task.bytes));
    task.codec = codecs.back().get();
    plans.push_back(*collectives::MakePlan(task));
    shards.emplace_back(options.seed, rank);
  }
  FARSPAN_CHECK(group->connect(plans, {.slot_bytes = kSlotBytes}, &reducer));

  Training training;
  for (uint32_t rank = 0; rank < kRanksPerSite; ++rank) {
    training.wan_bytes +=
        SentBytes(plans[rank], [](uint32_t peer) { return peer >= kRanksPerSite; });
  }
  std::vector<std::vector<float>> weights(group->ranks(), std::vector<float>(kFeatures));
  auto gradients = weights, sums = weights;
  for (uint32_t step = 0;; ++step) {
    double loss = 0;
    for (uint32_t rank = 0; rank < group->ranks(); ++rank) {
      loss += shards[rank].gradient(weights[rank], gradients[rank]) / group->ranks();
    }
    training.losses.push_back(loss);
    if (step == options.steps) return training;
    std::vector<testbed::RankRun> runs;
    for (uint32_t rank = 0; rank < group->ranks(); ++rank) {
      runs.emplace_back(group->executor(rank), group->transport(rank), plans[rank],
                        collectives::Buffers{reinterpret_cast<std::byte*>(gradients[rank].data()),
                                             reinterpret_cast<std::byte*>(sums[rank].data())},
                        1);
    }
    FARSPAN_CHECK(group->run(runs));
    for (uint32_t rank = 0; rank < group->ranks(); ++rank) {
      FARSPAN_CHECK(sums[rank] == sums[0]);
      for (uint32_t j = 0; j < kFeatures; ++j) {
        weights[rank][j] -= kRate / static_cast<float>(group->ranks()) * sums[rank][j];
      }
    }
  }
}

}  // namespace farspan::test
