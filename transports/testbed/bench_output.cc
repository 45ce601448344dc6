// What a benchmark prints and writes: nccl-tests' columns, and JSON.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "transports/testbed/bench.h"

namespace farspan::testbed {
namespace {

double AlgBw(const BenchRow& row, const BenchTimes& times) {
  return static_cast<double>(row.bytes) / times.time_s * 1e-9;
}
double WanBw(const BenchRow& row, const BenchTimes& times) {
  return static_cast<double>(row.wan_bytes) / times.time_s * 1e-9;
}

// Of one rank's iterations, as nccl-tests' -I: p99 by nearest rank, variation by all of them.
std::string IterationColumns(const BenchTimes& times) {
  std::vector<double> sorted = times.iterations_s;
  std::sort(sorted.begin(), sorted.end());
  const double n = static_cast<double>(sorted.size());
  const double mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / n;
  double squares = 0;
  for (const double one : sorted) squares += (one - mean) * (one - mean);
  const auto p99 = static_cast<size_t>(std::ceil(0.99 * n)) - 1;
  return fmt::format(" {:>8.6g} {:>8.6g} {:>8.6g} {:>8.2f}", sorted.front() * 1e6,
                     sorted.back() * 1e6, sorted[p99] * 1e6, std::sqrt(squares / n) / mean * 100);
}

}  // namespace

std::string BenchHeader(const BenchOptions& options) {
  const bool in_place = HasInPlace(options);
  const bool compressed = options.compression != Compression::kNone;
  const auto line = [&](std::string_view left, std::string_view part, std::string_view error,
                        std::string_view iterations) {
    const std::string columns = fmt::format("{}{}{}", part, compressed ? error : "",
                                            options.per_iteration ? iterations : "");
    return fmt::format("{}{}{}\n", left, columns, in_place ? columns : "");
  };
  const int width = 40 + (compressed ? 9 : 0) + (options.per_iteration ? 36 : 0);
  std::string text = fmt::format("#{:>44}{:^{}}{}\n", "", "out-of-place", width,
                                 in_place ? fmt::format("{:^{}}", "in-place", width) : "");
  text += line("#       size         count       type   redop",
               "     time   algbw   busbw   wanbw  #wrong", "    error",
               "    i_min    i_max    i_p99    i_cv%");
  text += line("#        (B)    (elements)                   ",
               "     (us)  (GB/s)  (GB/s)  (GB/s)        ", "         ",
               "     (us)     (us)     (us)         ");
  return text;
}

std::string ToText(const BenchOptions& options, const BenchRow& row) {
  const auto part = [&](const BenchTimes& times) {
    const double algbw = AlgBw(row, times);
    std::string columns =
        fmt::format(" {:>8.6g} {:>7.2f} {:>7.2f} {:>7.2f} {:>7}", times.time_s * 1e6, algbw,
                    algbw * collectives::BusFactor(options.shape.collective, options.shape.ranks),
                    WanBw(row, times), times.wrong < 0 ? "N/A" : std::to_string(times.wrong));
    if (options.compression != Compression::kNone) {
      columns +=
          times.error < 0 ? fmt::format(" {:>8}", "N/A") : fmt::format(" {:>8.2e}", times.error);
    }
    return options.per_iteration ? columns + IterationColumns(times) : columns;
  };
  const bool reduces = options.shape.collective == collectives::Collective::kAllReduce ||
                       options.shape.collective == collectives::Collective::kReduceScatter;
  std::string text =
      fmt::format("{:>12} {:>13} {:>10} {:>7}", row.bytes, row.bytes / BytesOf(options.element),
                  ToText(options.element), reduces ? "sum" : "none");
  text += part(row.out_of_place);
  if (HasInPlace(options)) text += part(row.in_place);
  return text + "\n";
}

nlohmann::json ToJson(const BenchOptions& options, const std::vector<BenchRow>& rows,
                      std::string_view label) {
  const auto times_json = [&](const BenchRow& row, const BenchTimes& times) {
    const double algbw = AlgBw(row, times);
    nlohmann::json json{{"time_s", times.time_s},
                        {"iterations_s", times.iterations_s},
                        {"algbw_GBps", algbw},
                        {"busbw_GBps", algbw * collectives::BusFactor(options.shape.collective,
                                                                      options.shape.ranks)},
                        {"wanbw_GBps", WanBw(row, times)},
                        {"wrong", nullptr}};
    if (times.wrong >= 0) json["wrong"] = times.wrong;
    if (options.compression != Compression::kNone) {
      json["relative_error"] = nullptr;
      if (times.error >= 0) json["relative_error"] = times.error;
    }
    return json;
  };
  nlohmann::json list = nlohmann::json::array();
  for (const BenchRow& row : rows) {
    nlohmann::json one{{"bytes", row.bytes},
                       {"wan_bytes", row.wan_bytes},
                       {"out_of_place", times_json(row, row.out_of_place)}};
    if (HasInPlace(options)) one["in_place"] = times_json(row, row.in_place);
    list.push_back(std::move(one));
  }
  return {{"schema", "farspan.bench.v1"},
          {"label", label},
          {"collective", collectives::ToText(options.shape.collective)},
          {"schedule", collectives::ToText(options.shape.schedule)},
          {"ranks", options.shape.ranks},
          {"ranks_per_site", options.shape.ranks_per_site},
          {"type", ToText(options.element)},
          {"compress", ToText(options.compression)},
          {"slots", options.slots},
          {"slot_bytes", options.shape.slot_bytes},
          {"channels", options.shape.channels},
          {"agg_iters", options.aggregate},
          {"average", static_cast<int>(options.average)},
          {"rows", std::move(list)}};
}

}  // namespace farspan::testbed
