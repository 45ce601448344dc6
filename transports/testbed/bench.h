// The benchmark of collectives, after nccl-tests: sizes, warm-up, iterations, out of place and in
// place, verification; and its table and JSON.
//
// Times are of one operation: of an iteration, over the operations in it; over ranks as Average
// says. algbw is size / time and busbw algbw times
// BusFactor(), both in GB/s (1e9), as nccl-tests' doc/PERFORMANCE.md says; wanbw is the bytes that
// one site gives to others, over time.
//
// Compressed (quantised.h), sums are not exact: values like gradients are summed, the relative
// error ‖sum - exact‖ / ‖exact‖ stands beside the time, and wrong are elements beyond the bound of
// quantisation, and all elements of a rank whose bits differ from the others'.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "transports/collectives/schedules.h"
#include "transports/testbed/elements.h"
#include "transports/testbed/group.h"
#include "transports/testbed/quantised.h"

namespace farspan::testbed {

enum class Average : uint8_t { kRank0, kMean, kMin, kMax };  // nccl-tests' -a 0 to 3

struct BenchOptions {
  collectives::Task shape;  // rank and bytes are filled in
  Element element = Element::kFloat;
  uint64_t min_bytes = 1 << 20;
  uint64_t max_bytes = 32 << 20;
  uint64_t factor = 2;  // between sizes
  uint64_t step = 0;    // bytes between them, in place of a factor; 0: none
  uint32_t iterations = 20;
  uint32_t aggregate = 1;  // operations in an iteration
  uint32_t warm_up = 5;
  uint32_t slots = 8;
  uint32_t checks = 1;  // operations verified, each on new values
  Average average = Average::kMean;
  bool per_iteration = false;  // columns of the iterations' least, greatest, p99 and variation
  bool lengths_only = false;   // no data, so nothing to check
  Compression compression = Compression::kNone;
  std::shared_ptr<collectives::Codec> codec;  // shape.codec, where there is one

  // For the element chosen.
  Result<void> compress(Compression how);
};

struct BenchTimes {
  double time_s = 0;
  std::vector<double> iterations_s;  // of this process's first rank, an operation of each
  int64_t wrong = -1;                // elements over all ranks; -1: not checked
  double error = -1;                 // relative, the worst, where compressed and checked
};

struct BenchRow {
  uint64_t bytes = 0;
  uint64_t wan_bytes = 0;  // given by one site to others, per iteration
  BenchTimes out_of_place, in_place;
};

// Whether the collective can have its output where its input is, and so has columns of it: not
// alltoall and sendrecv, whose ranks would overwrite what they have still to send.
bool HasInPlace(const BenchOptions& options);

// Whether every rank can make its plan and carry it out.
Result<void> Check(const BenchOptions& options);
// All that must be the same on every rank.
std::string Describe(const BenchOptions& options);

// Calls `each` after every size.
Result<std::vector<BenchRow>> RunBench(Group& group, const BenchOptions& options,
                                       const std::function<void(const BenchRow&)>& each);

std::string BenchHeader(const BenchOptions& options);
std::string ToText(const BenchOptions& options, const BenchRow& row);
nlohmann::json ToJson(const BenchOptions& options, const std::vector<BenchRow>& rows,
                      std::string_view label);

}  // namespace farspan::testbed
