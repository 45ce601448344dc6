// RangeSet: which numbers beyond a point have come, as disjoint ranges; SACK's book on both sides.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>

namespace farspan::baselines {

class RangeSet {
 public:
  // Adds [first, end); calls on_new(number) for those that were not in it, ascending.
  template <typename OnNew>
  void add(uint64_t first, uint64_t end, OnNew on_new) {
    auto after = ranges_.upper_bound(first);
    auto at = after;
    if (after != ranges_.begin() && std::prev(after)->second >= first) at = std::prev(after);
    uint64_t number = first;
    uint64_t begin = first, stop = end;
    while (at != ranges_.end() && at->first <= end) {
      for (; number < std::min(end, at->first); ++number) on_new(number);
      number = std::max(number, at->second);
      begin = std::min(begin, at->first);
      stop = std::max(stop, at->second);
      at = ranges_.erase(at);
    }
    for (; number < end; ++number) on_new(number);
    if (begin < stop) ranges_[begin] = stop;
  }

  // The range that contains `number`; empty, at it, if none does.
  std::pair<uint64_t, uint64_t> around(uint64_t number) const {
    const auto after = ranges_.upper_bound(number);
    if (after == ranges_.begin() || std::prev(after)->second <= number) return {number, number};
    return *std::prev(after);
  }
  void forget_below(uint64_t number) {
    while (!ranges_.empty() && ranges_.begin()->second <= number) ranges_.erase(ranges_.begin());
  }
  bool empty() const { return ranges_.empty(); }
  uint64_t end() const { return ranges_.empty() ? 0 : std::prev(ranges_.end())->second; }

 private:
  std::map<uint64_t, uint64_t> ranges_;  // first -> end
};

}  // namespace farspan::baselines
