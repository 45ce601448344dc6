#include "transports/testbed/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

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

double Averaged(const std::vector<double>& ranks, Average how) {
  switch (how) {
    case Average::kRank0:
      return ranks.front();
    case Average::kMean:
      break;
    case Average::kMin:
      return *std::min_element(ranks.begin(), ranks.end());
    case Average::kMax:
      return *std::max_element(ranks.begin(), ranks.end());
  }
  return std::accumulate(ranks.begin(), ranks.end(), 0.0) / static_cast<double>(ranks.size());
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
    BenchTimes times;
    const bool checked = options_.checks > 0 && !options_.lengths_only;
    // Every verified operation starts from new values: in place, the next would sum up its result.
    const uint32_t first = std::max(options_.checks, 1u);
    for (uint64_t i = 0; i < first; ++i) {
      fill(in_place, seed + (i << 32));
      if (auto done = iterate(1, nullptr); !done) return tl::unexpected(done.error());
      if (!checked) continue;
      if (auto done = verify(seed + (i << 32), times); !done) return tl::unexpected(done.error());
    }
    if (options_.warm_up > first) {
      if (auto done = iterate(options_.warm_up - first, nullptr); !done) {
        return tl::unexpected(done.error());
      }
    }
    const uint32_t operations = options_.iterations * options_.aggregate;
    if (auto done = iterate(operations, &times); !done) return tl::unexpected(done.error());
    return times;
  }

 private:
  struct Memory {
    std::vector<std::byte> input, output;  // in place: all in `output`
    std::span<const std::byte> result;
  };

  // In place as NCCL has it: a rank's own part of all_gather's output, and of reduce_scatter's
  // input.
  void fill(bool in_place, uint64_t seed) {
    buffers_.assign(tasks_.size(), {});
    if (options_.lengths_only) return;
    const auto fill = options_.compression == Compression::kNone ? FillInput : FillGradients;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      const uint64_t in = tasks_[i].input_bytes(), out = tasks_[i].output_bytes();
      const uint64_t input_at = in_place && in < out ? tasks_[i].rank * in : 0;
      const uint64_t output_at = in_place && out < in ? tasks_[i].rank * out : 0;
      Memory& memory = memory_[i];
      memory.output.resize(in_place ? std::max(in, out) : out);
      if (!in_place) memory.input.resize(in);
      const std::span input =
          std::span(in_place ? memory.output : memory.input).subspan(input_at, in);
      const std::span output = std::span(memory.output).subspan(output_at, out);
      fill(tasks_[i], options_.element, seed, input);
      buffers_[i] = {input.data(), output.data()};
      memory.result = output;
    }
  }

  Result<void> verify(uint64_t seed, BenchTimes& times) {
    return options_.compression == Compression::kNone ? count_wrong(seed, times)
                                                      : deviation(seed, times);
  }

  // Over all ranks.
  Result<double> sum(std::span<const double> mine) {
    const auto all = group_.gather(mine);
    if (!all) return tl::unexpected(all.error());
    return std::accumulate(all->begin(), all->end(), 0.0);
  }

  Result<void> count_wrong(uint64_t seed, BenchTimes& times) {
    std::vector<double> wrong;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      wrong.push_back(
          static_cast<double>(CountWrong(tasks_[i], options_.element, seed, memory_[i].result)));
    }
    const auto all = sum(wrong);
    if (!all) return tl::unexpected(all.error());
    times.wrong = std::max<int64_t>(times.wrong, 0) + static_cast<int64_t>(*all);
    return {};
  }

  Result<void> deviation(uint64_t seed, BenchTimes& times) {
    std::vector<double> digests, error_squares, exact_squares, beyond;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      const Deviation one =
          DeviationOf(tasks_[i], options_.compression, options_.element, seed, memory_[i].result);
      digests.push_back(Digest(memory_[i].result));
      error_squares.push_back(one.error_squares);
      exact_squares.push_back(one.exact_squares);
      beyond.push_back(static_cast<double>(one.beyond));
    }
    const auto all_digests = group_.gather(digests);
    if (!all_digests) return tl::unexpected(all_digests.error());
    const auto errors = sum(error_squares);
    if (!errors) return tl::unexpected(errors.error());
    const auto exact = sum(exact_squares);
    if (!exact) return tl::unexpected(exact.error());
    const auto wrong = sum(beyond);
    if (!wrong) return tl::unexpected(wrong.error());
    const auto others = std::count_if(all_digests->begin(), all_digests->end(),
                                      [&](double d) { return d != all_digests->front(); });
    const uint64_t elements = tasks_[0].output_bytes() / BytesOf(options_.element);
    times.error = std::max(times.error, std::sqrt(*errors / *exact));
    times.wrong = std::max<int64_t>(times.wrong, 0) + static_cast<int64_t>(*wrong) +
                  others * static_cast<int64_t>(elements);
    return {};
  }

  Result<void> iterate(uint32_t operations, BenchTimes* times) {
    std::vector<RankRun> runs;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      runs.emplace_back(group_.executor(i), group_.transport(i), plans_[i], buffers_[i],
                        operations);
    }
    if (auto done = group_.run(runs); !done || times == nullptr) return done;
    std::vector<double> seconds;
    for (const RankRun& run : runs) {
      seconds.push_back(ToSeconds(run.ends().back() - run.start()) / operations);
    }
    const auto all = group_.gather(seconds);
    if (!all) return tl::unexpected(all.error());
    times->time_s = Averaged(*all, options_.average);
    TimeNs before = runs[0].start();
    for (size_t i = options_.aggregate; i <= operations; i += options_.aggregate) {
      const TimeNs end = runs[0].ends()[i - 1];
      times->iterations_s.push_back(ToSeconds(end - before) / options_.aggregate);
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

}  // namespace

bool HasInPlace(const BenchOptions& options) {
  const collectives::Collective which = options.shape.collective;
  return which != collectives::Collective::kAllToAll && which != collectives::Collective::kSendRecv;
}

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
      "{} {} {}-{} {} {} {}, {} iterations of {} after {}, {} checked, {} channels, {} slots of "
      "{} B, {} ranks per site",
      collectives::ToText(shape.collective), collectives::ToText(shape.schedule), options.min_bytes,
      options.max_bytes,
      options.step > 0 ? fmt::format("+{}", options.step) : fmt::format("x{}", options.factor),
      ToText(options.element), ToText(options.compression), options.iterations, options.aggregate,
      options.warm_up, options.checks, shape.channels, options.slots, shape.slot_bytes,
      shape.ranks_per_site);
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
  const auto next = [&](uint64_t size) {
    return options.step > 0 ? size + options.step : size * options.factor;
  };
  for (uint64_t size = options.min_bytes; size <= options.max_bytes; size = next(size)) {
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

}  // namespace farspan::testbed
