#include "transports/testbed/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "kernels/kernels.h"
#include "transports/testbed/deviation.h"

namespace farspan::testbed {
namespace {

using collectives::Plan;
using collectives::Task;

Task TaskOf(const BenchOptions& options, uint32_t rank, uint64_t bytes) {
  Task task = options.shape;
  task.rank = rank;
  task.bytes = bytes;
  task.element_bytes = BytesOf(options.element);
  return task;
}

// Sizes are cut down to whole elements for every rank.
uint64_t Usable(const BenchOptions& options, uint64_t bytes) {
  const uint64_t step = options.shape.ranks * BytesOf(options.element);
  return std::max(bytes / step * step, step);
}

// One size: plans and buffers of the local ranks.
class SizeRun {
 public:
  SizeRun(Group& group, const BenchOptions& options, uint64_t bytes)
      : group_(group), options_(options) {
    for (const uint32_t rank : group.local_ranks()) {
      tasks_.push_back(TaskOf(options, rank, bytes));
      plans_.push_back(*collectives::MakePlan(tasks_.back()));
    }
    memory_.resize(tasks_.size());
  }

  Result<BenchTimes> run(bool in_place, uint64_t seed) {
    fill(in_place, seed);
    BenchTimes times;
    // Verified on the first iteration: in place, the next one starts from its result.
    if (auto done = iterate(1, nullptr); !done) return tl::unexpected(done.error());
    if (options_.check && !options_.lengths_only) {
      const bool exact = options_.compression == Compression::kNone;
      if (auto done = exact ? count_wrong(in_place, seed, times) : deviation(in_place, seed, times);
          !done) {
        return tl::unexpected(done.error());
      }
    }
    if (options_.warm_up > 1) {
      if (auto done = iterate(options_.warm_up - 1, nullptr); !done) {
        return tl::unexpected(done.error());
      }
    }
    if (auto done = iterate(options_.iterations, &times); !done) {
      return tl::unexpected(done.error());
    }
    return times;
  }

 private:
  struct Memory {
    std::vector<std::byte> input, output;
  };

  std::span<std::byte> output(size_t local, bool in_place) {
    return in_place ? std::span(memory_[local].input) : std::span(memory_[local].output);
  }

  void fill(bool in_place, uint64_t seed) {
    buffers_.assign(tasks_.size(), {});
    if (options_.lengths_only) return;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      memory_[i].input.resize(
          std::max(tasks_[i].input_bytes(), in_place ? tasks_[i].output_bytes() : 0));
      memory_[i].output.resize(tasks_[i].output_bytes());
      const auto fill = options_.compression == Compression::kNone ? FillInput : FillGradients;
      fill(tasks_[i], options_.element, seed,
           std::span(memory_[i].input).first(tasks_[i].input_bytes()));
      buffers_[i] = {memory_[i].input.data(), output(i, in_place).data()};
    }
  }

  std::span<const std::byte> result(size_t local, bool in_place) {
    return output(local, in_place).first(tasks_[local].output_bytes());
  }

  Result<void> count_wrong(bool in_place, uint64_t seed, BenchTimes& times) {
    uint64_t wrong = 0;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      wrong += CountWrong(tasks_[i], options_.element, seed, result(i, in_place));
    }
    const auto all = group_.sum(static_cast<double>(wrong));
    if (!all) return tl::unexpected(all.error());
    times.wrong = static_cast<int64_t>(*all);
    return {};
  }

  // Digests are whole numbers, so that their mean is every rank's own where all are the same.
  Result<void> deviation(bool in_place, uint64_t seed, BenchTimes& times) {
    Deviation sum;
    double digests = 0;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      const Deviation one =
          DeviationOf(tasks_[i], options_.compression, options_.element, seed, result(i, in_place));
      sum.error_squares += one.error_squares;
      sum.exact_squares += one.exact_squares;
      sum.beyond += one.beyond;
      digests += Digest(result(i, in_place));
    }
    const auto all_digests = group_.sum(digests);
    if (!all_digests) return tl::unexpected(all_digests.error());
    for (size_t i = 0; i < tasks_.size(); ++i) {
      const bool same = Digest(result(i, in_place)) == *all_digests / group_.ranks();
      if (!same) sum.beyond += tasks_[i].output_bytes() / BytesOf(options_.element);
    }
    const auto errors = group_.sum(sum.error_squares);
    if (!errors) return tl::unexpected(errors.error());
    const auto exact = group_.sum(sum.exact_squares);
    if (!exact) return tl::unexpected(exact.error());
    const auto wrong = group_.sum(static_cast<double>(sum.beyond));
    if (!wrong) return tl::unexpected(wrong.error());
    times.error = std::sqrt(*errors / *exact);
    times.wrong = static_cast<int64_t>(*wrong);
    return {};
  }

  Result<void> iterate(uint32_t iterations, BenchTimes* times) {
    std::vector<RankRun> runs;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      runs.emplace_back(group_.executor(i), group_.transport(i), plans_[i], buffers_[i],
                        iterations);
    }
    if (auto done = group_.run(runs); !done || times == nullptr) return done;
    double seconds = 0;
    for (const RankRun& run : runs) seconds += ToSeconds(run.ends().back() - run.start());
    const auto total = group_.sum(seconds);
    if (!total) return tl::unexpected(total.error());
    times->mean_s = *total / group_.ranks() / iterations;
    TimeNs before = runs[0].start();
    for (const TimeNs end : runs[0].ends()) {
      times->iterations_s.push_back(ToSeconds(end - before));
      before = end;
    }
    return {};
  }

  Group& group_;
  const BenchOptions& options_;
  std::vector<Task> tasks_;
  std::vector<Plan> plans_;
  std::vector<Memory> memory_;
  std::vector<collectives::Buffers> buffers_;
};

uint64_t WanBytes(const BenchOptions& options, uint64_t bytes) {
  uint64_t sum = 0;
  for (uint32_t rank = 0; rank < options.shape.ranks_per_site; ++rank) {
    const Task task = TaskOf(options, rank, bytes);
    sum += SentBytes(*collectives::MakePlan(task),
                     [&](uint32_t peer) { return task.site(peer) != 0; });
  }
  return sum;
}

double AlgBw(const BenchRow& row, const BenchTimes& times) {
  return static_cast<double>(row.bytes) / times.mean_s * 1e-9;
}
double WanBw(const BenchRow& row, const BenchTimes& times) {
  return static_cast<double>(row.wan_bytes) / times.mean_s * 1e-9;
}

bool HasInPlace(const BenchOptions& options) {
  return options.shape.collective == collectives::Collective::kAllReduce;
}

}  // namespace

Result<void> BenchOptions::compress(Compression how) {
  compression = how;
  if (how == Compression::kNone) return {};
  if (element == Element::kHalf) {
    return Fail(ErrorCode::kInvalid, "float and bfloat16 can be compressed, half cannot");
  }
  if (shape.ranks / std::max(shape.ranks_per_site, 1u) > 16) {
    return Fail(ErrorCode::kInvalid, "at most 16 sites can be compressed between");
  }
  codec = std::make_shared<Quantised>(how, element);
  shape.codec = codec.get();
  return {};
}

Result<void> Check(const BenchOptions& options) {
  const auto plan = collectives::MakePlan(TaskOf(options, 0, Usable(options, options.max_bytes)));
  if (!plan) return tl::unexpected(plan.error());
  size_t summed = 0;
  for (const collectives::Program& program : plan->programs) {
    for (const collectives::Primitive& one : program) summed = std::max(summed, one.sources.size());
  }
  if (summed > FSK_SOURCES_MAX && !options.lengths_only) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{} would sum the values of {} ranks at once, and {} at most can be: "
                            "take ring, or hierarchical with fewer ranks in a site",
                            collectives::ToText(options.shape.schedule), summed, FSK_SOURCES_MAX));
  }
  return {};
}

std::string Describe(const BenchOptions& options) {
  const Task& shape = options.shape;
  return fmt::format(
      "{} {} {}-{} x{} {} {}, {} iterations after {}, {}, {} channels, {} slots of "
      "{} B, {} ranks per site",
      collectives::ToText(shape.collective), collectives::ToText(shape.schedule), options.min_bytes,
      options.max_bytes, options.factor, ToText(options.element), ToText(options.compression),
      options.iterations, options.warm_up, options.check ? "checked" : "not checked",
      shape.channels, options.slots, shape.slot_bytes, shape.ranks_per_site);
}

Result<std::vector<BenchRow>> RunBench(Group& group, const BenchOptions& options,
                                       const std::function<void(const BenchRow&)>& each) {
  std::vector<Plan> plans;
  for (const uint32_t rank : group.local_ranks()) {
    auto plan = collectives::MakePlan(TaskOf(options, rank, Usable(options, options.max_bytes)));
    if (!plan) return tl::unexpected(plan.error());
    plans.push_back(std::move(*plan));
  }
  SumReducer reducer(options.element);
  const collectives::SlotConfig slots{options.slots, options.shape.slot_bytes,
                                      options.lengths_only};
  if (auto done = group.connect(plans, slots, options.lengths_only ? nullptr : &reducer); !done) {
    return tl::unexpected(done.error());
  }
  std::vector<BenchRow> rows;
  uint64_t seed = 1;
  for (uint64_t size = options.min_bytes; size <= options.max_bytes; size *= options.factor) {
    BenchRow row;
    row.bytes = Usable(options, size);
    row.wan_bytes = WanBytes(options, row.bytes);
    SizeRun run(group, options, row.bytes);
    auto out = run.run(false, seed++);
    if (!out) return tl::unexpected(out.error());
    row.out_of_place = std::move(*out);
    if (HasInPlace(options)) {
      auto in = run.run(true, seed++);
      if (!in) return tl::unexpected(in.error());
      row.in_place = std::move(*in);
    }
    each(row);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string BenchHeader(const BenchOptions& options) {
  const bool in_place = HasInPlace(options);
  const bool compressed = options.compression != Compression::kNone;
  const auto line = [&](std::string_view left, std::string_view part, std::string_view error) {
    const std::string columns = fmt::format("{}{}", part, compressed ? error : "");
    return fmt::format("{}{}{}\n", left, columns, in_place ? columns : "");
  };
  std::string text =
      fmt::format("#{:>52}{:^{}}{}\n", "", "out-of-place", compressed ? 49 : 40,
                  in_place ? fmt::format("{:^{}}", "in-place", compressed ? 49 : 40) : "");
  text += line("#       size         count       type   redop",
               "     time   algbw   busbw   wanbw  #wrong", "    error");
  text += line("#        (B)    (elements)                   ",
               "     (us)  (GB/s)  (GB/s)  (GB/s)        ", "         ");
  return text;
}

std::string ToText(const BenchOptions& options, const BenchRow& row) {
  const auto part = [&](const BenchTimes& times) {
    const double algbw = AlgBw(row, times);
    std::string columns =
        fmt::format(" {:>8.6g} {:>7.2f} {:>7.2f} {:>7.2f} {:>7}", times.mean_s * 1e6, algbw,
                    algbw * collectives::BusFactor(options.shape.collective, options.shape.ranks),
                    WanBw(row, times), times.wrong < 0 ? "N/A" : std::to_string(times.wrong));
    if (options.compression != Compression::kNone) {
      columns +=
          times.error < 0 ? fmt::format(" {:>8}", "N/A") : fmt::format(" {:>8.2e}", times.error);
    }
    return columns;
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
    nlohmann::json json{{"time_s", times.mean_s},
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
          {"rows", std::move(list)}};
}

}  // namespace farspan::testbed
